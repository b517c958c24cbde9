"""Adapter files: all trained values are restored, on the same base, in any process and on any runtime."""

import itertools
import json
import struct

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

import vertebra
from vertebra._lora.files import peft
from vertebra.errors import (
    AdapterBaseError,
    AdapterMismatchError,
    AdapterNotFoundError,
    LoraConfigError,
    LoraStateError,
    PresetChangedError,
    PresetSaveError,
    UnknownNameError,
    WeightsFileError,
)

pytestmark = pytest.mark.keras


@pytest.fixture
def load(golden):
    """Loads the reference BERT again."""
    return lambda **overrides: vertebra.Backbone.from_preset(golden / "transformers", **overrides)


@pytest.fixture
def saved(load, fill, tmp_path):
    """An adapter of the reference BERT, saved as one file: rank 2, scale 2, on query and value."""
    backbone = load()
    backbone.enable_lora(2, alpha=4)
    fill(backbone)
    backbone.save_lora_weights(tmp_path / "adapter.safetensors")
    return tmp_path / "adapter.safetensors"


def same(one, other):
    """Returns whether two dicts of arrays have the same names and bits."""
    return one.keys() == other.keys() and all(one[name].tobytes() == other[name].tobytes() for name in one)


# === All values are restored ===

RUN_ADAPTED = """
import sys
import numpy as np
import vertebra
preset, adapter, inputs, outputs = sys.argv[1:]
backbone = vertebra.Backbone.from_preset(preset)
backbone.load_lora_weights(adapter)
import keras
results = backbone(dict(np.load(inputs)), training=False)
np.savez(outputs, **{name: keras.ops.convert_to_numpy(value) for name, value in results.items()})
"""


@pytest.fixture
def trained(load, train, tmp_path, inputs):
    """A backbone with a trained adapter, layer normalisation and pooler, and its saved file."""
    backbone = load(dropout=0.0, attention_dropout=0.0)
    backbone.enable_lora(4, ["all-linear"], dropout=0.1)
    backbone.get_layer("embeddings_layer_norm").trainable = True
    backbone.get_layer("pooled_dense").bias.trainable = True
    train(backbone, steps=2)
    backbone.save_lora_weights(tmp_path / "trained.safetensors")
    np.savez(tmp_path / "inputs.npz", **inputs)
    return backbone


def test_a_fresh_process_computes_the_same_bits(trained, golden, tmp_path, run, child):
    child(
        RUN_ADAPTED,
        golden / "transformers",
        tmp_path / "trained.safetensors",
        tmp_path / "inputs.npz",
        tmp_path / "there.npz",
    )
    assert same(dict(np.load(tmp_path / "there.npz")), run(trained))


def test_another_runtime_computes_the_same_numbers(trained, golden, tmp_path, run, child, other_runtime):
    arguments = golden / "transformers", tmp_path / "trained.safetensors", tmp_path / "inputs.npz"
    child(RUN_ADAPTED, *arguments, tmp_path / "there.npz", on=other_runtime)
    there, here = dict(np.load(tmp_path / "there.npz")), run(trained)
    assert max(np.abs(there[name] - here[name]).max() for name in here) <= 1e-5


@pytest.mark.parametrize("target", ["adapter.safetensors", "adapter"], ids=["file", "folder"])
def test_all_that_was_trained_is_restored_and_trains_on(trained, load, tmp_path, values, target):
    trained.save_lora_weights(tmp_path / target)
    fresh = load()
    receipt = fresh.load_lora_weights(tmp_path / target)
    assert same(values(fresh), values(trained))
    names = {variable.path for variable in fresh.trainable_weights}
    assert names == {variable.path for variable in trained.trainable_weights}
    assert {"embeddings_layer_norm/gamma", "embeddings_layer_norm/beta", "pooled_dense/bias"} <= names
    assert "pooled_dense/kernel" not in names
    assert receipt.parameters_trained == receipt.parameters_added + 3 * 16
    again = tmp_path / f"again_{target}"
    fresh.save_lora_weights(again)
    restored = load()
    restored.load_lora_weights(again)
    assert same(values(restored), values(trained))


