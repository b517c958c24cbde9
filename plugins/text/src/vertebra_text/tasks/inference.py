"""Computes outputs for many texts: sorted by length, so that little is padded, and returned in their own order."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

import vertebra
from vertebra import layers
from vertebra.errors import ArgumentError
from vertebra_text.errors import TextError
from vertebra_text.tasks import cut_texts, shapes

_CHUNK = 2048
"""The number of texts that are tokenized at once."""
_WORTHWHILE = 0.1
"""The share of padding in a batch from which it is worth while to remove it."""
_MANY = 1024
"""The number of texts from which it is worth while to trace the model, which takes seconds."""
_MANY_AT_ONCE = 256
"""The number of texts from which it is worth while to pack the weights, which takes as long as a few texts."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Some texts of a call, with the outputs for them."""

    rows: np.ndarray[Any, Any]
    """Positions of the texts in the call."""
    arrays: dict[str, np.ndarray[Any, Any]]
    """The tokenized texts; inputs of the model and what else was asked for."""
    outputs: Any
    """The outputs, of shape (rows, …); with an axis for tokens it is as long as the rows, and padding is 0."""


class Inference:
    """The forward pass of a task for texts.

    Args:
        task: The task.
    """

    def __init__(self, task: Any) -> None:
        self._task, self._runtime = task, vertebra.use()
        self._has_few_shapes = self._runtime.compiles_each_shape
        self._program = vertebra.compile(task) if self._has_few_shapes else None
        self._count = 0
        self.packs_weights = True
        """Whether calls with many texts may copy the weights into layouts of faster kernels."""
        self._can_unpad = layers.can_unpad(task)

    def outputs(self, texts: Any, batch_size: int, adapters: Any = None, **options: Any) -> Any:
        """Returns the outputs for texts as one array, in their order.

        If they have an axis for tokens or masks, rows of shorter batches are padded with zeros, on the side on which
        the tokenizer pads, or the option `padding_side` says. The arguments are those of `batches`.
        """
        items = listed(texts)
        side = options.get("padding_side") or getattr(self._task.tokenizer, "padding_side", "right")
        results: np.ndarray[Any, Any] | None = None
        for batch in self.batches(items, batch_size, adapters, **options):
            if results is None:
                results = np.empty((len(items), *batch.outputs.shape[1:]), batch.outputs.dtype)
            shape = tuple(np.maximum(results.shape[1:], batch.outputs.shape[1:]))
            results = _padded(results, shape, side == "left")
            results[batch.rows] = _padded(batch.outputs, shape, side == "left")
        if results is None:
            return np.zeros((0, *self._task.output_shape[1:]), "float32")
        return results

    def batches(self, texts: Sequence[Any], batch_size: int, adapters: Any = None, **options: Any) -> Iterator[Batch]:
        """Yields the outputs for texts, batch by batch, the longest texts of each chunk first.

        Args:
            texts: Texts or pairs.
            batch_size: The most texts in a batch.
            adapters: The name of a LoRA adapter, a list with one for each text, or None for the active ones.
            **options: Options of the tokenizer, for further arrays.

        Raises:
            ArgumentError: `adapters` is a list of another length.
        """
        self._task.require_tokenizer()
        if type(batch_size) is not int or batch_size < 1:
            raise ArgumentError("predict", "batch_size", batch_size, "an int above 0")
        by_row = adapters if isinstance(adapters, list | tuple) else None
        if by_row is not None and len(by_row) != len(texts):
            raise ArgumentError("predict", "adapters", f"{len(by_row)} names", f"one for each of {len(texts)} texts")
        if by_row:
            with self._task.lora_rows(list({repr(name): name for name in by_row}.values())):
                pass  # so that all are stacked at once, and not batch by batch
        cut = 0
        for start in range(0, len(texts), _CHUNK):
            chunk = texts[start : start + _CHUNK]
            arrays = self._encoded(chunk, start, options)
            cut += int(np.count_nonzero(arrays.pop("num_truncated_tokens")))
            program = self._program_for(len(chunk))
            lengths = arrays["padding_mask"].sum(axis=1)
            for rows, shape in self._batched(lengths, batch_size, by_row is not None):
                batch = shapes.cropped({name: array[rows] for name, array in arrays.items()})
                names = [by_row[start + row] for row in rows] if by_row is not None else adapters
                yield self._batch(program, start + rows, batch, names, shape)
        cut_texts.count(cut, len(texts), self._task.preprocessor.sequence_length)

    def _encoded(self, texts: Sequence[Any], start: int, options: dict[str, Any]) -> dict[str, Any]:
        """Returns the tokenized texts; errors name their positions in the call."""
        try:
            arrays: dict[str, Any] = self._task.preprocessor.encode(texts, return_num_truncated_tokens=True, **options)
        except TextError as error:
            raise error.renumbered(lambda index: start + index) from None
        return arrays

    def _program_for(self, count: int) -> Any:
        """Returns the compiled task for a number of texts, or None to call the task itself."""
        self._count += count
        if self._program is None and self._count >= _MANY:
            self._program = vertebra.compile(self._task)
        if self._program is None or count < _MANY_AT_ONCE or not self.packs_weights:
            return self._program
        return self._program.packed()  # only for these texts: training may follow

    def _batched(
        self, lengths: np.ndarray[Any, Any], batch_size: int, has_rows: bool
    ) -> Iterator[tuple[np.ndarray[Any, Any], shapes.Shape | None]]:
        """Yields the rows of batches, and their shapes if each shape is compiled; with adapters for rows or without."""
        if not self._has_few_shapes:
            return zip(shapes.by_length(lengths, batch_size), itertools.repeat(None))
        if self._can_unpad and not has_rows and len(lengths) > batch_size:
            return shapes.by_tokens(lengths, batch_size)
        batches = shapes.by_length(lengths, batch_size)
        return ((rows, shapes.rounded(len(rows), int(lengths[rows[0]]), batch_size)) for rows in batches)

    def _batch(
        self, program: Any, rows: Any, arrays: dict[str, Any], adapters: Any, shape: shapes.Shape | None
    ) -> Batch:
        inputs = {name: arrays[name] for name in self._task.input if name in arrays}
        tokens = None
        if shape is not None:
            inputs, tokens = shapes.shaped(inputs, shape, self._task.preprocessor.sequence_length)
            if isinstance(adapters, list):
                adapters = adapters + adapters[-1:] * (shape.rows - len(rows))
        elif self._can_unpad and not isinstance(adapters, list):
            # A program is traced with tokens or without; with them, it serves all batches.
            tokens = shapes.tokens_of(inputs["padding_mask"], least_padding=_WORTHWHILE if program is None else 0)
        inputs |= self._task.further_inputs(inputs)
        if program is None:
            chosen = contextlib.nullcontext() if adapters is None else self._task.lora_rows(adapters)
            with chosen, layers.computing(tokens):
                return Batch(rows, arrays, self._of_tokens(self._task.predict_on_batch(inputs), arrays))
        outputs = program(inputs, adapters=adapters, tokens=tokens)
        outputs = keras.tree.map_structure(lambda x: np.asarray(keras.ops.convert_to_numpy(x))[: len(rows)], outputs)
        return Batch(rows, arrays, self._of_tokens(outputs, arrays))

    def _of_tokens(self, outputs: Any, arrays: dict[str, Any]) -> Any:
        """Returns outputs for each token as long as the batch's rows, with zeros for padding; others unchanged."""
        if not self._task.has_output_for_each_token:
            return outputs
        mask = arrays["padding_mask"] != 0
        return np.where(mask[:, :, None], outputs[:, : mask.shape[1]], outputs.dtype.type(0))


