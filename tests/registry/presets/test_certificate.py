"""Parity certificates hold if nothing changed, fail if something did, and are safe to replay if hostile."""

import json
import logging

import keras
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import vertebra
from vertebra._discovery import runtimes
from vertebra._presets import certificate
from vertebra._presets.certificate import CERTIFICATE, Verdict
from vertebra._presets.convert import convert_preset
from vertebra._weights.safetensors.format import open_header
from vertebra.errors import CertificateError, WeightsFileError

pytestmark = pytest.mark.keras


@pytest.fixture
def preset(backbone, tmp_path):
    """A preset with a certificate."""
    backbone.save_to_preset(tmp_path / "preset")
    return tmp_path / "preset"


@pytest.fixture
def refuse(preset):
    """Verifies the preset, which must fail; returns the error."""

    def verify(error=CertificateError, **overrides):
        with pytest.raises(error) as caught:
            vertebra.Backbone.from_preset(preset, verify=True, **overrides)
        return caught.value

    return verify


@pytest.fixture
def rewrite(preset):
    """Changes the tensors of the preset's certificate."""

    def change(**tensors):
        held = load_file(preset / CERTIFICATE)
        changed = {name.replace("__", "/"): array for name, array in tensors.items()}
        metadata = open_header(preset / CERTIFICATE).metadata
        save_file({n: a for n, a in (held | changed).items() if a is not None}, preset / CERTIFICATE, metadata)

    return change


# === Holding ===


def test_it_holds_what_went_in_and_what_came_out(backbone, preset, run):
    held = load_file(preset / CERTIFICATE)
    inputs = {name.removeprefix("inputs/"): array for name, array in held.items() if name.startswith("inputs/")}
    assert inputs.keys() == backbone.input.keys()
    outputs = run(backbone, inputs)
    assert all(np.array_equal(held[f"outputs/{name}"], array) for name, array in outputs.items())
    assert len(held) == 5
    assert (preset / CERTIFICATE).stat().st_size < 5_000


@pytest.mark.parametrize("format", ["native", "transformers", "kerashub"])
def test_it_holds_in_each_format(golden, tmp_path, format):
    backbone = vertebra.Backbone.from_preset(golden / "kerashub")  # an activation that KerasHub has
    backbone.save_to_preset(tmp_path / "preset", format=format)
    assert vertebra.Backbone.from_preset(tmp_path / "preset", verify=True).num_layers == 2


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16", "mixed_bfloat16"])
def test_it_holds_in_another_dtype_within_the_rounding_of_that(preset, tmp_path, dtype):
    half = vertebra.Backbone.from_preset(preset, verify=True, dtype=dtype)
    half.save_to_preset(tmp_path / "half")
    assert vertebra.Backbone.from_preset(tmp_path / "half", verify=True).compute_dtype == "float32"


def test_it_holds_on_another_runtime(preset, child, other_runtime):
    code = "import sys, vertebra; print(vertebra.Backbone.from_preset(sys.argv[1], verify=True).count_params())"
    assert child(code, preset, on=other_runtime).strip() == "6656"


def test_it_is_of_the_adapted_backbone(backbone, tmp_path, train):
    backbone.enable_lora(2)
    train(backbone)
    backbone.save_to_preset(tmp_path / "adapted")
    assert vertebra.Backbone.from_preset(tmp_path / "adapted", verify=True).trainable_weights


def test_it_is_left_out_where_it_is_not_wanted_and_an_older_one_goes(backbone, preset, refuse):
    backbone.save_to_preset(preset, certificate=False)
    assert not (preset / CERTIFICATE).exists()
    assert "no certificate" in refuse().problem


# === Failing ===


def test_a_changed_weight_is_found_and_the_outputs_named(preset, refuse):
    weights = load_file(preset / "model.safetensors")
    weights["pooled_dense/bias"] = weights["pooled_dense/bias"] + 0.5
    save_file(weights, preset / "model.safetensors")
    problem = refuse().problem
    assert "pooled_output" in problem
    assert "sequence_output" not in problem  # nothing is changed


