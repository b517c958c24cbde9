"""The suite for tasks notices a head that averages padding, though its answers are equal before training."""

import keras
import numpy as np
import pytest

from vertebra.testing import TinyBackbone
from vertebra.testing.backbones.comparing import arrays_of
from vertebra_text import Task
from vertebra_text.testing import TaskSuite, small_tokenizer

pytestmark = pytest.mark.keras(once=True)
TEXTS = ["the good fox.", "bad", "a good dog", "the bad dog is bad."]


@keras.saving.register_keras_serializable("bad_tasks")
class Score(Task):
    """Scores texts with the largest hidden state, of tokens or of all positions; its head starts with zeros."""

    is_masked = True

    def __init__(self, backbone, preprocessor=None, **kwargs):
        states = backbone(backbone.input)["sequence_output"]
        mask = keras.layers.Reshape((-1, 1))(backbone.input["padding_mask"])
        counted = keras.layers.Multiply()([states, mask]) if self.is_masked else keras.layers.Rescaling(1, 2)(states)
        total = keras.layers.GlobalMaxPooling1D()(keras.layers.ReLU()(counted))
        score = keras.layers.Dense(1, kernel_initializer="zeros", name="score")
        super().__init__(backbone, score(total), preprocessor, arguments={}, **kwargs)

    def head_weights(self):
        return {f"score/{weight.name}": weight for weight in self.get_layer("score").weights}


def test_a_head_that_reads_padding_is_noticed(tmp_path, monkeypatch):
    suite, tokenizer = TaskSuite(), small_tokenizer(tmp_path)
    test = suite.test_a_text_has_the_same_outputs_in_every_batch

    def task():
        return Score(TinyBackbone(vocabulary_size=tokenizer.vocabulary_size()), tokenizer)

    def predict(task, texts=TEXTS, **options):
        return arrays_of(task.predict(texts, **options))

    (answers,) = predict(task()).values()
    assert np.ptp(answers) == 0  # all answers of a new head are equal
    test(task(), predict, TEXTS)
    monkeypatch.setattr(Score, "is_masked", False)
    with pytest.raises(AssertionError) as caught:
        test(task(), predict, TEXTS)
    assert caught.value.__notes__[0].startswith("TA-03: ")
