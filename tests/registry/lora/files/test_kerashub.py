"""KerasHub's `.lora.h5`: read as KerasHub does, and written so that KerasHub computes the same."""

import h5py
import numpy as np
import pytest

import vertebra
from vertebra.errors import AdapterMismatchError, LoraConfigError, VertebraError, WeightsFileError

pytestmark = pytest.mark.keras

ARCHITECTURES = ["bert", "gpt2", "gemma", "gemma2"]
NAME = "kerashub_lora.lora.h5"


def datasets(path):
    """Returns the arrays of an HDF5 file by name."""
    found = {}
    with h5py.File(path) as file:
        file.visititems(lambda name, item: found.update({name: item[()]}) if isinstance(item, h5py.Dataset) else None)
    return found


def write(path, arrays):
    with h5py.File(path, "w") as file:
        for name, array in arrays.items():
            file[name] = array
    return path


@pytest.fixture(params=ARCHITECTURES)
def kerashub(request, reference):
    return reference(request.param)


@pytest.fixture
def bert(reference):
    return reference("bert")


# === Files from KerasHub ===


def test_outputs_are_those_of_kerashub_and_the_file_is_written_again(kerashub, tmp_path):
    backbone = kerashub.load("kerashub")
    assert kerashub.gap(backbone, "kerashub_lora") > 0.01  # the adapter has an effect
    receipt = backbone.load_lora_weights(kerashub.folder / NAME)
    assert (receipt.config.strategy, receipt.config.rank, receipt.scale) == ("keras", 4, 1)
    assert kerashub.gap(backbone, "kerashub_lora") <= 1e-5
    backbone.save_lora_weights(tmp_path / "again.lora.h5")
    theirs, ours = datasets(kerashub.folder / NAME), datasets(tmp_path / "again.lora.h5")
    assert theirs.keys() == ours.keys()
    assert all(np.array_equal(theirs[name], ours[name]) and theirs[name].dtype == ours[name].dtype for name in theirs)


def test_it_is_kept_in_the_other_forms(kerashub, tmp_path):
    backbone = kerashub.load("kerashub")
    backbone.load_lora_weights(kerashub.folder / NAME)
    for name, limit in {"short.safetensors": 0, "folder": 1e-5}.items():
        backbone.save_lora_weights(tmp_path / name)
        again = kerashub.load("kerashub")
        again.load_lora_weights(tmp_path / name)
        assert np.abs(kerashub.outputs(again) - kerashub.outputs(backbone)).max() <= limit


def test_it_trains_on(bert, train, run):
    backbone = bert.load("kerashub", dropout=0.0)
    receipt = backbone.load_lora_weights(bert.folder / NAME)
    assert receipt.parameters_trained == receipt.parameters_added == 4 * (16 * 2 * 4 + 4 * 8)
    losses = train(backbone, steps=2)
    assert losses[-1] < losses[0]


# === Other strategies, written for KerasHub ===


PLAIN = {"rank": 2, "alpha": 3}


@pytest.mark.parametrize(
    ("architecture", "settings"),
    [
        ("bert", PLAIN),
        ("bert", {"rank": 8}),  # more than the width of a head
        ("bert", {"rank": 2, "strategy": "rslora", "alpha": 3}),
        ("bert", {"rank": 2, "strategy": "vera"}),
        ("bert", {"rank": 2, "strategy": "keras", "alpha": 3}),
        ("bert", {"rank": 2, "rank_pattern": {"value": 3}, "alpha": 5}),
        ("gpt2", PLAIN),
        ("gpt2", {"rank": 2, "strategy": "keras", "alpha": 3}),
        ("gemma", {"rank": 4}),  # as wide as the value's one head
        ("gemma", {"rank": 2, "rank_pattern": {"value": 3}, "alpha": 5}),
        ("gemma", {"rank": 2, "strategy": "vera"}),  # shared by kernels of different widths
        ("gemma2", {"rank": 2, "strategy": "rslora", "alpha": 3}),
        ("gemma2", {"rank": 2, "strategy": "keras", "alpha": 3}),
    ],
    ids=str,
)
def test_plain_lora_and_all_that_amounts_to_it_goes_out_and_in(reference, fill, tmp_path, architecture, settings):
    kerashub = reference(architecture)
    backbone, again = kerashub.load("kerashub"), kerashub.load("kerashub")
    before = kerashub.outputs(backbone)
    backbone.enable_lora(**settings)
    fill(backbone)
    backbone.save_lora_weights(tmp_path / "adapter.lora.h5")
    receipt = again.load_lora_weights(tmp_path / "adapter.lora.h5")
    assert receipt.config.strategy == "keras"
    expected = kerashub.outputs(backbone)
    assert np.abs(kerashub.outputs(again) - expected).max() <= 1e-5
    assert np.abs(expected - before).max() > 0.01


