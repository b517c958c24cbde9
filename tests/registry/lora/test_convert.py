"""Adapters whose tensors are a pickle: `vertebra lora convert` reads them, and nothing else does."""

import fractions
import json
import shutil
import types

import numpy as np
import pytest
import torch

import vertebra
from vertebra._weights.safetensors.format import MappedTensors
from vertebra.cli import main

pytestmark = pytest.mark.keras(once=True)

CONFIG, TENSORS, PICKLE = "adapter_config.json", "adapter_model.safetensors", "adapter_model.bin"


@pytest.fixture
def pickled(golden, tmp_path):
    """Returns PEFT's folder with its tensors, and others, in a pickle."""

    def write(**others):
        folder = shutil.copytree(golden / "peft_lora", tmp_path / "pickled")
        tensors = MappedTensors(folder / TENSORS)
        values = {name: torch.from_numpy(tensors.view(name).copy()) for name in tensors.header.entries}
        torch.save(values | others, folder / PICKLE)
        (folder / TENSORS).unlink()
        return folder

    return write


def convert(capsys, source, target, *options, status=0):
    """Returns what the command printed."""
    assert main(["lora", "convert", str(source), str(target), *map(str, options)]) == status
    return "".join(capsys.readouterr())


def test_without_a_base_the_tensors_and_the_config_stay_the_same(pickled, golden, tmp_path, capsys):
    facts = json.loads(convert(capsys, pickled(), tmp_path / "target", "--json"))
    assert facts["notes"] == [f"its tensors are from {PICKLE}, a pickle"]
    assert (facts["form"], facts["ranks"]) == ("peft", [4])
    written, wanted = (MappedTensors(folder / TENSORS) for folder in (tmp_path / "target", golden / "peft_lora"))
    assert written.header.entries.keys() == wanted.header.entries.keys()
    assert all(np.array_equal(written.view(name), wanted.view(name)) for name in wanted.header.entries)
    assert (tmp_path / "target" / CONFIG).read_bytes() == (golden / "peft_lora" / CONFIG).read_bytes()


@pytest.mark.parametrize("target", ["target", "target.safetensors", "target.lora.h5"])
def test_with_a_base_it_is_written_in_every_form(pickled, plain, golden, run, io, tmp_path, capsys, target):
    shown = convert(capsys, pickled(), tmp_path / target, "--base", golden / "transformers")
    assert f"note: its tensors are from {PICKLE}, a pickle" in shown
    plain.load_lora_weights(tmp_path / target)
    np.testing.assert_allclose(run(plain)["sequence_output"], io["peft_lora/sequence_output"], atol=1e-5, rtol=0)


def test_a_pickle_at_a_handle(pickled, configure, toys, tmp_path, capsys):
    source, module = toys.ToyRemote(), types.ModuleType("toy_plugin")
    module.vertebra_preset_sources = vertebra.hookimpl(lambda: [source], specname="vertebra_preset_sources")
    vertebra.add_plugin(module, "toys")
    source.add("old", {path.name: path.read_bytes() for path in pickled().iterdir()})
    shown = convert(capsys, "toy://old", tmp_path / "target", status=0)
    assert shown.startswith(f"toy://old -> {tmp_path / 'target'}")
    assert "lora convert toy://old TARGET" in refusal(["lora", "info", "toy://old"], capsys)


@pytest.mark.parametrize("base", [False, True])
def test_a_pickle_that_names_another_function_is_refused_by_that_name(pickled, golden, tmp_path, capsys, base):
    folder = pickled(extra=fractions.Fraction(1, 2))
    options = ["--base", golden / "transformers"] if base else []
    assert "reading fractions.Fraction could run code" in convert(
        capsys, folder, tmp_path / "target", *options, status=1
    )
    assert not (tmp_path / "target").exists()


def test_values_that_are_no_tensors_are_told(pickled, tmp_path, capsys):
    assert "note: its values that are no tensors are left out: step" in convert(
        capsys, pickled(step=3), tmp_path / "target"
    )


