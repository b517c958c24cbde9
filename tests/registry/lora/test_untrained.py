"""An untrained adapter of the default name makes way for a file; a trained or named one is never silently lost."""

import numpy as np
import pytest

import vertebra
from vertebra._lora.state import adapters_of
from vertebra._lora.untrained import is_untrained
from vertebra.errors import LoraStateError

pytestmark = pytest.mark.keras


@pytest.fixture
def files(golden):
    """A file of each format."""
    names = {"peft": "peft_lora", "kerashub": "kerashub_lora.lora.h5"}
    return {form: golden / name for form, name in names.items()}


@pytest.mark.parametrize("form", ["peft", "kerashub"])
@pytest.mark.parametrize(
    "settings",
    [{"rank": 4}, {"rank": 2}, {"rank": 8, "target_names": ["mlp"]}, {"rank": 4, "bias": "all", "strategy": "dora"}],
    ids=str,
)
def test_what_every_user_of_kerashub_writes(plain, golden, files, run, form, settings):
    fresh = vertebra.Backbone.from_preset(golden / "transformers")
    fresh.load_lora_weights(files[form])
    expected, before = run(fresh)["sequence_output"], adapters_of(plain)
    plain.enable_lora(**settings)
    trainable = len(fresh.trainable_weights)
    receipt = plain.load_lora_weights(files[form])
    assert np.array_equal(run(plain)["sequence_output"], expected)
    assert "replaces the untrained adapter 'default'" in str(receipt)
    assert len(plain.trainable_weights) == trainable
    plain.unload_lora()
    assert adapters_of(plain) is before is None


def test_a_trained_adapter_is_kept(plain, files, state, fill):
    plain.enable_lora(2)
    fill(plain)
    before = state(plain)
    with pytest.raises(LoraStateError, match="settings and layers must be the same"):
        plain.load_lora_weights(files["peft"])
    assert state(plain) == before


def test_a_smallest_step_of_training_counts(plain):
    plain.enable_lora(2)
    adapters = adapters_of(plain)
    assert is_untrained(adapters, "default")
    variable = plain.trainable_weights[-1]
    values = variable.numpy().copy()
    values.flat[-1] += 1e-6
    variable.assign(values)
    assert not is_untrained(adapters, "default")


def test_an_adapter_with_a_name_is_kept(plain, files, state):
    plain.enable_lora(2, name="legal")
    before = state(plain)
    with pytest.raises(LoraStateError):
        plain.load_lora_weights(files["peft"], "legal")
    assert state(plain) == before
    assert "replaces" not in str(plain.load_lora_weights(files["peft"]))
    assert set(plain.lora_adapters) == {"legal", "default"}


def test_a_loaded_adapter_is_kept(plain, files):
    plain.load_lora_weights(files["kerashub"])
    with pytest.raises(LoraStateError):
        plain.load_lora_weights(files["peft"])


def test_values_that_are_replaced_are_told(plain, files):
    assert plain.load_lora_weights(files["peft"]).notes == ()
    assert "replaces the values of the adapter 'default'" in str(plain.load_lora_weights(files["peft"]))


def test_co_trained_weights_count_as_training(plain, files):
    plain.enable_lora(2, train=["pooled_dense"])
    layer = plain.get_layer("pooled_dense")
    layer.bias.assign(layer.bias.numpy() + 1)
    with pytest.raises(LoraStateError):
        plain.load_lora_weights(files["peft"])
