"""Presets of each task, tiny, in Vertebra's own format and in that of transformers or Sentence Transformers."""

import pytest

LETTERS = [*"abcdefghijklmnopqrstuvwxyz", *(f"##{letter}" for letter in "abcdefghijklmnopqrstuvwxyz")]
VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "fox", "dog", ".", ",", *LETTERS]
OPTIONS = {
    "TextEmbedder": {"dense": [{"units": 8, "activation": "tanh", "use_bias": True}], "prompts": {"query": "query: "}},
    "TextClassifier": {"labels": ["bad", "good", "`<b>|"]},
    "Reranker": {},
    "TokenClassifier": {"labels": ["O", "B-PER", "I-PER"]},
    "MaskedLM": {},
}
FOREIGN = {"TextEmbedder": "sentence-transformers"}
"""Names of formats for tasks that transformers' checkpoints do not have."""


@pytest.fixture
def preset(tmp_path):
    """The folder of a preset of a tiny BERT, with a vocabulary and without a head."""
    import keras

    import vertebra

    keras.utils.set_random_seed(1)
    sizes = {"num_layers": 1, "num_heads": 2, "hidden_dim": 16, "intermediate_dim": 24, "max_sequence_length": 64}
    backbone = vertebra.models.BertBackbone(vocabulary_size=len(VOCABULARY), **sizes)
    backbone.save_to_preset(tmp_path / "backbone", certificate=False)
    (tmp_path / "backbone" / "vocab.txt").write_text("\n".join(VOCABULARY))
    return tmp_path / "backbone"


@pytest.fixture
def saved(preset, tmp_path):
    """Saves a new task in a format; returns the task and its folder."""
    import vertebra

    def save(name, format="native", **options):
        import warnings

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the head is random
            task = getattr(vertebra.models, name).from_preset(preset, **OPTIONS[name] | options)
        folder = tmp_path / f"{name}_{format}"
        task.save_to_preset(folder, format=FOREIGN.get(name, format) if format == "transformers" else format)
        return task, folder

    return save


@pytest.fixture
def answers():
    """Returns what a task answers to texts, as an array."""
    import numpy as np

    def of(task):
        sample = task.text_sample(["The fox, the dog.", "a cat"])
        return np.asarray(sample.outputs)

    return of
