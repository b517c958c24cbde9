"""`vertebra convert`: its output and exit status."""

import json
import shutil

import pytest

import vertebra
from vertebra.cli import main

pytestmark = pytest.mark.keras(once=True)


@pytest.mark.keras
def test_writes_another_format_and_says_what(golden, tmp_path, capsys):
    assert main(["convert", str(golden / "kerashub"), str(tmp_path / "target"), "--format", "transformers"]) == 0
    shown = capsys.readouterr().out
    assert f"{tmp_path / 'target'} (transformers): 39 weights, 26.6 kB" in shown
    assert "has no parity certificate" in shown
    assert vertebra.Backbone.from_preset(tmp_path / "target").num_layers == 2


def test_json_has_the_same(golden, tmp_path, capsys):
    options = ["--dtype", "bfloat16", "--max-shard-size", "8e-6", "--json"]
    assert main(["convert", str(golden / "transformers"), str(tmp_path / "target"), *options]) == 0
    done = json.loads(capsys.readouterr().out)
    assert done == {
        "source": f"file://{golden / 'transformers'}",
        "target": str(tmp_path / "target"),
        "format": "native",
        "tensors": 39,
        "size": 2 * 6656,
        "certificate": False,
        "unused": [],
        "assets": {
            "source": f"file://{golden / 'transformers'}",
            "carried": {"config.json": "carried/transformers/config.json"},
            "left_out": {},
            "fields_left_out": [],
            "links": {},
            "tokenizer": [],
            "notes": [],
        },
        "not_read": None,
        "untied_heads": [],
        "difference": None,
        "notes": [],
        "task": None,
    }
    assert len(list((tmp_path / "target").glob("model-*.safetensors"))) == 2


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--format", "onnx"], "kerashub"),
        (["--dtype", "float33"], "bfloat16"),
        (["--max-shard-size", "0"], "size"),
        (["--max-shard-size", "nan"], "size"),
        (["--format", "kerashub"], "activation"),
        (["--set", "vocabulary_sizes=128"], "no argument 'vocabulary_sizes', did you mean 'vocabulary_size'?"),
        (["--set", "vocabulary_size=many"], "vocabulary_size is 'many', expected a value of type int"),
        (["--set", "dtype=bfloat16"], "--set does not take dtype. Leave it out; --dtype chooses"),
        (["--set", "name=a"], "--set does not take name. Leave it out.\n"),
        (["--set", "activation=none"], "Check the arguments that replace the config's (activation='none')"),
        (["--set", "num_layers=3"], "check the arguments that replace the config's"),
        (["--set", f"num_layers={'9' * 5000}"], "… (4,802 characters more), expected a value of type int"),
    ],
)
def test_what_cannot_be_done_is_an_error_and_writes_nothing(golden, tmp_path, capsys, options, said):
    assert main(["convert", str(golden / "transformers"), str(tmp_path / "target"), *options]) == 1
    assert said in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.keras
def test_another_runtime_is_refused_once_one_is_bound(golden, tmp_path, runtime, capsys):
    other = {"torch": "jax", "jax": "torch"}[runtime]
    assert main(["convert", str(golden / "kerashub"), str(tmp_path / "target"), "--runtime", other]) == 1
    assert "process" in capsys.readouterr().err


def test_every_file_is_carried_or_named(golden, tmp_path, capsys):
    folder = shutil.copytree(golden / "kerashub", tmp_path / "preset")
    for name in ("task.json", "task.weights.h5", "preprocessor.json", "tokenizer.json", "LICENSE", "pytorch_model.bin"):
        (folder / name).write_text('{"registered_name": "x"}')
    (folder / ".env").write_text("secret")
    assert main(["convert", str(folder), str(tmp_path / "target"), "--format", "transformers"]) == 0
    shown = capsys.readouterr().out
    assert (
        "copied: LICENSE, preprocessor.json, task.json as carried/kerashub/task.json, task.weights.h5, "
        "tokenizer.json as carried/kerashub/tokenizer.json\n"
    ) in shown
    assert "left out: .env (a hidden file); pytorch_model.bin (other weights)\n" in shown


def test_a_name_of_a_file_cannot_control_the_terminal(golden, tmp_path, capsys):
    folder = shutil.copytree(golden / "kerashub", tmp_path / "preset")
    (folder / "a\u202eb.txt").write_text("")
    (folder / ".c\u202ed").write_text("")
    assert main(["convert", str(folder), str(tmp_path / "target")]) == 0
    assert "\u202e" not in capsys.readouterr().out


@pytest.mark.parametrize("format", ["native", "kerashub", "transformers"])
def test_a_padded_vocabulary_is_converted_by_the_command_of_the_error(golden, tmp_path, capsys, format):
    import shlex

    import numpy as np
    from safetensors.numpy import load_file, save_file

    folder = shutil.copytree(golden / "transformers", tmp_path / "a preset")
    if format == "kerashub":
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps(config | {"hidden_act": "gelu_new"}))
    tensors = load_file(folder / "model.safetensors")
    name = next(name for name in tensors if name.endswith("word_embeddings.weight"))
    save_file(tensors | {name: np.resize(tensors[name], (128, 16))}, folder / "model.safetensors")
    command = ["convert", str(folder), str(tmp_path / "target"), "--format", format]
    assert main(command) == 1
    suggested = capsys.readouterr().err.partition("vertebra convert")[2].strip().removesuffix(".")
    kept = [] if format == "native" else ["--format", format]
    assert shlex.split(suggested) == [str(folder), "TARGET", *kept, "--set", "vocabulary_size=128"]
    assert main([*command, "--set", "dropout=0.25", *shlex.split(suggested)[2:]]) == 0
    assert "has no parity certificate" in capsys.readouterr().out
    backbone = vertebra.Backbone.from_preset(tmp_path / "target")
    assert (backbone.vocabulary_size, backbone.dropout) == (128, 0.25)
    assert backbone.token_embedding.embeddings.shape == (128, 16)


def test_the_suggested_command_keeps_the_options(golden, tmp_path, capsys):
    folder = shutil.copytree(golden / "transformers", tmp_path / "preset")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"vocab_size": 90}))
    options = ["--format", "transformers", "--dtype", "bfloat16", "--max-shard-size", "0.5", "--set", "dropout=0.25"]
    assert main(["convert", str(folder), str(tmp_path / "target"), *options]) == 1
    assert f"convert {folder} TARGET {' '.join(options)} --set vocabulary_size=101" in capsys.readouterr().err


def test_a_setting_is_given_once(tmp_path, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["convert", "./a", str(tmp_path / "b"), "--set", "dropout=0.1", "--set", "dropout=0.2"])
    assert "dropout is given twice, as 0.1 and 0.2" in capsys.readouterr().err


@pytest.mark.parametrize("setting", ["vocabulary_size", "=1", "a b=1", "9" * 5000])
def test_a_setting_without_name_or_value_is_a_usage_error(tmp_path, capsys, setting):
    with pytest.raises(SystemExit, match="2"):
        main(["convert", "./a", "./b", "--set", setting])
    said = capsys.readouterr().err
    assert "is not NAME=VALUE" in said
    assert len(said) < 2000


def test_values_of_settings_are_json_or_text():
    from vertebra.cli.convert import _setting

    texts = ["a=1", "a=0.5", "a=true", "a=null", "a=[1, 2]", 'a="1"', "a=relu", "a=NaN", "a=x=y", "a="]
    assert [_setting(text)[1] for text in texts] == [1, 0.5, True, None, [1, 2], "1", "relu", "NaN", "x=y", ""]
