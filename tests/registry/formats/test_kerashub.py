"""KerasHub's format: outputs as in KerasHub, reading its config, and writing it."""

import json
import shutil

import h5py
import keras
import numpy as np
import pytest

import vertebra
from vertebra.errors import FormatLimitError, PresetConfigError, PresetFormatError, WeightsMismatchError

pytestmark = pytest.mark.keras

WEIGHTS = "model.weights.h5"
FILES = {"config.json", "metadata.json", WEIGHTS, "certificate.safetensors"}


@pytest.fixture
def kerashub(golden):
    """A BERT that KerasHub wrote, so its format can represent it."""
    return vertebra.Backbone.from_preset(golden / "kerashub")


@pytest.fixture
def copy(golden, tmp_path):
    """A copy of KerasHub's preset whose config may be changed: its own fields, or the constructor's arguments."""

    def make(arguments=None, **fields):
        shutil.copytree(golden / "kerashub", tmp_path / "copy", dirs_exist_ok=True)
        config = json.loads((golden / "kerashub" / "config.json").read_text()) | fields
        if arguments is not None:
            config["config"] |= arguments
        (tmp_path / "copy" / "config.json").write_text(json.dumps(config))
        return tmp_path / "copy"

    return make


def same(one, other):
    """Says whether two tables of arrays have the same names and bits."""
    return one.keys() == other.keys() and all(np.array_equal(one[name], other[name]) for name in one)


def policy(name, kind="DTypePolicy"):
    return {"module": "keras", "class_name": kind, "config": {"name": name}, "registered_name": None}


# === Reading ===


@pytest.mark.parametrize("preset", ["kerashub", "kerashub_sharded"])
def test_outputs_are_those_of_kerashub(golden, io, run, preset):
    outputs = run(vertebra.Backbone.from_preset(golden / preset))
    mask = io["padding_mask"].astype(bool)
    assert np.abs(outputs["pooled_output"] - io["kerashub/pooled_output"]).max() <= 1e-5
    assert np.abs(outputs["sequence_output"][mask] - io["kerashub/sequence_output"][mask]).max() <= 1e-5


@pytest.mark.keras(once=True)
@pytest.mark.parametrize("name", ["keras_hub>BertBackbone", "keras_nlp>BertBackbone"])
def test_the_older_name_of_the_library_is_known(copy, name):
    assert vertebra.Backbone.from_preset(copy(registered_name=name)).num_layers == 2


@pytest.mark.keras(once=True)
def test_the_name_and_whether_it_trains_are_kept(copy):
    backbone = vertebra.Backbone.from_preset(copy({"name": "encoder", "trainable": False}))
    assert (backbone.name, backbone.trainable, backbone.trainable_weights) == ("encoder", False, [])
    other = vertebra.Backbone.from_preset(copy({"name": "encoder", "trainable": False}), name="mine", trainable=True)
    assert (other.name, other.trainable) == ("mine", True)


@pytest.mark.keras(once=True)
@pytest.mark.parametrize(
    "dtype",
    [
        None,
        "float32",
        "bfloat16",
        "mixed_float16",
        policy("bfloat16"),
        policy("mixed_bfloat16", "FloatDTypePolicy"),
        {
            "class_name": "DTypePolicyMap",
            "config": {"default_policy": None, "policy_map": {"int8/x": policy("float16")}},
        },
        {"module": "os", "class_name": "system", "config": "true"},
    ],
    ids=str,
)
def test_whatever_floats_were_asked_for_there_the_dtype_policy_here_decides(copy, dtype):
    backbone = vertebra.Backbone.from_preset(copy({"dtype": dtype}))
    assert {variable.dtype for variable in backbone.weights} == {"float32"}


@pytest.mark.keras(once=True)
@pytest.mark.parametrize(
    ("dtype", "mode"),
    [
        ("float8_from_float32", "float8"),
        (policy("gptq/4/128_from_float32"), "gptq"),
        ({"class_name": "QuantizedDTypePolicy", "config": {"mode": "awq/4/128", "source_name": "float32"}}, "awq"),
        (
            {
                "class_name": "DTypePolicyMap",
                "config": {"policy_map": {"a": policy("int8_from_float32"), "b": policy("int4/8_from_float32")}},
            },
            "int4/8, int8",
        ),
    ],
    ids=str,
)
def test_another_way_of_quantising_is_refused_by_name(copy, dtype, mode):
    with pytest.raises(PresetConfigError, match=mode):
        vertebra.Backbone.from_preset(copy({"dtype": dtype}))


def test_floats_that_are_said_to_be_quantised_do_not_fit(copy):
    backbone = vertebra.Backbone.from_preset(copy({"dtype": policy("int8_from_float32")}))
    assert {variable.dtype for variable in backbone.weights} == {"float32"}  # no layer is: the weights decide


