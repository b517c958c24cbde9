"""Arguments of the smallest decoders."""

import pytest

from vertebra_llama.layer_types import PLAIN


@pytest.fixture
def plain():
    """All arguments of a plain Llama, as translations take and return them."""
    sizes = {"vocabulary_size": 61, "num_layers": 3, "num_query_heads": 4, "num_key_value_heads": 2, "hidden_dim": 16}
    rest = {"rope_max_wavelength": 10_000.0, "layer_norm_epsilon": 1e-6, "tie_word_embeddings": False}
    return dict(PLAIN) | sizes | {"intermediate_dim": 24, "max_sequence_length": 64} | rest
