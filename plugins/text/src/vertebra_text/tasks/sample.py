"""The sample of a task for the parity certificate: texts, their token ids, and the outputs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import keras

from vertebra import TextSample


class SampledTask:
    """The method of `Task` that computes a sample."""

    reads_pairs: ClassVar[bool] = False
    """Whether the task needs pairs of texts."""

    def text_sample(self, texts: Sequence[Any]) -> TextSample:
        """Returns the backbone's inputs for texts, and the outputs of the task for these.

        Args:
            texts: Texts; a task that needs pairs makes one of each text and its predecessor. Or pairs of texts.

        Raises:
            ArgumentError: a text is not a string.
        """
        task: Any = self
        texts = list(texts)
        if self.reads_pairs and isinstance(texts[0], str):
            texts = [[text, texts[number - 1]] for number, text in enumerate(texts)]
        arrays = task.preprocessor.encode(texts)
        outputs = task(task.sample_inputs(arrays), training=False)
        outputs = keras.tree.map_structure(lambda x: keras.ops.convert_to_numpy(x).astype("float32"), outputs)
        return TextSample(task.task_name(), texts, {name: arrays[name] for name in task.backbone.input}, outputs)

    def sample_inputs(self, arrays: Any) -> Any:
        """Returns the inputs of the task for the inputs of its backbone."""
        return arrays
