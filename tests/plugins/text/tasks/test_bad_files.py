"""Files of tasks with values that cannot be: an error names the file, the field and the value; `inspect` goes on."""

import json

import keras
import pytest

import vertebra
from vertebra._presets.inspect import inspect_preset
from vertebra.cli import main
from vertebra.errors import ArgumentError, PresetConfigError

pytestmark = pytest.mark.keras(once=True)
OPTIONS = {"TextClassifier": {"num_classes": 2}, "TokenClassifier": {"num_classes": 2}, "TextEmbedder": {}}
FILES = {"native": "task.json", "kerashub": "task.json", "transformers": "config.json"}
SOFTMAX = {"module": "keras.layers", "class_name": "Softmax", "config": {}, "registered_name": None}
GET_FILE = {"module": "keras.utils", "class_name": "function", "config": "get_file", "registered_name": "get_file"}


@pytest.fixture
def changed(preset, tmp_path):
    """Saves a task in a format, and changes one value in a file of it; returns class and folder."""

    def changed(name, format, path, value, file=None):
        made = getattr(vertebra.models, name)
        folder = tmp_path / "saved"
        made.from_preset(preset, False, **OPTIONS.get(name, {})).save_to_preset(folder, format=format)
        file = folder / (file or FILES[format])
        document = json.loads(file.read_text())
        *outer, last = path.split(".")
        fields = document
        for key in outer:
            fields = fields[key]
        fields[last] = value
        file.write_text(json.dumps(document))
        return made, folder

    return changed


BAD = [
    ("TextEmbedder", "native", "arguments.prompts", 5, "prompts is 5, expected a dict with a text"),
    ("TextEmbedder", "native", "arguments.prompts", ["query"], r"prompts is \['query'\]"),
    ("TextEmbedder", "native", "arguments.prompts", {"query": 5}, "prompts is {'query': 5}"),
    ("TextEmbedder", "native", "arguments.default_prompt_name", ["x"], r"default_prompt_name is \['x'\]"),
    ("TextEmbedder", "native", "arguments.default_prompt_name", "x", "default_prompt_name is 'x'"),
    ("TextEmbedder", "native", "arguments.dense", 5, "dense is 5, expected a list of dicts"),
    ("TextEmbedder", "native", "arguments.dense", [5], r"dense is \[5\]"),
    ("TextEmbedder", "native", "arguments.dense", [{"units": -4}], "dense is {'units': -4}, expected units"),
    ("TextEmbedder", "native", "arguments.dense", [{"units": "x"}], "dense is {'units': 'x'}"),
    ("TextEmbedder", "native", "arguments.dense", [{"units": 4, "use_bias": "no"}], "expected use_bias"),
    ("TextEmbedder", "native", "arguments.pooling_mode", 5, "pooling_mode is 5"),
    ("TextEmbedder", "native", "arguments.pooling_mode", [["mean"]], r"pooling_mode is \['mean'\]"),
    ("TextEmbedder", "native", "arguments.normalize", "false", "normalize is 'false', expected True or False"),
    ("TextEmbedder", "native", "arguments.truncate_dim", "x", "truncate_dim is 'x'"),
    ("TextEmbedder", "native", "arguments.similarity_fn_name", ["x"], "similarity_fn_name is"),
    ("TextEmbedder", "native", "sequence_length", -4, "sequence_length is -4, expected null, or an int above 0"),
    ("TextEmbedder", "native", "sequence_length", True, "sequence_length is True"),
    ("TextEmbedder", "native", "arguments", [1], r"arguments is \[1\], expected values by name"),
    ("TextClassifier", "native", "arguments.labels", 5, "labels is 5, expected a list of names"),
    ("TextClassifier", "native", "arguments.labels", [["a"], ["b"]], "labels is"),
    ("TextClassifier", "native", "arguments.labels", {"a": 0, "b": 1}, "labels is"),
    ("TextClassifier", "native", "arguments.num_classes", "x", "num_classes is 'x'"),
    ("TextClassifier", "native", "arguments.dropout", "x", "dropout is 'x'"),
    ("TextClassifier", "native", "arguments.problem_type", ["x"], "problem_type is"),
    ("TextClassifier", "native", "arguments.head", 5, "head is 5, expected the config of a vertebra.HeadSpec"),
    ("TextClassifier", "native", "arguments.head.layers", [{"kind": "Dropout", "rate": "x"}], "rate='x'"),
    ("TextClassifier", "native", "arguments.head.layers", [{"kind": "Dense", "module": 5}], "module=5"),
    ("TextClassifier", "native", "arguments.head.layers", [{"kind": "Norm", "module": "a", "epsilon": "x"}], "epsi"),
    ("TokenClassifier", "native", "arguments.dropout", 7, "dropout is 7"),
    ("MaskedLM", "native", "arguments.mask_selection_rate", "x", "mask_selection_rate is 'x'"),
    ("TextClassifier", "kerashub", "vertebra.labels", 5, "labels is 5"),
    ("TextClassifier", "kerashub", "config.dropout", "x", "dropout is 'x'"),
    ("TextClassifier", "kerashub", "config.num_classes", "x", "num_classes is 'x'"),
    ("TextEmbedder", "kerashub", "vertebra.prompts", 5, "prompts is 5"),
    ("TextEmbedder", "kerashub", "config.pooling_mode", 5, "pooling_mode is 5"),
    ("TextClassifier", "transformers", "classifier_dropout", "x", "classifier_dropout is 'x'"),
    ("TextClassifier", "transformers", "problem_type", ["x"], "problem_type is"),
    ("TokenClassifier", "transformers", "classifier_dropout", [0.1], "classifier_dropout is"),
]


