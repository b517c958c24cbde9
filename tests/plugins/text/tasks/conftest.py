"""A tiny preset with a vocabulary, for tasks."""

import pytest

LETTERS = [*"abcdefghijklmnopqrstuvwxyz", *(f"##{letter}" for letter in "abcdefghijklmnopqrstuvwxyz")]
VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "good", "bad", "fox", "dog", "the", ".", *LETTERS]
GOOD = ["the good fox.", "good", "a good dog", "fox good dog good", "good good", "the dog is good"]
BAD = ["the bad fox.", "bad", "a bad dog", "fox bad dog bad", "bad bad", "the dog is bad"]


@pytest.fixture
def preset(tmp_path):
    """The folder of a preset of a tiny BERT, with a vocabulary."""
    import keras

    import vertebra

    keras.utils.set_random_seed(1)
    sizes = {"num_layers": 2, "num_heads": 2, "hidden_dim": 16, "intermediate_dim": 24, "max_sequence_length": 32}
    backbone = vertebra.models.BertBackbone(vocabulary_size=len(VOCABULARY), **sizes)
    backbone.save_to_preset(tmp_path / "preset", certificate=False)
    (tmp_path / "preset" / "vocab.txt").write_text("\n".join(VOCABULARY))
    return tmp_path / "preset"