@pytest.mark.keras(once=True)
@pytest.mark.parametrize(
    "fields",
    [
        {"registered_name": "keras_hub>BertTokenizer"},
        {"registered_name": "keras>Lambda"},
        {"registered_name": None},
        {"registered_name": ["keras_hub>BertBackbone"]},
        {"registered_name": {}},
        {"config": None},
        {"config": []},
        {"config": "BertBackbone"},
        {"config": {}},
    ],
    ids=str,
)
def test_a_config_that_is_none_is_refused(copy, fields):
    with pytest.raises(PresetConfigError) as caught:
        vertebra.Backbone.from_preset(copy(**fields))
    assert "config.json" in str(caught.value)


@pytest.mark.keras(once=True)
@pytest.mark.parametrize(
    "arguments",
    [
        {"num_layers": "2"},
        {"num_layers": 10**9},
        {"hidden_dim": 17},
        {"num_heads": 0},
        {"num_heads": None},
        {"num_heads": 10**20},
        {"dropout": 2},
        {"surprise": 1},
        {"lora": {"layers": ["query"]}},
        {"name": 5},
        {"trainable": "no"},
        {"token_embedding": {"class_name": "Lambda", "module": "os"}},
    ],
    ids=str,
)
def test_an_argument_that_the_class_does_not_take_is_refused(copy, arguments):
    with pytest.raises(PresetConfigError) as caught:
        vertebra.Backbone.from_preset(copy(arguments))
    assert next(iter(arguments)) in str(caught.value)


@pytest.mark.keras(once=True)
def test_weights_of_another_size_are_named(copy):
    with pytest.raises(WeightsMismatchError) as caught:
        vertebra.Backbone.from_preset(copy({"vocabulary_size": 100}))
    assert caught.value.reshaped == [("token_embedding/embeddings", (100, 16), (101, 16))]


# === Writing ===


def names(folder):
    return {path.name for path in folder.iterdir()}


def test_a_preset_comes_back_to_the_last_bit(kerashub, tmp_path, run, values):
    kerashub.save_to_preset(tmp_path / "preset", format="kerashub")
    assert names(tmp_path / "preset") == FILES
    again = vertebra.Backbone.from_preset(tmp_path / "preset", verify=True)
    assert again.get_config() == kerashub.get_config()
    assert same(values(again), values(kerashub))
    assert same(run(again), run(kerashub))


@pytest.mark.keras(once=True)
def test_datasets_are_those_that_kerashub_wrote(kerashub, golden, tmp_path):
    def datasets(folder):
        found = {}
        with h5py.File(folder / WEIGHTS) as file:
            file.visititems(
                lambda name, item: found.update({name: item[()]}) if isinstance(item, h5py.Dataset) else None
            )
        return found

    kerashub.save_to_preset(tmp_path / "preset", format="kerashub")
    assert same(datasets(tmp_path / "preset"), datasets(golden / "kerashub"))


@pytest.mark.keras(once=True)
def test_the_config_is_what_kerashub_would_write(kerashub, golden, tmp_path):
    kerashub.save_to_preset(tmp_path / "preset", format="kerashub")
    mine, theirs = (json.loads((f / "config.json").read_text()) for f in (tmp_path / "preset", golden / "kerashub"))
    assert mine["config"] == theirs["config"]
    assert mine["registered_name"] == theirs["registered_name"]
    assert mine.keys() == theirs.keys()
    about = json.loads((tmp_path / "preset" / "metadata.json").read_text())
    assert about["parameter_count"] == 6656


@pytest.mark.keras(once=True)
def test_the_name_and_whether_it_trains_are_written(golden, tmp_path):
    frozen = vertebra.Backbone.from_preset(golden / "kerashub", name="mine", trainable=False)
    frozen.save_to_preset(tmp_path / "preset", format="kerashub")
    again = vertebra.Backbone.from_preset(tmp_path / "preset")
    assert (again.name, again.trainable) == ("mine", False)


def test_shards_come_back_also_where_a_layer_is_in_two(kerashub, tmp_path, values):
    kerashub.save_to_preset(tmp_path / "preset", 8.8e-6, format="kerashub")
    index = json.loads((tmp_path / "preset" / "model.weights.json").read_text())
    assert any(len(files) > 1 for files in index["weight_map"].values())
    shards = {name for files in index["weight_map"].values() for name in files}
    assert len(shards) > 2
    assert names(tmp_path / "preset") == FILES - {WEIGHTS} | shards | {"model.weights.json"}
    assert same(values(vertebra.Backbone.from_preset(tmp_path / "preset")), values(kerashub))


def test_half_precision_is_stored_as_it_is(golden, tmp_path, values):
    half = vertebra.Backbone.from_preset(golden / "kerashub", dtype="bfloat16")
    half.save_to_preset(tmp_path / "half", format="kerashub")
    config = json.loads((tmp_path / "half" / "config.json").read_text())
    assert config["config"]["dtype"] == policy("bfloat16")
    with h5py.File(tmp_path / "half" / WEIGHTS) as file:
        assert file["layers/dense/vars/0"].attrs["dtype"] == "bfloat16"
    assert same(values(vertebra.Backbone.from_preset(tmp_path / "half", dtype="bfloat16")), values(half))
    wide = values(vertebra.Backbone.from_preset(tmp_path / "half"))
    assert same(wide, {name: array.astype("float32") for name, array in values(half).items()})