@pytest.mark.keras(once=True)
@pytest.mark.parametrize(
    ("settings", "rank"),
    [
        ({"rank": 2}, 4),  # query and value have two heads
        ({"rank": 8}, 8),  # as wide as a head
        ({"rank": 2, "target_names": ["attention.output", "mlp"]}, 2),
        ({"rank": 3, "strategy": "keras"}, 3),
    ],
    ids=str,
)
def test_the_rank_is_that_of_the_adapter_where_the_form_allows_it(bert, fill, tmp_path, caplog, settings, rank):
    backbone = bert.load("kerashub")
    backbone.enable_lora(**settings)
    for trained in (False, True):
        if trained:
            fill(backbone)
        backbone.save_lora_weights(tmp_path / "adapter.lora.h5")
        assert datasets(tmp_path / "adapter.lora.h5")[RANK] == rank
    told = [f"call enable_lora({rank}) in KerasHub" in message for message in caplog.messages]
    assert told == ([] if rank == settings["rank"] else [True, True])


def test_the_rank_of_kerashub_outlasts_a_conversion_to_peft_and_back(kerashub, tmp_path, caplog):
    backbone, again = kerashub.load("kerashub"), kerashub.load("kerashub")
    backbone.load_lora_weights(kerashub.folder / NAME)
    backbone.save_lora_weights(tmp_path / "peft")
    again.load_lora_weights(tmp_path / "peft")
    again.save_lora_weights(tmp_path / "again.lora.h5")
    assert datasets(tmp_path / "again.lora.h5")[RANK] == 4
    last = kerashub.load("kerashub")
    last.load_lora_weights(tmp_path / "again.lora.h5")
    assert np.abs(kerashub.outputs(last) - kerashub.outputs(backbone)).max() <= 1e-5


def test_layers_without_heads_have_a_number_too(bert, fill, tmp_path):
    backbone, again = bert.load("kerashub"), bert.load("kerashub")
    backbone.enable_lora(2, ["attention.output", "mlp"])
    fill(backbone)
    backbone.save_lora_weights(tmp_path / "adapter.lora.h5")
    assert set(again.load_lora_weights(tmp_path / "adapter.lora.h5").layers) == set(
        backbone.lora_adapters["default"].layers
    )
    assert np.abs(bert.outputs(again) - bert.outputs(backbone)).max() <= 1e-5


@pytest.mark.keras(once=True)
@pytest.mark.parametrize("settings", [{"train": ["pooled_dense"]}, {"bias": "lora"}], ids=str)
def test_base_weights_do_not_fit_in(bert, tmp_path, digest, settings):
    backbone = bert.load("kerashub")
    backbone.enable_lora(2, **settings)
    with pytest.raises(LoraConfigError) as caught:
        backbone.save_lora_weights(tmp_path / "adapter.lora.h5")
    assert "bias" in caught.value.value
    assert digest(tmp_path) == {}


def test_a_model_that_kerashub_does_not_have_has_no_such_file(toy_class, bert, ids, state, tmp_path, digest):
    toy = toy_class()
    before = state(toy, ids)
    with pytest.raises(AdapterMismatchError):
        toy.load_lora_weights(bert.folder / NAME)
    assert state(toy, ids) == before
    toy.enable_lora(2)
    with pytest.raises(LoraConfigError):
        toy.save_lora_weights(tmp_path / "adapter.lora.h5")
    assert digest(tmp_path) == {}


