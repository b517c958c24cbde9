"""A small GPT-2 with a tokenizer of bytes, for causal language models."""

import pytest

from byte_tokenizer import SIZE, write_tokenizer

SIZES = {"num_layers": 2, "num_heads": 2, "hidden_dim": 16, "intermediate_dim": 24, "dropout": 0.0}
LONGEST = 32


@pytest.fixture(scope="session")
def tokenizer(tmp_path_factory):
    """A tokenizer that adds no special tokens, as GPT-2's."""
    from vertebra_text import Tokenizer

    folder = tmp_path_factory.mktemp("tokenizer")
    write_tokenizer(folder)
    return Tokenizer.from_preset(folder)


@pytest.fixture
def make(tokenizer, perturbed):
    """Returns a causal language model whose weights are drawn at random, the same for each call."""

    def make(preprocessor=tokenizer, own_head=False, **arguments):
        import keras

        import vertebra

        keras.utils.set_random_seed(1)
        sizes = {"vocabulary_size": SIZE, "max_sequence_length": LONGEST, **SIZES, **arguments}
        backbone = vertebra.models.GPT2Backbone(**sizes)
        return perturbed(vertebra.models.CausalLM(backbone, preprocessor=preprocessor, own_head=own_head))

    return make
