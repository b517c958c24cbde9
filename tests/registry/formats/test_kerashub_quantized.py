"""KerasHub's quantised presets: int8 and int4 load as they are, with KerasHub's own outputs."""

import json
import shutil
from pathlib import Path

import keras
import numpy as np
import pytest

import vertebra
from vertebra._formats.kerashub_quantized import modes_of
from vertebra._formats.registry import read_description
from vertebra._presets.plan import plan_preset
from vertebra._resolve.open import open_folder
from vertebra.errors import FormatLimitError, PresetConfigError

pytestmark = pytest.mark.keras

GOLDEN = Path(__file__).parents[2] / "golden"


@pytest.mark.parametrize(
    ("architecture", "mode"),
    [("bert", "int8"), ("bert", "int4"), ("gpt2", "int8"), ("gpt2", "int4"), ("gemma", "int8")],
)
def test_outputs_are_kerashubs(architecture, mode, tmp_path):
    folder = GOLDEN / architecture / f"kerashub_{mode}"
    io = dict(np.load(GOLDEN / architecture / "io.npz"))
    backbone = vertebra.Backbone.from_preset(folder)
    outputs = backbone({tensor.name: io[tensor.name] for tensor in backbone.inputs}, training=False)
    outputs = outputs["sequence_output"] if isinstance(outputs, dict) else outputs
    mask = io["padding_mask"].astype(bool)
    expected = np.load(GOLDEN / architecture / f"kerashub_{mode}.npy")
    np.testing.assert_allclose(keras.ops.convert_to_numpy(outputs)[mask], expected[mask], atol=1e-5)
    assert backbone.token_embedding.quantization_mode == mode
    backbone.save_to_preset(tmp_path / "native")
    vertebra.Backbone.from_preset(tmp_path / "native", verify=True)


@pytest.mark.keras(once=True)
def test_int4_of_reordered_kernels_is_refused_by_name():
    with pytest.raises(PresetConfigError, match="attention/query/kernel is quantised as int4"):
        vertebra.Backbone.from_preset(GOLDEN / "gemma" / "kerashub_int4")


@pytest.mark.keras(once=True)
def test_another_mode_is_refused_by_name(tmp_path):
    shutil.copytree(GOLDEN / "bert" / "kerashub_int8", tmp_path / "preset")
    config = (tmp_path / "preset" / "config.json").read_text().replace('"mode": "int8"', '"mode": "gptq/4/128"')
    (tmp_path / "preset" / "config.json").write_text(config)
    with pytest.raises(PresetConfigError, match="gptq/4/128 are not supported"):
        vertebra.Backbone.from_preset(tmp_path / "preset")


@pytest.mark.keras(once=True)
def test_they_are_not_written(tmp_path):
    backbone = vertebra.Backbone.from_preset(GOLDEN / "bert" / "kerashub_int8")
    with pytest.raises(FormatLimitError, match="int8"):
        backbone.save_to_preset(tmp_path / "preset", format="kerashub")
    assert not list(tmp_path.iterdir())


def test_the_config_alone_does_not_ask_for_the_weights(monkeypatch):
    folder = open_folder(GOLDEN / "bert" / "kerashub_int8")
    fetched, fetch = [], folder.fetch
    monkeypatch.setattr(folder, "fetch", lambda name: fetched.append(name) or fetch(name))
    assert read_description(folder).backbone == "BertBackbone"
    assert fetched == ["config.json"]
    bare = vertebra.Backbone.from_preset(GOLDEN / "bert" / "kerashub_int8", load_weights=False)
    assert bare.token_embedding.embeddings.numpy().any()


@pytest.mark.keras(once=True)
def test_a_plan_counts_what_is_stored():
    plan = plan_preset(str(GOLDEN / "bert" / "kerashub_int8"))
    loaded = vertebra.Backbone.from_preset(GOLDEN / "bert" / "kerashub_int8")
    assert plan.weights == sum(variable.numpy().nbytes for variable in loaded.weights)


@pytest.mark.keras(once=True)
@pytest.mark.parametrize(
    ("dtype", "modes"),
    [
        (None, set()),
        ("float32", set()),
        ("int8_from_float32", {"int8"}),
        ({"config": {"name": "float32"}}, set()),
        (
            {"config": {"policy_map": {"a": {"config": {"mode": "int8"}}, "b": {"config": {"mode": "x"}}}}},
            {"int8", "x"},
        ),
    ],
)
def test_modes_are_found_in_any_serialised_policy(dtype, modes):
    assert modes_of(json.loads(json.dumps(dtype))) == modes