def test_a_base_in_half_precision_keeps_its_adapter_in_float32(load, fill, tmp_path, values, run):
    half = load(dtype="bfloat16")
    half.enable_lora(2)
    fill(half)
    half.save_lora_weights(tmp_path / "half.safetensors")
    assert {array.dtype.name for array in load_file(tmp_path / "half.safetensors").values()} == {"float32"}
    again, wide = load(dtype="bfloat16"), load()
    for backbone in (again, wide):
        backbone.load_lora_weights(tmp_path / "half.safetensors")
    assert same(run(again), run(half))
    gap = np.abs(run(wide)["pooled_output"] - run(half)["pooled_output"].astype("float32")).max()
    assert gap < 0.1


def test_a_backbone_of_the_users_own_keeps_its_adapter(toy_class, ids, fill, run, tmp_path):
    toy = toy_class()
    toy.enable_lora(2, ["attention/*", "token_embedding"], seed=1)
    fill(toy)
    toy.save_lora_weights(tmp_path / "toy.safetensors")
    names = set(load_file(tmp_path / "toy.safetensors"))
    adapted = ("attention/query", "attention/value", "attention/attention_output", "token_embedding")
    assert names == {f"{path}/lora/{variable}" for path in adapted for variable in "ab"}
    again = toy_class()
    again.set_weights([variable.numpy() for variable in toy.weights if "lora" not in variable.path])
    receipt = again.load_lora_weights(tmp_path / "toy.safetensors")
    assert receipt.config == vertebra.LoraConfig(2, seed=1)
    assert np.array_equal(run(again, ids), run(toy, ids))


@pytest.mark.keras(once=True)
def test_settings_travel_with_the_file(load, tmp_path):
    backbone = load()
    backbone.enable_lora(3, ["key"], alpha=1.5, dropout=0.25, seed=7)
    backbone.save_lora_weights(tmp_path / "adapter.safetensors")
    receipt = load().load_lora_weights(tmp_path / "adapter.safetensors")
    assert receipt.config == vertebra.LoraConfig(3, 1.5, 0.25, "lora", 7)


# === Targets of saving ===


def test_a_file_is_replaced_and_nothing_is_left_beside_it(saved, load, fill, values):
    backbone = load()
    backbone.enable_lora(3, ["key"])
    fill(backbone, seed=2)
    backbone.save_lora_weights(saved)
    assert [path.name for path in saved.parent.iterdir()] == [saved.name]
    again = load()
    again.load_lora_weights(saved)
    assert same(values(again), values(backbone))


def test_an_adapter_can_be_saved_over_the_file_it_was_loaded_from(saved, load, values):
    backbone = load()
    backbone.load_lora_weights(saved)
    before = values(backbone)
    backbone.save_lora_weights(saved)
    again = load()
    again.load_lora_weights(saved)
    assert same(values(again), before)


@pytest.mark.keras(once=True)
@pytest.mark.parametrize(
    "name",
    [
        "a.h5",
        "a.pt",
        "a.PTH",
        "a.npz",
        "a.pkl",
        "a.keras",
        "a.Safetensors",
        "a.bin",
        "a.safetensor",
        "a.gguf",
        "thesis",
        "x" * 300 + ".safetensors",
        "nul\0",
    ],
)
def test_a_target_that_cannot_hold_it_is_refused(saved, load, tmp_path, digest, name):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.txt").write_text("mine")
    backbone = load()
    backbone.load_lora_weights(saved)
    before = digest(tmp_path)
    with pytest.raises(PresetSaveError):
        backbone.save_lora_weights(tmp_path / name)
    assert digest(tmp_path) == before


@pytest.mark.keras(once=True)
def test_a_file_is_not_replaced_by_a_folder(saved, load, tmp_path):
    backbone = load()
    backbone.load_lora_weights(saved)
    (tmp_path / "adapter").write_text("mine")
    with pytest.raises(PresetSaveError):
        backbone.save_lora_weights(tmp_path / "adapter")
    assert (tmp_path / "adapter").read_text() == "mine"


# === The base that it was trained on ===


def test_another_base_is_refused_and_stays_as_it_is(saved, load, inputs, state):
    other = load(load_weights=False)
    before = state(other, inputs)
    with pytest.raises(AdapterBaseError) as caught:
        other.load_lora_weights(saved)
    assert caught.value.trained_on != caught.value.actual
    assert len(caught.value.trained_on) == len(caught.value.actual) == 64
    assert state(other, inputs) == before
    other.load_lora_weights(saved, check_base=False)
    assert len(other.trainable_weights) == 8


