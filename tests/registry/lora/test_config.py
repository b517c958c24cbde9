"""No trained values are lost, whichever way a backbone with an adapter is saved."""

import numpy as np
import pytest

import vertebra

pytestmark = pytest.mark.keras


@pytest.fixture
def trained(backbone, train):
    """A backbone whose adapter, pooler and one adapted kernel were trained."""
    backbone.enable_lora(2, seed=1)
    backbone.get_layer("pooled_dense").trainable = True
    backbone.transformer_layers[0].attention.query.trainable = True
    train(backbone, steps=2)
    return backbone


def through_keras_file(backbone, folder):
    backbone.save(folder / "model.keras")
    return vertebra.load_model(folder / "model.keras")


def through_preset(backbone, folder):
    backbone.save_to_preset(folder / "preset")
    return vertebra.Backbone.from_preset(folder / "preset")


@pytest.mark.parametrize("keep", [through_keras_file, through_preset])
def test_what_trained_beside_the_adapter_goes_on_training_and_is_saved(trained, keep, run, golden, tmp_path):
    again = keep(trained, tmp_path)
    names = {variable.path for variable in trained.trainable_variables}
    assert len(again.trainable_variables) == len(trained.trainable_variables) == len(names)
    again.save_lora_weights(tmp_path / "adapter.safetensors")
    fresh = vertebra.Backbone.from_preset(golden / "transformers")
    fresh.load_lora_weights(tmp_path / "adapter.safetensors")  # the base that it was attached to
    for name, array in run(trained).items():
        assert np.array_equal(run(fresh)[name], array)


def test_an_adapter_that_is_not_finite_is_refused(backbone, golden, tmp_path, values):
    backbone.enable_lora(2)
    backbone.trainable_variables[0].assign(np.full(backbone.trainable_variables[0].shape, np.nan, "float32"))
    backbone.save_lora_weights(tmp_path / "adapter.safetensors")
    fresh = vertebra.Backbone.from_preset(golden / "transformers")
    before = values(fresh)
    with pytest.raises(vertebra.errors.AdapterMismatchError):
        fresh.load_lora_weights(tmp_path / "adapter.safetensors")
    assert values(fresh).keys() == before.keys()


def test_default_targets_have_kerashubs_name(backbone):
    assert backbone.default_lora_layer_names() == ["query", "value"]
