"""`vertebra lora convert` and `merge`: their files, output and errors; and an adapter in `vertebra inspect`."""

import io as text_io
import json
import re
import shutil
import sys
import types

import numpy as np
import pytest

import vertebra
from vertebra._weights.safetensors.format import MappedTensors
from vertebra._weights.safetensors.writing import write_tensors
from vertebra._weights.tensor_entry import layout_of
from vertebra.cli import main

pytestmark = pytest.mark.keras(once=True)

NAMES = ["target.safetensors", "target", "target.lora.h5"]


@pytest.fixture
def base(golden):
    return str(golden / "transformers")


@pytest.fixture
def short(base, tmp_path):
    """An adapter in the short form, with a co-trained bias and layer; its values matter."""
    backbone = vertebra.Backbone.from_preset(base)
    backbone.enable_lora(2, seed=0, bias="lora", train=["pooled_dense"])
    for variable in backbone.trainable_weights:
        variable.assign(np.random.default_rng(0).normal(size=variable.shape) * 0.1)
    backbone.save_lora_weights(tmp_path / "own.safetensors")
    return tmp_path / "own.safetensors"


@pytest.fixture
def with_head(golden, tmp_path):
    """A folder as PEFT writes it for a classifier: with a tensor that no backbone has."""
    folder = shutil.copytree(golden / "peft_lora", tmp_path / "with_head")
    tensors = MappedTensors(folder / "adapter_model.safetensors")
    arrays = {name: tensors.view(name).copy() for name in tensors.header.entries}
    arrays["base_model.model.classifier.weight"] = np.ones((2, 16), "float32")
    layouts = {name: layout_of(name, "float32", array.shape) for name, array in arrays.items()}
    write_tensors(folder / "adapter_model.safetensors", {n: lambda a=a: a for n, a in arrays.items()}, layouts, {})
    return folder


def adapted(base, adapter):
    """Returns a base model with an adapter, loaded with the public functions."""
    backbone = vertebra.Backbone.from_preset(base)
    backbone.load_lora_weights(adapter)
    return backbone


def assert_close(outputs, wanted, tolerance=1e-5):
    for name in ("sequence_output", "pooled_output"):
        np.testing.assert_allclose(outputs[name], wanted[name], atol=tolerance, rtol=0)


# === convert ===


@pytest.mark.keras
@pytest.mark.parametrize("target", NAMES)
def test_an_adapter_of_peft_in_every_form(base, golden, io, run, tmp_path, capsys, target):
    source = golden / "peft_lora"
    assert main(["lora", "convert", str(source), str(tmp_path / target), "--base", base]) == 0
    assert f"{source} -> {tmp_path / target} (" in capsys.readouterr().out
    outputs = run(adapted(base, tmp_path / target))
    np.testing.assert_allclose(outputs["sequence_output"], io["peft_lora/sequence_output"], atol=1e-5, rtol=0)


@pytest.mark.keras
@pytest.mark.parametrize("target", NAMES[:2])
def test_base_weights_beside_it_go_with_it(base, short, run, tmp_path, target):
    assert main(["lora", "convert", str(short), str(tmp_path / target), "--base", base]) == 0
    assert_close(run(adapted(base, tmp_path / target)), run(adapted(base, short)), 1e-7)


def test_a_form_that_cannot_hold_it_is_an_error_and_writes_nothing(base, short, tmp_path, capsys):
    assert main(["lora", "convert", str(short), str(tmp_path / "target.lora.h5"), "--base", base]) == 1
    assert "pooled_dense/kernel" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == [short]