def test_the_same_base_in_another_precision_is_accepted(saved, load):
    assert load(dtype="bfloat16").load_lora_weights(saved).parameters_added == 256


@pytest.mark.keras(once=True)
@pytest.mark.parametrize("override", [{"hidden_dim": 8}, {"num_layers": 1}], ids=str)
def test_another_architecture_is_refused_and_stays_as_it_is(saved, load, state, override):
    other = load(load_weights=False, **override)
    before = state(other)
    with pytest.raises(AdapterMismatchError):
        other.load_lora_weights(saved, check_base=False)
    assert state(other) == before


def test_another_class_is_refused_and_stays_as_it_is(saved, toy_class, ids, state):
    toy = toy_class()
    before = state(toy, ids)
    with pytest.raises(AdapterMismatchError) as caught:
        toy.load_lora_weights(saved)
    assert "transformer_layer_0/self_attention/query" in caught.value.names
    assert state(toy, ids) == before


# === Loading over an existing adapter ===


def test_an_attached_adapter_takes_the_values_of_the_file(saved, load, run):
    fresh, used = load(), load()
    fresh.load_lora_weights(saved)
    used.enable_lora(2, alpha=4)
    used.load_lora_weights(saved)
    assert same(run(used), run(fresh))
    used.load_lora_weights(saved)
    assert same(run(used), run(fresh))


@pytest.mark.parametrize(
    "attached", [{"rank": 4}, {"rank": 2}, {"rank": 2, "alpha": 4, "target_names": ["query"]}], ids=str
)
def test_an_attached_adapter_of_another_kind_is_kept(saved, load, inputs, state, fill, attached):
    backbone = load()
    backbone.enable_lora(**attached)
    fill(backbone, seed=5)
    before = state(backbone, inputs)
    with pytest.raises(LoraStateError):
        backbone.load_lora_weights(saved)
    assert state(backbone, inputs) == before


def test_base_weights_that_an_attached_adapter_trained_are_not_left_to_another(saved, load, inputs, state):
    backbone = load()
    backbone.enable_lora(2, alpha=4)
    backbone.get_layer("pooled_dense").trainable = True
    before = state(backbone, inputs)
    with pytest.raises(LoraStateError) as caught:
        backbone.load_lora_weights(saved)
    assert "pooled_dense/kernel" in caught.value.problem
    assert state(backbone, inputs) == before


# === Invalid files ===


@pytest.mark.keras(once=True)
def test_nothing_there_is_that(load, tmp_path):
    for name in ("missing.safetensors", "x" * 300, "~nobody_by_this_name/adapter"):
        with pytest.raises(AdapterNotFoundError):
            load().load_lora_weights(tmp_path / name)


@pytest.mark.keras(once=True)
@pytest.mark.parametrize(
    "change",
    [
        lambda data: data[:-1],
        lambda data: data + b"\0",
        lambda data: b"",
        lambda data: b"\x80\x04pickle" + data,
        lambda data: b"<!doctype html>" + data,
        lambda data: b"version https://git-lfs.github.com/spec/v1\n",
        lambda data: struct.pack("<Q", 2**63) + data[8:],
    ],
    ids=["cut short", "too long", "empty", "pickle", "web page", "git-lfs", "long header"],
)
def test_a_file_that_is_unsound_is_refused(saved, load, inputs, state, change):
    saved.write_bytes(change(saved.read_bytes()))
    backbone = load()
    before = state(backbone, inputs)
    with pytest.raises(WeightsFileError):
        backbone.load_lora_weights(saved)
    assert state(backbone, inputs) == before


def metadata_of(path):
    with safe_open(path, "np") as file:
        return file.metadata()


def rewrite(path, settings=lambda data: data, tensors=lambda arrays: arrays):
    """Rewrites a file in the short form with other settings, a text or None, and other tensors."""
    metadata = metadata_of(path)
    changed = settings(json.loads(metadata.pop("vertebra.adapter")))
    if changed is not None:
        metadata["vertebra.adapter"] = changed if isinstance(changed, str) else json.dumps(changed)
    save_file(tensors(load_file(path)), path, metadata)


def with_config(**changes):
    return lambda data: data | {"config": data["config"] | changes}


