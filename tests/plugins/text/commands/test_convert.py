"""`convert` and `save_to_preset` carry heads, and translate tokenizers, to the format of the target."""

import importlib.util
import json
import shutil
import types

import numpy as np
import pytest

import vertebra
from vertebra._presets.convert import convert_preset
from vertebra._presets.inspect import inspect_preset
from vertebra.cli import main
from vertebra.cli.verify import verify_preset

from .conftest import OPTIONS

pytestmark = pytest.mark.keras
TEXTS = ["The fox, the dog.", "a dog", "Fox [MASK] é"]
each_task = pytest.mark.parametrize("name", OPTIONS)


def ids(folder):
    from vertebra_text import Tokenizer

    return Tokenizer.from_preset(folder)(TEXTS)["token_ids"]


@each_task
@pytest.mark.parametrize(("source", "target"), [("native", "transformers"), ("transformers", "native")])
def test_a_head_goes_with_its_backbone(name, source, target, saved, answers, tmp_path):
    task, folder = saved(name, source)
    done = convert_preset(folder, tmp_path / "target", format=target)
    assert (done.task, done.unused) == (name, ())
    again = getattr(vertebra.models, name).from_preset(tmp_path / "target")
    np.testing.assert_allclose(answers(again), answers(task), atol=1e-6)
    assert {**again.task_arguments(), "head": None} == {**task.task_arguments(), "head": None}
    assert not [name for name in done.assets.left_out if name.startswith("task")]


def test_a_head_stays_with_its_backbone_in_another_dtype(saved, tmp_path):
    task, folder = saved("TextClassifier", "transformers")
    done = convert_preset(folder, tmp_path / "half", format="transformers", dtype="bfloat16")
    again = vertebra.models.TextClassifier.from_preset(tmp_path / "half")
    (difference,) = np.abs(again.predict(TEXTS) - task.predict(TEXTS)).max(keepdims=True).ravel()
    assert done.task == "TextClassifier"
    assert difference < 0.05
    assert inspect_preset(str(tmp_path / "half"))["bytes_by_dtype"].keys() == {"bfloat16"}
    tensors = inspect_preset(str(tmp_path / "half"))["tensors"]
    assert {tensor["dtype"] for tensor in tensors} == {"bfloat16"}


@pytest.mark.parametrize("format", ["transformers", "sentence-transformers"])
def test_an_embedder_in_transformers_format_is_a_folder_of_sentence_transformers(format, saved, answers, tmp_path):
    task, folder = saved("TextEmbedder", pooling_mode="cls", normalize=False, truncate_dim=4)
    task.save_to_preset(tmp_path / "saved", format=format)
    convert_preset(folder, tmp_path / "converted", format="transformers")
    for name in ("saved", "converted"):
        again = vertebra.models.TextEmbedder.from_preset(tmp_path / name)
        assert again.task_arguments() == task.task_arguments()
        np.testing.assert_allclose(answers(again), answers(task), atol=1e-6)
        assert (tmp_path / name / "modules.json").is_file()


def test_an_embedder_of_sentence_transformers_keeps_fields_of_the_peer(saved, tmp_path):
    _, folder = saved("TextEmbedder", "transformers")
    settings = json.loads((folder / "sentence_bert_config.json").read_text())
    (folder / "sentence_bert_config.json").write_text(json.dumps(settings | {"do_lower_case": True}))
    done = convert_preset(folder, tmp_path / "half", format="transformers", dtype="bfloat16")
    assert done.task == "TextEmbedder"
    assert json.loads((tmp_path / "half" / "sentence_bert_config.json").read_text())["do_lower_case"] is True


def test_a_task_that_transformers_lacks_is_refused_and_named(own_task, preset, tmp_path):
    task = own_task.from_preset(preset, load_weights=False)
    with pytest.raises(vertebra.errors.FormatLimitError, match="transformers has no such task"):
        task.save_to_preset(tmp_path / "own", format="transformers")
    assert not (tmp_path / "own").exists()
    task.save_to_preset(tmp_path / "own")
    done = convert_preset(tmp_path / "own", tmp_path / "there", format="transformers")
    assert done.task is None
    assert any("SpamScorer has no form in the transformers format" in note for note in done.notes)


@each_task
def test_the_length_of_rows_goes_with_the_task(name, saved, tmp_path):
    from vertebra_text import TextPreprocessor

    task, _ = saved(name)
    task.preprocessor = TextPreprocessor(task.tokenizer, 16)
    for format in ("native", "transformers"):
        task.save_to_preset(tmp_path / format, format=format)
        convert_preset(tmp_path / format, tmp_path / f"{format}_there", format="transformers")
    for folder in ("native", "transformers", "native_there", "transformers_there"):
        again = type(task).from_preset(tmp_path / folder)
        assert again.preprocessor.sequence_length == 16
        assert verify_preset(str(tmp_path / folder))["holds"]
    config = json.loads((tmp_path / "native_there" / "tokenizer_config.json").read_text())
    assert config["model_max_length"] == 16