def test_json_says_what_was_written(base, golden, tmp_path, capsys):
    source, target = golden / "kerashub_lora.lora.h5", tmp_path / "target"
    assert main(["lora", "convert", str(source), str(target), "--base", str(golden / "kerashub"), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["source"], facts["adapter"], facts["form"]) == (str(source), str(target), "peft")
    assert facts["strategy"] == "lora"  # PEFT has no other that computes what Keras does
    assert facts["unused"] == []
    assert len(facts["base"]) == 64


def test_tensors_without_a_place_are_refused_or_listed(base, with_head, tmp_path, capsys):
    words = ["lora", "convert", str(with_head), str(tmp_path / "target"), "--base", base]
    assert main(words) == 1
    assert "classifier.weight" in capsys.readouterr().err
    assert not (tmp_path / "target").exists()
    assert main([*words, "--no-strict"]) == 0
    assert "unused tensors of the adapter: base_model.model.classifier.weight" in capsys.readouterr().out


def test_another_base_is_refused_unless_asked_for(golden, short, tmp_path, capsys):
    words = ["lora", "convert", str(short), str(tmp_path / "target"), "--base", str(golden / "kerashub")]
    assert main(words) == 1
    assert "different base weights" in capsys.readouterr().err
    assert main([*words, "--no-check-base"]) == 0


def test_what_stands_at_the_target_is_replaced_if_it_is_an_adapter(base, golden, short, tmp_path, capsys):
    target = tmp_path / "target"
    for source in (golden / "peft_lora", short):
        assert main(["lora", "convert", str(source), str(target), "--base", base]) == 0
    assert json.loads((target / "adapter_config.json").read_text())["r"] == 2
    (target / "thesis.txt").write_text("years of work")
    assert main(["lora", "convert", str(short), str(target), "--base", base]) == 1
    assert "the folder has other files" in capsys.readouterr().err
    assert (target / "thesis.txt").read_text() == "years of work"


# === merge ===


@pytest.mark.keras
@pytest.mark.parametrize("format", ["native", "transformers"])
def test_a_merged_preset_computes_what_base_and_adapter_do(base, short, run, tmp_path, capsys, format):
    target = tmp_path / "merged"
    assert main(["lora", "merge", str(short), str(target), "--base", base, "--format", format]) == 0
    shown = capsys.readouterr().out
    assert f"-> {target} ({format})" in shown
    assert "merged into 4 kernels; largest rounding error" in shown
    merged = vertebra.Backbone.from_preset(target)
    assert merged.lora_adapters == {}
    assert_close(run(merged), run(adapted(base, short)))


@pytest.mark.keras
def test_a_preset_of_kerashub_stays_one(golden, run, tmp_path):
    base, adapter, target = golden / "kerashub", golden / "kerashub_lora.lora.h5", tmp_path / "merged"
    assert main(["lora", "merge", str(adapter), str(target), "--base", str(base), "--format", "kerashub"]) == 0
    assert (target / "model.weights.h5").exists()
    assert_close(run(vertebra.Backbone.from_preset(target)), run(adapted(base, adapter)))


@pytest.mark.parametrize("preset", ["transformers", "kerashub_int8"])
def test_the_files_of_the_base_go_with_the_merged_preset(golden, tmp_path, capsys, preset):
    base, target = shutil.copytree(golden / preset, tmp_path / "base"), tmp_path / "merged"
    (base / "vocab.txt").write_text("[PAD]")
    (base / "README.md").write_text("of the base")
    words = ["lora", "merge", str(golden / "peft_lora"), str(target), "--base", str(base)]
    assert main([*words, "--json"]) == 0
    assets = json.loads(capsys.readouterr().out)["assets"]
    assert assets["source"] == f"file://{base}"
    assert assets["carried"]["vocab.txt"] == "vocab.txt"
    assert assets["left_out"] == {"README.md": "a model card of other weights"}
    assert (target / "vocab.txt").read_text() == "[PAD]"
    assert main(words) == 0
    shown = capsys.readouterr()
    assert "copied: " in shown.out
    assert "left out: README.md (a model card of other weights)" in shown.out
    assert "README" not in shown.err  # once is enough


def test_the_files_of_a_base_that_is_elsewhere_are_fetched(golden, tmp_path, configure, toys):
    source, module = toys.ToyRemote(), types.ModuleType("toy_plugin")
    module.vertebra_preset_sources = vertebra.hookimpl(lambda: [source], specname="vertebra_preset_sources")
    vertebra.add_plugin(module, "toys")
    files = {path.name: path.read_bytes() for path in (golden / "transformers").iterdir()}
    source.add("model", files | {"vocab.txt": b"[PAD]", "pytorch_model.bin": b"weights"})
    words = ["lora", "merge", str(golden / "peft_lora"), str(tmp_path / "merged"), "--base", "toy://model"]
    assert main(words) == 0
    assert (tmp_path / "merged" / "vocab.txt").read_text() == "[PAD]"
    assert {name.split()[0] for name in source.reads()} == {"config.json", "model.safetensors", "vocab.txt"}
    assert [text for text in source.asked if text.startswith("look up")] == ["look up toy://model"]  # of one version


@pytest.mark.keras
@pytest.mark.parametrize("bits", ["int8", "int4"])
def test_a_quantised_base_is_dequantised(golden, run, tmp_path, capsys, bits):
    base, adapter, target = golden / f"kerashub_{bits}", golden / "peft_lora", tmp_path / "merged"
    assert main(["lora", "merge", str(adapter), str(target), "--base", str(base), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["dequantized"]
    assert facts["largest_error"] < 1e-6 < facts["largest_value"]
    assert len(facts["layers"]) == 4
    merged = vertebra.Backbone.from_preset(target)
    assert "quantized" not in merged.constructor_config()
    assert_close(run(merged), run(adapted(base, adapter).merged_copy()))


@pytest.mark.keras
def test_rounding_is_that_of_the_dtype(base, short, golden, tmp_path, capsys):
    words = ["lora", "merge", str(golden / "peft_lora"), str(tmp_path / "merged"), "--base", base, "--json"]
    errors = {}
    for dtype in ("float32", "bfloat16"):
        assert main([*words, "--dtype", dtype]) == 0
        errors[dtype] = json.loads(capsys.readouterr().out)["largest_error"]
    assert errors["float32"] < 1e-6 < 1e-4 < errors["bfloat16"]


def test_a_preset_with_an_adapter_of_its_own_is_no_base(base, golden, backbone, tmp_path, capsys):
    backbone.enable_lora(2)
    backbone.save_to_preset(tmp_path / "own")
    words = ["lora", "merge", str(golden / "peft_lora"), str(tmp_path / "merged"), "--base", str(tmp_path / "own")]
    assert main(words) == 1
    assert "already has the adapter default" in capsys.readouterr().err
    assert not (tmp_path / "merged").exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [(["--format", "onnx"], "kerashub"), (["--dtype", "float33"], "float33"), (["--base", "nowhere"], "nowhere")],
)
def test_what_cannot_be_done_is_an_error_and_writes_nothing(base, golden, tmp_path, capsys, options, said):
    words = ["lora", "merge", str(golden / "peft_lora"), str(tmp_path / "merged"), "--base", base]
    assert main([*words, *options]) == 1
    assert said in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_folder_of_other_things_is_left_alone(base, golden, tmp_path, digest, capsys):
    (tmp_path / "thesis.txt").write_text("years of work")
    before = digest(tmp_path)
    assert main(["lora", "merge", str(golden / "peft_lora"), str(tmp_path), "--base", base]) == 1
    assert "the folder is not empty and holds no preset" in capsys.readouterr().err
    assert digest(tmp_path) == before


# === Both ===


@pytest.mark.keras
@pytest.mark.parametrize("action", ["convert", "merge"])
def test_another_runtime_is_refused_once_one_is_bound(base, golden, tmp_path, runtime, capsys, action):
    other = {"torch": "jax", "jax": "torch"}[runtime]
    words = ["lora", action, str(golden / "peft_lora"), str(tmp_path / "target"), "--base", base]
    assert main([*words, "--runtime", other]) == 1
    assert "process" in capsys.readouterr().err


@pytest.mark.parametrize("words", [[], ["convert", "a"], ["merge", "a", "b"], ["info"]])
def test_wrong_usage_is_said(words, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["lora", *words])
    assert stop.value.code == 2
    assert "usage: vertebra lora" in capsys.readouterr().err


def test_whoever_watches_sees_that_work_goes_on(base, golden, tmp_path, monkeypatch):
    class Terminal(text_io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setattr(sys, "stderr", Terminal())
    assert main(["lora", "convert", str(golden / "peft_lora"), str(tmp_path / "target"), "--base", base]) == 0
    assert "converting" in sys.stderr.getvalue()


@pytest.mark.keras
def test_a_runtime_is_bound_before_keras_is_imported(base, golden, tmp_path, child):
    code = "import sys; from vertebra.cli import main; sys.exit(main(sys.argv[1:]))"
    child(code, "lora", "merge", golden / "peft_lora", tmp_path / "merged", "--base", base, interpreter=True)
    assert (tmp_path / "merged" / "model.safetensors").exists()


def test_an_adapter_is_described_as_its_receipt_does(backbone, tmp_path, capsys):
    backbone.enable_lora(2, alpha=4)
    backbone.save_to_preset(tmp_path / "adapted")
    assert main(["inspect", str(tmp_path / "adapted")]) == 0
    shown = capsys.readouterr().out
    layers = len(backbone.lora_adapters["default"].layers)
    assert re.search(rf"^adapter +default: lora of rank 2, scale 2, on {layers} layers$", shown, re.MULTILINE)
    assert "lora=" not in shown
    config = json.loads((tmp_path / "adapted" / "config.json").read_text())
    config["config"]["lora"]["config"]["strategy"] = "of_no_plugin"
    (tmp_path / "adapted" / "config.json").write_text(json.dumps(config))
    assert main(["inspect", str(tmp_path / "adapted")]) == 0
    shown = capsys.readouterr().out
    assert re.search(r"^adapter +{'config': {.*of_no_plugin.* characters more\)$", shown, re.MULTILINE)