def test_another_activation_is_found(refuse):
    assert "sequence_output" in refuse(activation="relu").problem


def test_without_weights_there_is_nothing_to_verify(refuse):
    assert "weights" in refuse(load_weights=False).problem


@pytest.mark.keras(once=True)
@pytest.mark.parametrize(
    ("difference", "limit", "holds"),
    [(0.0, 1.0, True), (1.0, 1.0, True), (1.1, 1.0, False), (np.nan, 1.0, False), (np.inf, np.inf, False)],
)
def test_a_verdict_needs_numbers(difference, limit, holds):
    verdict = Verdict({"x": difference}, {"x": limit}, {})
    assert verdict.holds is holds
    assert verdict.failures == ([] if holds else ["x"])


# === Hostile and damaged certificates ===

IDS = "inputs__token_ids"


@pytest.mark.keras(once=True)
@pytest.mark.parametrize(
    "change",
    [
        {"inputs__token_ids": None},
        {"inputs__surprise": np.zeros((2, 8), "int32")},
        {"outputs__pooled_output": None},
        {"outputs__surprise": np.zeros((2, 8), "float32")},
        {"surprise": np.zeros(1, "float32")},
        {IDS: np.zeros((2, 8), "float32")},
        {IDS: np.zeros((2, 8), "int64")},
        {IDS: np.zeros((16,), "int32")},
        {IDS: np.zeros((2, 8, 1), "int32")},
        {IDS: np.zeros((3, 8), "int32")},
        {IDS: np.zeros((2, 7), "int32")},
        {IDS: np.zeros((0, 8), "int32")},
        {IDS: np.zeros((2, 17), "int32")},
        {IDS: np.zeros((1024, 1025), "int32")},
        {"outputs__pooled_output": np.zeros((2, 15), "float32")},
        {"outputs__pooled_output": np.zeros((2, 16), "float64")},
        {"outputs__pooled_output": np.zeros((2, 16), "int32")},
        {"outputs__pooled_output": np.full((2, 16), np.nan, "float32")},
        {"outputs__pooled_output": np.full((2, 16), np.inf, "float32")},
    ],
    ids=lambda change: " ".join(f"{n} {a if a is None else (a.dtype.name, a.shape)}" for n, a in change.items()),
)
def test_one_of_another_architecture_is_refused(rewrite, refuse, change):
    rewrite(**change)
    refuse()


@pytest.mark.keras(once=True)
def test_token_ids_that_no_vocabulary_has_are_refused(rewrite, refuse):
    rewrite(inputs__token_ids=np.full((2, 8), 10**6, "int32"))
    refuse()


@pytest.mark.keras(once=True)
@pytest.mark.parametrize("shape", [(1, 8_000), (1, 1_025), (3, 1_000), (2_049, 1)])
def test_one_that_would_take_all_memory_is_refused_before_anything_is_computed(rewrite, refuse, shape):
    """V5: attention needs memory with the square of the length: 188 kB of token ids took 5 GB."""
    rewrite(**{IDS: np.full(shape, 10**6, "int32")})  # no vocabulary has this id: computing would say so
    assert "at most 2,048 numbers and an axis of 1,024" in refuse().problem


@pytest.mark.keras(once=True)
@pytest.mark.parametrize("shape", [(3, 16), (2, 15), (2, 16, 1), ()])
def test_one_whose_outputs_do_not_fit_is_refused_before_anything_is_computed(rewrite, refuse, shape):
    """V5: the shapes of stored outputs are compared with the inputs and the backbone first."""
    rewrite(outputs__pooled_output=np.zeros(shape, "float32"), **{IDS: np.full((2, 8), 10**6, "int32")})
    assert "other outputs" in refuse().problem