# === Errors ===

A, B, RANK = "lora/11/vars/lora_kernel_a", "lora/11/vars/lora_kernel_b", "lora/vars/rank"


def without(name):
    return lambda arrays: {other: array for other, array in arrays.items() if other != name}


def with_(name, array):
    return lambda arrays: arrays | {name: array}


WRONG = {
    "no rank": (without(RANK), AdapterMismatchError),
    "rank 0": (with_(RANK, np.int64(0)), LoraConfigError),
    "rank negative": (with_(RANK, np.int64(-(2**63))), LoraConfigError),
    "rank of no layer": (with_(RANK, np.int64(3)), AdapterMismatchError),
    "rank not a number": (with_(RANK, np.float32("nan")), VertebraError),
    "rank infinite": (with_(RANK, np.float32("inf")), VertebraError),
    "rank broken": (with_(RANK, np.float32(4.5)), VertebraError),
    "rank empty": (with_(RANK, np.zeros(0, "int64")), VertebraError),
    "several ranks": (with_(RANK, np.array([4, 5])), VertebraError),
    "a of two axes": (with_(A, np.zeros((32, 4), "float32")), VertebraError),
    "b missing": (without(B), AdapterMismatchError),
    "a of one head": (with_(A, np.zeros((16, 1, 4), "float32")), AdapterMismatchError),
    "b of another width": (with_(B, np.zeros((4, 16), "float32")), AdapterMismatchError),
    "b of ints": (with_(B, np.zeros((4, 8), "int32")), AdapterMismatchError),
    "b not finite": (with_(B, np.full((4, 8), np.nan, "float32")), AdapterMismatchError),
    "another layer's number": (
        with_("lora/12345/vars/lora_kernel_a", np.zeros((16, 2, 4), "float32")),
        AdapterMismatchError,
    ),
    "another dataset": (with_("layers/dense/vars/0", np.zeros(3, "float32")), AdapterMismatchError),
    "another variable": (with_("lora/11/vars/lora_kernel_c", np.zeros(3, "float32")), AdapterMismatchError),
    "nothing": (lambda arrays: {}, AdapterMismatchError),
    "a rank alone": (lambda arrays: {RANK: np.int64(4)}, AdapterMismatchError),
}


@pytest.mark.keras(once=True)
@pytest.mark.parametrize(("change", "error"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_is_refused_and_nothing_changes(bert, inputs, state, tmp_path, change, error):
    """LO-03 and LO-04, for KerasHub's file."""
    path = write(tmp_path / "adapter.lora.h5", change(datasets(bert.folder / NAME)))
    backbone = bert.load("kerashub")
    before = state(backbone, inputs)
    with pytest.raises(error):
        backbone.load_lora_weights(path)
    assert state(backbone, inputs) == before


@pytest.mark.keras(once=True)
def test_a_file_that_is_no_hdf5_is_refused(bert, tmp_path):
    (tmp_path / "adapter.lora.h5").write_bytes((bert.folder / NAME).read_bytes()[:-100])
    with pytest.raises(WeightsFileError):
        bert.load("kerashub").load_lora_weights(tmp_path / "adapter.lora.h5")


# === Without the plugin of further strategies ===


@pytest.mark.keras(once=True)
def test_the_core_reads_the_file_that_it_writes(arguments, reload_plugins, monkeypatch, run, fill, tmp_path):
    monkeypatch.setenv("VERTEBRA_BLOCK", "lora-variants")
    reload_plugins()
    backbone = vertebra.models.BertBackbone(**arguments)
    backbone.save_to_preset(tmp_path / "base")
    backbone.enable_lora(4)
    fill(backbone)
    backbone.save_lora_weights(tmp_path / "own.lora.h5")
    fresh = vertebra.Backbone.from_preset(tmp_path / "base")
    fresh.enable_lora(4)
    receipt = fresh.load_lora_weights(tmp_path / "own.lora.h5")
    assert receipt.config.strategy == "keras"
    assert np.allclose(run(fresh)["pooled_output"], run(backbone)["pooled_output"], atol=1e-5)
