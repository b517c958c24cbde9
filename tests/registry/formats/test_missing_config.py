"""A folder without a config: the error names the presets in its subfolders, with handles that load them."""

import json
import shutil

import pytest

import vertebra
from vertebra._formats.registry import read_description
from vertebra._resolve.open import open_folder
from vertebra.cli import main
from vertebra.errors import PresetNotFoundError

CONFIG = json.dumps({"model_type": "bert"})


def error_for(preset):
    with pytest.raises(PresetNotFoundError) as caught:
        read_description(open_folder(preset))
    return caught.value


def put(folder, **configs):
    for name, text in configs.items():
        path = folder / name.replace("__", "/") / "config.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


@pytest.mark.parametrize("name", ["0_Transformer", "checkpoint-500", "transformer", "out/final"])
def test_the_subfolder_is_named_and_loads(golden, tmp_path, name):
    """Sentence Transformers before 3.0, a trainer's output, a pipeline, and an archive that was unpacked."""
    shutil.copytree(golden / "transformers", tmp_path / name)
    put(tmp_path, **{"1_Pooling": '{"pooling_mode_mean_tokens": true}'})
    (tmp_path / "modules.json").write_text("[]")
    error = error_for(tmp_path)
    assert f"presets in its subfolders {name}. " in str(error)
    assert error.suggestions == [f"file://{tmp_path}/{name}"]
    assert open_folder(error.suggestions[0]).names >= {"config.json", "model.safetensors"}


def test_of_several_the_newest_comes_first(tmp_path):
    put(tmp_path, **{f"checkpoint-{number}": CONFIG for number in (500, 1000, 1500, 2000, 2500, 3000, 3500)})
    error = error_for(tmp_path)
    assert error.suggestions[:2] == [f"file://{tmp_path}/checkpoint-{number}" for number in (3500, 3000)]
    assert "and 2 more" in error.problem


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"pooling_mode": "cls"}', '{"model_type": "bert"'])
def test_what_is_no_preset_is_not_named(tmp_path, text):
    put(tmp_path, inside=text)
    (tmp_path / "README.md").write_text("")
    error = error_for(tmp_path)
    assert (error.problem, error.suggestions) == ("it has no config.json", [])


@pytest.mark.parametrize("name", ["archive.tar.gz", "bert.ZIP", "model.tgz"])
def test_an_archive_is_named(tmp_path, name):
    (tmp_path / name).write_bytes(b"")
    assert f"it has no config.json, but the archive {name}. Unpack it" in str(error_for(tmp_path))


@pytest.mark.parametrize(
    "name", ["model.safetensors", "model-00001-of-00002.safetensors", "model.weights.h5", "pytorch_model.bin", "a.ggml"]
)
def test_weights_without_their_config_are_named(tmp_path, name):
    for file in (name, "certificate.safetensors", "metadata.json"):
        (tmp_path / file).write_bytes(b"")
    assert f"config.json is missing next to {name}. Copy the whole folder" in str(error_for(tmp_path))


def test_a_folder_with_a_config_is_the_preset(tmp_path):
    put(tmp_path, **{"checkpoint-500": CONFIG})
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(vertebra.errors.PresetConfigError, match="it has no model_type"):
        read_description(open_folder(tmp_path))


def test_subfolders_of_a_repository_are_named_with_its_revision(toy, capsys):
    toy.add("pipeline", {"text_encoder/config.json": CONFIG.encode(), "model_index.json": b"{}"}, "r1")
    assert error_for("toy://pipeline@r1").suggestions == ["toy://pipeline/text_encoder@r1"]
    assert error_for("toy://pipeline").suggestions == ["toy://pipeline/text_encoder"]
    assert main(["inspect", "toy://pipeline"]) == 1
    assert "Did you mean 'toy://pipeline/text_encoder'?" in capsys.readouterr().err


def test_a_source_without_subfolders_gets_no_suggestion(toy, monkeypatch):
    def unpinned(handle):
        if "/" in handle.path:
            raise vertebra.errors.HandleError(str(handle), "it has too many names")
        return handle.without_revision()

    monkeypatch.setattr(toy, "unpinned", unpinned)
    toy.add("archive", {"inside/config.json": CONFIG.encode()})
    error = error_for("toy://archive")
    assert "inside; this source has no handles of folders" in error.problem
    assert error.suggestions == []


def test_a_path_to_the_config_names_the_folder(tmp_path):
    error = error_for(put(tmp_path, preset=CONFIG) / "preset" / "config.json")
    assert error.problem == "it is a file, and a preset is a folder"
    assert error.suggestions == [f"file://{tmp_path / 'preset'}"]