def _padded(rows: np.ndarray[Any, Any], shape: tuple[int, ...], at_start: bool) -> np.ndarray[Any, Any]:
    """Pads each row to a shape with zeros; rows that have it are returned as they are."""
    missing = [most - size for most, size in zip(shape, rows.shape[1:], strict=True)]
    if not any(missing):
        return rows
    return np.pad(rows, [(0, 0), *((count, 0) if at_start else (0, count) for count in missing)])


def listed(texts: Any) -> Sequence[Any]:
    """Returns texts or pairs as a list; a tuple of two lists is the first and the second texts of pairs.

    Raises:
        ArgumentError: `texts` is not iterable, or a dict, or the two lists have different lengths.
    """
    if isinstance(texts, str):
        return [texts]
    if isinstance(texts, bytes | Mapping) or not isinstance(texts, Iterable):
        raise ArgumentError("predict", "texts", texts, "a text, a list of texts, or a list of pairs")
    if isinstance(texts, tuple) and len(texts) == 2 and not isinstance(texts[0], str):
        first, second = map(list, texts)
        if len(first) != len(second):
            raise ArgumentError("predict", "texts", f"{len(first)} and {len(second)} texts", "two lists of one length")
        return list(zip(first, second, strict=True))
    return texts if isinstance(texts, list) else list(texts)