@pytest.mark.keras(once=True)
@pytest.mark.parametrize("damage", [lambda data: b"", lambda data: data[:-1], lambda data: b"<html>" + data])
def test_a_damaged_one_is_refused(preset, refuse, damage):
    (preset / CERTIFICATE).write_bytes(damage((preset / CERTIFICATE).read_bytes()))
    refuse(WeightsFileError)


@pytest.mark.keras(once=True)
def test_it_does_not_matter_to_who_does_not_ask(preset):
    (preset / CERTIFICATE).write_bytes(b"")
    assert vertebra.Backbone.from_preset(preset).num_layers == 2


# === Backbones without a certificate ===


class Odd(vertebra.Backbone):
    """A backbone of one layer, whose outputs may be of any structure."""

    def __init__(self, width: int = 3, **kwargs):
        inputs = keras.Input((2,), name="x")
        super().__init__(inputs, self.outputs_of(keras.layers.Dense(width, name="dense")(inputs)), **kwargs)

    def outputs_of(self, tensor):
        return tensor


class Nested(Odd):
    def outputs_of(self, tensor):
        return {"a": {"b": tensor}, "c": tensor}


class Unwilling(Odd):
    def sample_inputs(self):
        raise RuntimeError("no sample inputs")


class Listed(Odd):
    def outputs_of(self, tensor):
        return [tensor, 2 * tensor]


@pytest.mark.parametrize(
    ("kind", "names"),
    [(Odd, {"outputs/0"}), (Listed, {"outputs/0", "outputs/1"}), (Nested, {"outputs/a/b", "outputs/c"})],
)
def test_outputs_are_named_by_their_place(tmp_path, kind, names):
    kind().save_to_preset(tmp_path / "preset")
    assert kind.from_preset(tmp_path / "preset", verify=True).count_params() == 9
    assert load_file(tmp_path / "preset" / CERTIFICATE).keys() == names | {"inputs/0"}


def test_a_backbone_whose_sample_cannot_be_computed_is_saved_without(tmp_path, caplog):
    with caplog.at_level(logging.WARNING, "vertebra"):
        Unwilling().save_to_preset(tmp_path / "preset")
    assert "no sample inputs" in caplog.text
    assert not (tmp_path / "preset" / CERTIFICATE).exists()
    assert Unwilling.from_preset(tmp_path / "preset").count_params() == 9


def test_outputs_that_are_no_numbers_are_no_certificate(tmp_path, caplog):
    broken = Odd()
    broken.get_layer("dense").kernel.assign(np.full((2, 3), np.nan))
    with caplog.at_level(logging.WARNING, "vertebra"):
        broken.save_to_preset(tmp_path / "preset")
    assert "not finite" in caplog.text
    assert not (tmp_path / "preset" / CERTIFICATE).exists()


@pytest.mark.keras(once=True)
def test_a_config_that_was_changed_is_found_though_the_outputs_are_the_same(preset, refuse):
    path = preset / "config.json"
    config = json.loads(path.read_text())
    config["config"]["initializer_range"] = 0.5
    path.write_text(json.dumps(config))
    assert "config.json is not the certified one" in str(refuse())


def test_converting_carries_a_certificate_that_holds_and_none_of_another_config(preset, tmp_path):
    assert convert_preset(preset, tmp_path / "carried", "transformers").certificate
    vertebra.Backbone.from_preset(tmp_path / "carried", verify=True)
    (preset / "config.json").write_text((preset / "config.json").read_text() + " ")
    assert not convert_preset(preset, tmp_path / "bare").certificate


def test_an_accelerator_may_round_more(backbone, monkeypatch):
    assert certificate._limit(backbone, "float32") == 5e-6
    monkeypatch.setattr(type(runtimes.bind()), "devices", lambda self: [vertebra.Device("cuda:0", "gpu")])
    assert certificate._limit(backbone, "float32") == 3e-3
    assert certificate._limit(backbone, "bfloat16") == 3e-2