@pytest.mark.keras(once=True)
def test_a_truncation_that_a_checkpoint_cannot_hold_is_told(saved, tmp_path):
    from vertebra_text import TextPreprocessor

    task, _ = saved("Reranker")
    task.preprocessor = TextPreprocessor(task.tokenizer, 44, "only_first")
    with pytest.warns(UserWarning, match="truncation='only_first' is not saved"):
        task.save_to_preset(tmp_path / "saved", format="transformers")
    task.save_to_preset(tmp_path / "native")
    with pytest.warns(UserWarning, match="truncation='only_first' is not saved"):
        convert_preset(tmp_path / "native", tmp_path / "there", format="transformers")
    facts = verify_preset(str(tmp_path / "there"))
    assert (facts["holds"], facts["texts"]) == (True, None)


def test_a_task_of_another_plugin_is_converted(own_task, preset, tmp_path):
    task = own_task.from_preset(preset, load_weights=False)
    task.save_to_preset(tmp_path / "own")
    (facts,) = inspect_preset(str(tmp_path / "own"))["tasks"]
    assert (facts["task"], facts["parameters"]) == ("SpamScorer", 17)
    convert_preset(tmp_path / "own", tmp_path / "half", dtype="float16")
    again = own_task.from_preset(tmp_path / "half")
    np.testing.assert_allclose(again.predict(TEXTS), task.predict(TEXTS), atol=0.01)


@pytest.fixture
def own_task():
    """The task of docs/tutorials/write-a-task.md, as another plugin contributes it."""
    import keras

    from vertebra import TaskSpec, hookimpl
    from vertebra_text import Task

    @keras.saving.register_keras_serializable("test_own_task")
    class SpamScorer(Task):
        def __init__(self, backbone, preprocessor=None, **kwargs):
            states = backbone(backbone.input)["sequence_output"]
            score = keras.layers.Dense(1, "sigmoid", name="score")
            outputs = score(keras.layers.GlobalMaxPooling1D(name="pooling")(states))
            super().__init__(backbone, outputs, preprocessor, **kwargs)

        def head_weights(self):
            return {f"score/{weight.name}": weight for weight in self.get_layer("score").weights}

    globals()["SpamScorer"] = SpamScorer

    class Plugin:
        @hookimpl
        def vertebra_tasks(self):
            return [TaskSpec("SpamScorer", f"{__name__}:SpamScorer", "", "vertebra_text.task_files.describe:describe")]

    vertebra.add_plugin(Plugin(), "spam")
    yield vertebra.models.SpamScorer
    vertebra.remove_plugin("spam")
    del globals()["SpamScorer"]


@pytest.mark.keras(once=True)
def test_a_task_that_cannot_be_read_is_named(saved, tmp_path, capsys):
    _, source = saved("TextEmbedder", "transformers")
    modules = json.loads((source / "modules.json").read_text())
    modules.append({"idx": 9, "name": "9", "path": "9_Other", "type": "acme.Other"})
    (source / "modules.json").write_text(json.dumps(modules))
    assert main(["convert", str(source), str(tmp_path / "there"), "--json"]) == 0
    done = json.loads(capsys.readouterr().out)
    assert done["task"] is None
    (note,) = done["notes"]
    assert "cannot be read, so it was not converted" in note
    assert "acme.Other" in note
    assert done["assets"]["carried"]["modules.json"] == "modules.json"


@pytest.mark.keras(once=True)
def test_a_head_that_is_large_and_not_on_this_machine_is_fetched(saved, answers, tmp_path, monkeypatch, remote):
    task, source = saved("TextClassifier", "kerashub")
    remote.add("mine", {path.relative_to(source).as_posix(): path.read_bytes() for path in source.rglob("*.*")})
    monkeypatch.setattr("vertebra._tasks.preset_files.MOST_BYTES", 1000)
    done = convert_preset("toy://mine", tmp_path / "there", format="transformers")
    assert (done.task, done.notes) == ("TextClassifier", ())
    again = vertebra.models.TextClassifier.from_preset(tmp_path / "there")
    np.testing.assert_allclose(answers(again), answers(task), atol=1e-6)


