"""The control layer: its variables tell compiled functions which adapters are active, and are in no file."""

import keras
import pytest

import vertebra

pytestmark = pytest.mark.keras


def control_of(model):
    return [variable for variable in model.variables if variable.name in ("structure", "strengths")]


def test_each_way_of_adapting_has_a_structure_of_its_own(several):
    backbone, _ = several
    seen = {}
    for names in (["a"], ["b"], ["c"], ["a", "b"], ["a", "c"]):
        backbone.activate_lora(*names)
        seen[tuple(names)] = control_of(backbone)[0].shape
    assert seen["a",] == seen["b",]  # the same settings
    assert len(set(seen.values())) == 4
    backbone.disable_lora()
    assert control_of(backbone) == []


def test_the_control_is_state_and_no_weight(several, tmp_path):
    backbone, _ = several
    backbone.activate_lora({"a": 0.5})
    assert [variable.name for variable in control_of(backbone)] == ["structure", "strengths"]
    assert not any(variable.name in ("structure", "strengths") for variable in backbone.weights)
    backbone.activate_lora("a")
    backbone.save_weights(tmp_path / "a.weights.h5")
    backbone.load_weights(tmp_path / "a.weights.h5")
    backbone.save(tmp_path / "a.keras")
    assert vertebra.load_model(tmp_path / "a.keras").lora_adapters.keys() == {"a"}


@pytest.mark.filterwarnings("ignore")
def test_an_adapted_model_can_be_exported(tmp_path, runtime):
    """torch cannot export a tensor that views an empty array, as `structure` would."""
    if runtime != "torch":
        pytest.skip("jax exports by way of TensorFlow")
    if keras.version().startswith("3.14."):
        pytest.skip("Keras exports to torch from 3.15 on")
    import torch

    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, name="up")])
    vertebra.lora.enable(model, 2, ["up"])
    model.export(tmp_path / "model.pt2", format="torch", verbose=False)
    exported, inputs = torch.export.load(tmp_path / "model.pt2").module(), torch.ones((1, 4))
    assert torch.allclose(exported(inputs), model(inputs))