def with_layer(**changes):
    return lambda data: data | {"layers": data["layers"] | {QUERY: data["layers"][QUERY] | changes}}


QUERY, VALUE = (f"transformer_layer_0/self_attention/{name}" for name in ("query", "value"))
OUTPUT = "transformer_layer_0/feedforward_output_dense"


UNSOUND = {
    "none": lambda data: None,
    "no JSON": lambda data: "{",
    "a list": lambda data: [],
    "no layers": lambda data: {"config": data["config"]},
    "empty layers": lambda data: data | {"layers": {}},
    "layers as a list": lambda data: data | {"layers": list(data["layers"])},
    "an unknown entry": lambda data: data | {"hooks": "os:system"},
    "an unknown field": with_config(module="os"),
    "a missing field": lambda data: data | {"config": {"rank": 2}},
    "a field twice": lambda data: json.dumps(data).replace('"rank": 2', '"rank": 2, "rank": 2'),
    "rank as a text": with_config(rank="2"),
    "alpha not a number": lambda data: json.dumps(data).replace('"alpha": 4', '"alpha": NaN'),
    "alpha beyond floats": with_config(alpha=10**400),
    "dropout 7": with_config(dropout=7),
    "strategy as a list": with_config(strategy=["lora"]),
    "an option unknown to the strategy": with_config(options={"ratio": 2.0}),
    "a pattern of no rank": with_config(rank_pattern={"query": "8"}),
    "a layer as a number": lambda data: data | {"layers": data["layers"] | {QUERY: 2}},
    "a layer's unknown field": with_layer(kernel="x"),
    "a layer's rank 0": with_layer(rank=0),
    "a layer's alpha infinite": with_layer(alpha=1e999),
    "a layer without heads": with_layer(heads=0),
    "a layer that shares with itself": with_layer(shares=QUERY),
    "a layer that shares with none": with_layer(shares="no_such_layer"),
    "a layer that shares with a list": with_layer(shares=[QUERY]),
}


@pytest.mark.keras(once=True)
@pytest.mark.parametrize("settings", UNSOUND.values(), ids=UNSOUND)
def test_settings_that_are_unsound_are_refused(saved, load, inputs, state, settings):
    """LO-03, for the short form, and other errors in its metadata."""
    rewrite(saved, settings)
    backbone = load()
    before = state(backbone, inputs)
    with pytest.raises(LoraConfigError):
        backbone.load_lora_weights(saved)
    assert state(backbone, inputs) == before


@pytest.mark.keras(once=True)
def test_a_strategy_that_is_not_installed_is_named(saved, load, inputs, state):
    rewrite(saved, with_config(strategy="of_the_future"))
    backbone = load()
    before = state(backbone, inputs)
    with pytest.raises(UnknownNameError) as caught:
        backbone.load_lora_weights(saved)
    assert caught.value.name == "of_the_future"
    assert state(backbone, inputs) == before


def without(name):
    return lambda arrays: {other: array for other, array in arrays.items() if other != name}


def with_(name, array):
    return lambda arrays: arrays | {name: array(arrays.get(name))}


WRONG = {
    "a missing variable": (None, without(f"{QUERY}/lora/b")),
    "a missing layer": (None, lambda arrays: {n: a for n, a in arrays.items() if QUERY not in n}),
    "an extra variable": (None, with_(f"{QUERY}/lora/c", lambda _: np.zeros(2, "float32"))),
    "an extra layer": (None, with_("pooled_dense/lora/a", lambda _: np.zeros((16, 2), "float32"))),
    "a shared variable": (None, with_("shared/lora/a", lambda _: np.zeros((16, 2), "float32"))),
    "an unknown weight": (None, with_("classifier/kernel", lambda _: np.zeros((16, 2), "float32"))),
    "a weight of another shape": (None, with_("pooled_dense/bias", lambda _: np.zeros(15, "float32"))),
    "a weight of ints": (None, with_("pooled_dense/bias", lambda _: np.zeros(16, "int32"))),
    "ints": (None, with_(f"{QUERY}/lora/a", lambda array: array.astype("int32"))),
    "transposed": (None, with_(f"{QUERY}/lora/a", lambda array: array.T.copy())),
    "another axis": (None, with_(f"{QUERY}/lora/a", lambda array: array[None])),
    "infinite": (None, with_(f"{QUERY}/lora/a", lambda array: array / 0 + np.float32("inf"))),
    "another rank": (with_layer(rank=3), None),
    "a layer planned and not there": (lambda d: d | {"layers": d["layers"] | {"no/such": d["layers"][QUERY]}}, None),
    "a layer planned that takes none": (
        lambda d: d | {"layers": d["layers"] | {"embeddings_layer_norm": d["layers"][QUERY]}},
        None,
    ),
    "nothing": (None, lambda arrays: {}),
}


