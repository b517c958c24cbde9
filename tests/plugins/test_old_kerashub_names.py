"""Presets that KerasHub wrote with Keras 2.13 or before keep their layers under another name."""

import pytest

from vertebra._catalog import BACKBONES, catalog
from vertebra._presets.foreign import load_translation

TINY = {"vocabulary_size": 9, "num_layers": 2, "num_heads": 1, "hidden_dim": 2, "intermediate_dim": 4, "head_dim": 2}
TINY |= {"num_query_heads": 1, "num_key_value_heads": 1, "max_sequence_length": 3, "num_segments": 2}


@pytest.mark.parametrize("backbone", [entry.name for entry in catalog(BACKBONES)])
def test_the_old_name_of_a_dataset_is_understood(backbone):
    translation = load_translation(catalog(BACKBONES).lookup(backbone).value, "kerashub")
    for rule in translation.rules(TINY).values():
        old = rule.tensor.replace("layers/", "_layer_checkpoint_dependencies/", 1)
        assert translation.current_name(old) == rule.tensor
