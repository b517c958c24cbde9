"""A small GPT-2 with a tokenizer of bytes, for causal language models."""

import json

import pytest

TEXTS = ["the quick brown fox jumps over the lazy dog", "a good dog, a bad fox", "the capital of France is Paris"]
SIZES = {"num_layers": 2, "num_heads": 2, "hidden_dim": 16, "intermediate_dim": 24, "dropout": 0.0}
LONGEST = 32


def write_tokenizer(folder, **options):
    """Writes the files of a tokenizer of bytes, of 300 tokens, with `<|endoftext|>` to begin and to end a text."""
    from tokenizers.implementations import ByteLevelBPETokenizer

    folder.mkdir(exist_ok=True)
    trained = ByteLevelBPETokenizer()
    trained.train_from_iterator(TEXTS * 4, vocab_size=300, special_tokens=["<|endoftext|>"], show_progress=False)
    trained.save_model(str(folder))
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "GPT2Tokenizer", **options}))


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
        sizes = {"vocabulary_size": 300, "max_sequence_length": LONGEST, **SIZES, **arguments}
        backbone = vertebra.models.GPT2Backbone(**sizes)
        return perturbed(vertebra.models.CausalLM(backbone, preprocessor=preprocessor, own_head=own_head))

    return make