def test_what_was_saved_in_mixed_precision_is_float32(golden, tmp_path):
    mixed = vertebra.Backbone.from_preset(golden / "kerashub", dtype="mixed_bfloat16")
    mixed.save_to_preset(tmp_path / "mixed", format="kerashub")
    config = json.loads((tmp_path / "mixed" / "config.json").read_text())
    assert config["config"]["dtype"] == policy("float32")


# === Limits of the format ===


@pytest.mark.keras(once=True)
@pytest.mark.parametrize(
    ("argument", "value"), [("activation", "gelu"), ("layer_norm_epsilon", 1e-5), ("attention_dropout", 0.3)]
)
def test_what_kerashub_does_not_compute_is_refused_and_the_old_preset_stays(
    golden, kerashub, tmp_path, digest, argument, value
):
    kerashub.save_to_preset(tmp_path / "preset", format="kerashub")
    before = digest(tmp_path)
    other = vertebra.Backbone.from_preset(golden / "kerashub", **{argument: value})
    with pytest.raises(FormatLimitError) as caught:
        other.save_to_preset(tmp_path / "preset", format="kerashub")
    assert (caught.value.format, caught.value.argument, caught.value.value) == ("kerashub", argument, value)
    assert digest(tmp_path) == before
    assert names(tmp_path) == {"preset"}


@pytest.mark.keras(once=True)
@pytest.mark.parametrize("format", ["kerashub", "transformers"])
def test_an_adapter_is_refused_and_nothing_written(kerashub, tmp_path, format):
    kerashub.enable_lora(2)
    with pytest.raises(FormatLimitError) as caught:
        kerashub.save_to_preset(tmp_path / "preset", format=format)
    assert caught.value.argument == "lora"
    assert names(tmp_path) == set()


class Stranger(vertebra.Backbone):
    """A class that no plugin provides."""

    def __init__(self, **kwargs):
        inputs = keras.Input((2,), name="x")
        super().__init__(inputs, keras.layers.Dense(3, name="dense")(inputs), **kwargs)


@pytest.mark.keras(once=True)
@pytest.mark.parametrize("format", ["kerashub", "transformers"])
def test_a_class_that_nobody_translates_is_saved_in_the_native_format_alone(tmp_path, format):
    with pytest.raises(PresetFormatError) as caught:
        Stranger().save_to_preset(tmp_path / "preset", format=format)
    assert caught.value.known == ["native"]
    assert names(tmp_path) == set()


@pytest.mark.keras(once=True)
@pytest.mark.parametrize("format", ["kerashub", "transformers"])
def test_a_subclass_of_an_architecture_is_not_that_architecture(arguments, tmp_path, format):
    class BertVariant(vertebra.models.BertBackbone):
        pass

    with pytest.raises(PresetFormatError):
        BertVariant(**arguments).save_to_preset(tmp_path / "preset", format=format)
    assert names(tmp_path) == set()


# === Over a preset of another format ===

FORMATS = {
    "native": ({"model.safetensors", "metadata.json"}, "model-"),
    "transformers": ({"model.safetensors"}, "model-"),
    "kerashub": ({WEIGHTS, "metadata.json"}, "model_"),
}
ALWAYS = {"config.json", "certificate.safetensors", "tokenizer.json", "assets"}


@pytest.mark.keras(once=True)
@pytest.mark.parametrize("sharded", [False, True], ids=["whole", "sharded"])
@pytest.mark.parametrize("new", FORMATS)
@pytest.mark.parametrize("old", FORMATS)
def test_no_file_of_the_old_format_or_shard_stays_and_those_of_others_do(kerashub, tmp_path, values, old, new, sharded):
    target = tmp_path / "preset"
    kerashub.save_to_preset(target, 4e-6 if sharded else None, format=old)
    assert any(path.name.startswith(FORMATS[old][1]) for path in target.iterdir()) == sharded
    (target / "tokenizer.json").write_text('{"registered_name": "keras_hub>BertTokenizer"}')
    (target / "assets").mkdir()
    kerashub.save_to_preset(target, format=new)
    moved = {"tokenizer.json"} if new == "transformers" and old != new else set()  # which would misread it
    assert names(target) == FORMATS[new][0] | ALWAYS - moved | ({"carried"} if moved else set())
    assert same(values(vertebra.Backbone.from_preset(target)), values(kerashub))


def test_datasets_of_keras_2_13_are_found_under_their_old_names(golden, tmp_path, values):
    shutil.copytree(golden / "kerashub", tmp_path / "old")
    with h5py.File(tmp_path / "old" / WEIGHTS, "r+") as file:
        file.move("layers", "_layer_checkpoint_dependencies")
    loaded = vertebra.Backbone.from_preset(tmp_path / "old")
    assert same(values(loaded), values(vertebra.Backbone.from_preset(golden / "kerashub")))