@pytest.mark.parametrize(("settings", "tensors"), WRONG.values(), ids=WRONG)
@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning", "ignore:divide by zero:RuntimeWarning")
def test_tensors_that_are_not_those_of_the_settings_are_refused(saved, load, inputs, state, settings, tensors):
    """LO-04, for the short form."""
    rewrite(saved, settings or (lambda data: data), tensors or (lambda arrays: arrays))
    backbone = load()
    before = state(backbone, inputs)
    with pytest.raises(AdapterMismatchError):
        backbone.load_lora_weights(saved)
    assert state(backbone, inputs) == before


def test_a_rank_that_the_tensors_do_not_have_is_refused(saved, load, inputs, state):
    rewrite(saved, with_layer(rank=17))
    backbone = load()
    before = state(backbone, inputs)
    with pytest.raises(AdapterMismatchError):
        backbone.load_lora_weights(saved)
    assert state(backbone, inputs) == before


def test_base_weights_that_are_not_finite_are_refused(saved, load, inputs, state):
    rewrite(saved, tensors=with_("pooled_dense/bias", lambda _: np.full(16, np.nan, "float32")))
    backbone = load()
    before = state(backbone, inputs)
    with pytest.raises(AdapterMismatchError):
        backbone.load_lora_weights(saved)
    assert state(backbone, inputs) == before


@pytest.mark.parametrize(
    ("layer", "lender"),
    [
        pytest.param(QUERY, VALUE, id="that comes later"),
        pytest.param(OUTPUT, QUERY, id="different input sizes"),
        pytest.param(VALUE, QUERY, id="of another rank"),
    ],
)
def test_a_layer_cannot_share_with_one(load, tmp_path, inputs, state, layer, lender):
    backbone = load()
    backbone.enable_lora(2, [QUERY, VALUE, OUTPUT], rank_pattern={VALUE: 3})
    backbone.save_lora_weights(tmp_path / "adapter.safetensors")

    def share(data):
        return data | {"layers": data["layers"] | {layer: data["layers"][layer] | {"shares": lender}}}

    rewrite(tmp_path / "adapter.safetensors", share, without(f"{layer}/lora/a"))
    fresh = load()
    before = state(fresh, inputs)
    with pytest.raises(AdapterMismatchError):
        fresh.load_lora_weights(tmp_path / "adapter.safetensors")
    assert state(fresh, inputs) == before


# === A folder that is replaced while it is read ===


@pytest.fixture
def two_folders(load, fill, tmp_path):
    """Folders in PEFT's layout: adapters of scales 2 and 4, whose matrices are all 1 and all 2."""
    for name, alpha, value in (("old", 4, 1), ("new", 8, 2)):
        backbone = load()
        backbone.enable_lora(2, alpha=alpha)
        for variable in backbone.trainable_variables:
            variable.assign(np.full(variable.shape, value))
        backbone.save_lora_weights(tmp_path / name)
    return tmp_path / "old", tmp_path / "new"


@pytest.mark.parametrize("times", [1, 1000])
def test_config_and_tensors_are_of_one_version(load, two_folders, tmp_path, monkeypatch, times):
    old, new = two_folders
    real, reads = peft.read_config, itertools.count(1)

    def read_config(*arguments):
        settings = real(*arguments)
        if next(reads) <= times:
            old.rename(tmp_path / "aside")
            new.rename(old)
            (tmp_path / "aside").rename(new)
        return settings

    monkeypatch.setattr(peft, "read_config", read_config)
    monkeypatch.setattr("vertebra._resolve.consistent_read._LONGEST_PAUSE", 0)
    backbone = load()
    if times > 1:
        with pytest.raises(PresetChangedError):
            backbone.load_lora_weights(old)
    else:
        assert backbone.load_lora_weights(old).scale == 4
        assert {float(value.numpy().mean()) for value in backbone.trainable_variables} == {2}