def test_safetensors_come_first(pickled, golden, tmp_path, capsys):
    folder = pickled(extra=fractions.Fraction(1, 2))
    shutil.copy(golden / "peft_lora" / TENSORS, folder)
    assert "note:" not in convert(capsys, folder, tmp_path / "target", "--base", golden / "transformers")


@pytest.mark.parametrize("change", [{"peft_type": "VERA"}, {"r": 0}], ids=str)
def test_a_config_that_would_not_load_is_refused_before_anything_is_written(pickled, tmp_path, capsys, change):
    folder = pickled()
    config = json.loads((folder / CONFIG).read_text())
    (folder / CONFIG).write_text(json.dumps(config | change))
    assert next(iter(change)) in convert(capsys, folder, tmp_path / "target", status=1)
    assert not (tmp_path / "target").exists()


@pytest.mark.parametrize("action", ["info", "merge", "push"])
def test_every_other_command_names_the_conversion(pickled, golden, tmp_path, capsys, action):
    folder = pickled()
    words = {
        "info": ["lora", "info", str(folder)],
        "merge": ["lora", "merge", str(folder), str(tmp_path / "merged"), "--base", str(golden / "transformers")],
        "push": ["push", str(folder), f"file://{tmp_path / 'published'}"],
    }
    assert f"vertebra lora convert {folder} TARGET" in refusal(words[action], capsys)


def test_the_file_itself_is_no_adapter(pickled, tmp_path, capsys):
    path = pickled() / PICKLE
    said = refusal(["lora", "info", str(path)], capsys)
    assert "vertebra lora convert" in said
    assert "pass the folder" in said
    assert "pass the folder. Did you mean" in convert(capsys, path, tmp_path / "target", status=1)


@pytest.mark.parametrize("options", [["--no-strict"], ["--no-check-base"], ["--runtime", "torch", "--no-strict"]])
def test_options_of_a_base_are_refused_without_one(pickled, tmp_path, capsys, options):
    said = convert(capsys, pickled(), tmp_path / "target", *options, status=1)
    named = [option for option in options if option.startswith("--")]
    assert all(option in said for option in [*named, "have no effect", "--base PRESET"])
    assert not (tmp_path / "target").exists()


def test_a_pickle_without_a_config_is_named(pickled, tmp_path, capsys):
    folder = pickled()
    (folder / CONFIG).unlink()
    told = f"expected PEFT's {CONFIG} next to {PICKLE}. Add the file"
    assert told in convert(capsys, folder, tmp_path / "target", status=1)
    assert told in refusal(["lora", "info", str(folder)], capsys)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
def test_a_truncated_pickle_is_to_be_copied_again(pickled, tmp_path, capsys, share):
    path = pickled() / PICKLE
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    said = convert(capsys, path.parent, tmp_path / "target", status=1)
    assert "it is truncated" in said
    assert "Copy or download the file again" in said
    assert "If you trust" not in said


@pytest.mark.parametrize(
    ("value", "kind"), [({}, "an empty dict"), ({"a": 1}, "a dict"), ([], "an empty list")], ids=str
)
def test_a_pickle_without_tensors_is_told(pickled, tmp_path, capsys, value, kind):
    path = pickled() / PICKLE
    torch.save(value, path)
    assert f"holds no tensors by name: its value is {kind}" in convert(capsys, path.parent, tmp_path / "to", status=1)


@pytest.mark.parametrize("target", ["target.safetensors", "target.lora.h5"])
def test_another_form_needs_the_base(pickled, tmp_path, capsys, target):
    assert "--base PRESET" in convert(capsys, pickled(), tmp_path / target, status=1)


def test_other_adapters_need_the_base(golden, tmp_path, capsys):
    assert "--base PRESET" in convert(capsys, golden / "peft_lora", tmp_path / "target", status=1)


def test_the_pickle_is_not_replaced(pickled, capsys):
    folder = pickled()
    assert "the folder has other files" in convert(capsys, folder, folder, status=1)
    assert (folder / PICKLE).exists()


def refusal(words, capsys):
    """Returns the error of a command."""
    assert main(words) == 1
    return capsys.readouterr().err
