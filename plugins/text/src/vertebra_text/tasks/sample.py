"""The sample of a task for the parity certificate: texts, their token ids, and the outputs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import keras

from vertebra import TextSample

_SENTENCES = ("A cat sits on the mat, and 12 dogs don't.", "Café ÉTÉ: naïve 東京!")
"""Texts with capitals, accents, digits, an apostrophe and another script: each is a step of some tokenizer."""


class SampledTask:
    """The method of `Task` that computes a sample."""

    reads_pairs: ClassVar[bool] = False
    """Whether the task needs pairs of texts."""

    def text_sample(self, texts: Sequence[Any] | None = None) -> TextSample:
        """Returns texts, the backbone's inputs for them, and the outputs of the task for these.

        Args:
            texts: Texts or pairs of texts, or None for two short ones.

        Raises:
            ArgumentError: a text is not a string.
        """
        task: Any = self
        if texts is None:
            texts = [list(_SENTENCES), list(reversed(_SENTENCES))] if self.reads_pairs else list(_SENTENCES)
        arrays = task.preprocessor.encode(texts)
        outputs = task(task.sample_inputs(arrays), training=False)
        outputs = keras.tree.map_structure(lambda x: keras.ops.convert_to_numpy(x).astype("float32"), outputs)
        return TextSample(task.task_name(), texts, {name: arrays[name] for name in task.backbone.input}, outputs)

    def sample_inputs(self, arrays: Any) -> Any:
        """Returns the inputs of the task for the inputs of its backbone."""
        return arrays