@pytest.mark.parametrize(("name", "format", "path", "value", "problem"), BAD)
def test_values_that_cannot_be_are_named_with_their_file(name, format, path, value, problem, changed):
    made, folder = changed(name, format, path, value)
    with pytest.raises(PresetConfigError, match=problem) as caught:
        made.from_preset(folder)
    assert str(caught.value).startswith(FILES[format])
    inspect_preset(str(folder))  # raises nothing


OF_MODULES = [
    ("1_Pooling/config.json", "pooling_mode", 5, "pooling_mode is 5"),
    ("1_Pooling/config.json", "pooling_mode", [["mean"]], "pooling_mode is"),
    ("1_Pooling/config.json", "pooling_mode", [], "pooling_mode is"),
    ("sentence_bert_config.json", "max_seq_length", "512", "max_seq_length is '512'"),
    ("config_sentence_transformers.json", "prompts", ["query"], r"prompts is \['query'\]"),
    ("config_sentence_transformers.json", "default_prompt_name", ["x"], "default_prompt_name is"),
    ("config_sentence_transformers.json", "truncate_dim", "x", "truncate_dim is 'x'"),
]


@pytest.mark.parametrize(("file", "path", "value", "problem"), OF_MODULES)
def test_so_are_values_of_sentence_transformers(file, path, value, problem, changed, capsys):
    made, folder = changed("TextEmbedder", "sentence-transformers", path, value, file)
    with pytest.raises(PresetConfigError, match=problem) as caught:
        made.from_preset(folder)
    assert str(caught.value).startswith(file)
    assert main(["inspect", str(folder)]) == 0
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize("text", ["[" * 100_000, "5", "\xff", "[]" + " " * 2**20])
def test_so_is_a_list_of_modules_that_cannot_be_one(text, changed):
    """V10: it is not read before its size is known, and its nesting is limited."""
    made, folder = changed("TextEmbedder", "sentence-transformers", "max_seq_length", 512, "sentence_bert_config.json")
    (folder / "modules.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(PresetConfigError, match=r"^modules\.json: "):
        made.from_preset(folder)


@pytest.mark.parametrize(("argument", "value"), [("foo", 5), ("preprocessor", 5), ("compile", 5), ("name", "x/y")])
def test_arguments_of_a_file_that_the_class_lacks_are_not_used_and_told(argument, value, changed, caplog):
    made, folder = changed("TextEmbedder", "native", f"arguments.{argument}", value)
    task = made.from_preset(folder)
    assert f"arguments that TextEmbedder lacks are not used: '{argument}'" in caplog.text
    assert task.optimizer is not None
    assert task.preprocessor.tokenizer is not None
    assert task.name != "x/y"


def test_an_argument_of_the_user_replaces_that_of_the_file_and_its_error_is_the_users(changed):
    made, folder = changed("TextEmbedder", "native", "arguments.prompts", 5)
    assert made.from_preset(folder, prompts={"query": "the "}).prompts == {"query": "the "}
    with pytest.raises(ArgumentError, match=r"TextEmbedder: prompts=7, expected"):
        made.from_preset(folder, prompts=7)


@pytest.mark.parametrize("format", ["native", "kerashub"])
@pytest.mark.parametrize("value", [SOFTMAX, GET_FILE, "nope", "get", "keras.utils.get_file", ["softmax"], 5], ids=str)
def test_an_activation_of_a_file_is_a_name(format, value, changed):
    path = "arguments.activation" if format == "native" else "config.activation"
    made, folder = changed("TextClassifier", format, path, value)
    with pytest.raises(PresetConfigError, match=r"task\.json: activation is .*pass activation=\.\.\."):
        made.from_preset(folder)
    assert made.from_preset(folder, activation=None).activation is None
    assert made.from_preset(folder, activation=keras.layers.Softmax()).predict(["good"]).sum() == pytest.approx(1)


@pytest.mark.parametrize("name", ["softmax", "quick_gelu", "leaky_relu"])
def test_names_of_keras_and_of_vertebra_are_activations_of_a_file(name, changed):
    made, folder = changed("TextClassifier", "native", "arguments.activation", name)
    task = made.from_preset(folder)
    function = getattr(keras.activations, name, None) or vertebra.activations.activation(name)
    logits = made.from_preset(folder, activation=None).predict(["good", "bad"])
    wanted = keras.ops.convert_to_numpy(function(keras.ops.convert_to_tensor(logits)))
    assert task.predict(["good", "bad"]) == pytest.approx(wanted, abs=1e-5)
    assert task.activation == name


def test_a_function_that_a_preset_cannot_hold_is_told_when_it_is_saved(preset, tmp_path):
    task = vertebra.models.TextClassifier.from_preset(preset, False, num_classes=2, activation=keras.layers.Softmax())
    with pytest.warns(UserWarning, match="activation cannot be loaded from a preset"):
        task.save_to_preset(tmp_path / "saved")