@pytest.fixture
def remote(request, monkeypatch, tmp_path):
    """A source of presets in memory, `toy://`, and an empty cache."""
    from vertebra._configuration import settings

    path = request.path.parents[3] / "registry" / "toy_remote.py"
    spec = importlib.util.spec_from_file_location("toy_remote", path)
    toys = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(toys)
    source, plugin = toys.ToyRemote(), types.ModuleType("toy_plugin")
    plugin.vertebra_preset_sources = vertebra.hookimpl(lambda: [source], specname="vertebra_preset_sources")
    monkeypatch.setenv("VERTEBRA_CACHE", str(tmp_path / "cache"))
    settings.settings.cache_clear()
    vertebra.add_plugin(plugin, "toys")
    yield source
    vertebra.remove_plugin("toys")
    monkeypatch.undo()
    settings.settings.cache_clear()


# === Files of earlier tasks ===

OF_TASKS = {
    "native": ("task.json", "task.safetensors"),
    "kerashub": ("task.json", "task.weights.h5"),
    "transformers": (),
    "sentence-transformers": ("modules.json", "config_sentence_transformers.json", "sentence_bert_config.json"),
}


def task_files(folder):
    """Returns the names of all files of tasks below a folder, but for those in the modules' folders."""
    names = {name for group in OF_TASKS.values() for name in group}
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.name in names}


def tasks_of(folder):
    return [facts["task"] for facts in inspect_preset(str(folder))["tasks"]]


@pytest.mark.keras(once=True)
@pytest.mark.parametrize("target", ["native", "kerashub", "transformers"])
@pytest.mark.parametrize("source", ["native", "kerashub", "transformers"])
@pytest.mark.parametrize("name", ["TextClassifier", "TextEmbedder"])
def test_a_conversion_has_no_files_of_the_task_in_another_format(name, source, target, saved, tmp_path):
    _, folder = saved(name, source, **({"dense": []} if name == "TextEmbedder" else {}))
    assert convert_preset(folder, tmp_path / "there", format=target).task == name
    expected = OF_TASKS["sentence-transformers" if (name, target) == ("TextEmbedder", "transformers") else target]
    if name == "TextEmbedder" and target in ("native", "kerashub"):
        expected = expected[:1]  # it has no weights
    assert task_files(tmp_path / "there") == set(expected)
    assert (tmp_path / "there" / "1_Pooling").exists() == ("modules.json" in expected)
    assert tasks_of(tmp_path / "there") == [name]


@pytest.mark.keras(once=True)
@pytest.mark.parametrize(
    ("format", "earlier", "later"),
    [
        ("native", "TextClassifier", "TextEmbedder"),
        ("native", "TextEmbedder", "TextClassifier"),
        ("kerashub", "TextClassifier", "TextEmbedder"),
        ("transformers", "TextEmbedder", "TextClassifier"),
        ("transformers", "TextEmbedder", "Reranker"),
        ("transformers", "TextEmbedder", "TokenClassifier"),
        ("transformers", "Reranker", "TextClassifier"),
    ],
)
def test_a_task_replaces_the_files_of_an_earlier_one(format, earlier, later, saved, tmp_path):
    _, folder = saved(earlier, format, **({"dense": []} if earlier == "TextEmbedder" else {}))
    (folder / "LICENSE").write_text("mine")
    task, plain = saved(later, "native", **({"dense": []} if later == "TextEmbedder" else {}))
    shutil.copytree(folder, tmp_path / "converted")
    task.save_to_preset(folder, format=format)
    convert_preset(plain, tmp_path / "converted", format=format)
    for written in (folder, tmp_path / "converted"):
        assert tasks_of(written) == [later]
        (facts,) = inspect_preset(str(written))["tasks"]
        assert facts["parameters"] == sum(int(np.prod(weight.shape)) for weight in task.head_weights().values())
        assert not (written / "1_Pooling").exists()
        assert (written / "LICENSE").read_text() == "mine"


@pytest.mark.keras(once=True)
def test_a_task_of_a_folder_of_sentence_transformers_is_saved_without_its_modules(saved, tmp_path):
    _, folder = saved("TextEmbedder", "transformers")
    with pytest.warns(UserWarning, match="no values for"):
        task = vertebra.models.TextClassifier.from_preset(folder, num_classes=2)
    task.save_to_preset(tmp_path / "saved", format="transformers")
    assert tasks_of(tmp_path / "saved") == ["TextClassifier"]


@pytest.mark.keras(once=True)
def test_a_classifier_that_was_a_reranker_is_no_reranker(saved, tmp_path):
    _, folder = saved("Reranker", "transformers")
    with pytest.warns(UserWarning, match="no values for"):
        task = vertebra.models.TextClassifier.from_preset(folder, num_classes=2)
    task.save_to_preset(tmp_path / "saved", format="transformers")
    assert tasks_of(tmp_path / "saved") == ["TextClassifier"]


# === Tokenizers ===


@pytest.mark.keras(once=True)
def test_a_tokenizer_is_translated_and_its_original_is_restored(preset, tmp_path, capsys):
    (preset / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "BertTokenizer", "mine": 1}))
    there = convert_preset(preset, tmp_path / "there", format="kerashub")
    assert there.assets.tokenizer == ("assets/tokenizer/vocabulary.txt", "tokenizer.json")
    assert there.assets.notes == ()
    np.testing.assert_array_equal(ids(tmp_path / "there"), ids(preset))
    back = convert_preset(tmp_path / "there", tmp_path / "back", format="transformers")
    np.testing.assert_array_equal(ids(tmp_path / "back"), ids(preset))
    assert "tokenizer.json" in back.assets.tokenizer
    assert main(["convert", str(preset), str(tmp_path / "printed"), "--format", "kerashub"]) == 0
    assert "tokenizer written as assets/tokenizer/vocabulary.txt, tokenizer.json\n" in capsys.readouterr().out


@pytest.mark.keras(once=True)
def test_the_length_of_a_tokenizer_is_that_of_the_preprocessor(preset, tmp_path):
    from vertebra_text import Tokenizer

    config = {"tokenizer_class": "BertTokenizer", "model_max_length": 24}
    (preset / "tokenizer_config.json").write_text(json.dumps(config))
    done = convert_preset(preset, tmp_path / "there", format="kerashub")
    assert "preprocessor.json" in done.assets.tokenizer
    assert Tokenizer.from_preset(tmp_path / "there").max_length == 24
    document = json.loads((tmp_path / "there" / "preprocessor.json").read_text())
    assert document["registered_name"] == "keras_hub>BertTextClassifierPreprocessor"
    assert document["config"]["sequence_length"] == 24


@pytest.mark.keras(once=True)
def test_files_that_were_kept_are_restored_unless_the_tokenizer_changed(saved, tmp_path):
    _, source = saved("TextEmbedder", "transformers")
    convert_preset(source, tmp_path / "there", format="kerashub")
    convert_preset(tmp_path / "there", tmp_path / "back", format="transformers")
    assert (tmp_path / "back" / "tokenizer.json").read_bytes() == (source / "tokenizer.json").read_bytes()
    words = tmp_path / "there" / "assets" / "tokenizer" / "vocabulary.txt"
    words.write_text(words.read_text().replace("\na\n", "\nA\n"))
    convert_preset(tmp_path / "there", tmp_path / "other", format="transformers")
    np.testing.assert_array_equal(ids(tmp_path / "other"), ids(tmp_path / "there"))
    assert (tmp_path / "other" / "tokenizer.json").read_bytes() != (source / "tokenizer.json").read_bytes()


@pytest.mark.keras(once=True)
def test_a_tokenizer_without_a_form_in_the_format_is_copied_and_named(saved, tmp_path, capsys):
    _, source = saved("TextEmbedder", "transformers")
    document = json.loads((source / "tokenizer.json").read_text())
    document["normalizer"] = {"type": "NFC"}
    (source / "tokenizer.json").write_text(json.dumps(document))
    assert main(["convert", str(source), str(tmp_path / "there"), "--format", "kerashub", "--json"]) == 0
    done = json.loads(capsys.readouterr().out)
    (note,) = done["assets"]["notes"]
    assert "was not translated to the kerashub format" in note
    assert "normalizer" in note
    assert done["assets"]["carried"]["tokenizer.json"] == "carried/transformers/tokenizer.json"
    assert not (tmp_path / "there" / "assets").exists()


@pytest.mark.keras(once=True)
def test_save_to_preset_of_a_backbone_translates_the_tokenizer(preset, tmp_path, caplog):
    vertebra.Backbone.from_preset(preset).save_to_preset(tmp_path / "saved", format="kerashub")
    np.testing.assert_array_equal(ids(tmp_path / "saved"), ids(preset))
    assert (tmp_path / "saved" / "assets" / "tokenizer" / "vocabulary.txt").is_file()
    shutil.rmtree(tmp_path / "saved" / "assets")
    assert caplog.records == []


@pytest.mark.keras(once=True)
def test_a_task_without_a_form_in_the_format_is_named(saved, tmp_path, monkeypatch):
    from vertebra.errors import FormatLimitError
    from vertebra_text import Task

    def refuse(preset, format):
        raise FormatLimitError(format, "task", "TextClassifier", "it has none")

    _, source = saved("TextClassifier")
    monkeypatch.setattr(Task, "export_preset", refuse)
    done = convert_preset(source, tmp_path / "there", format="kerashub")
    assert done.task is None
    assert any("TextClassifier has no form in the kerashub format" in note for note in done.notes)
    assert done.assets.carried["task.json"] == "carried/native/task.json"
    monkeypatch.undo()
    convert_preset(tmp_path / "there", tmp_path / "back")
    assert inspect_preset(str(tmp_path / "back"))["tasks"][0]["task"] == "TextClassifier"
