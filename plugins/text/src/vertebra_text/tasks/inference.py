"""Computes outputs for many texts: sorted by length, so that little is padded, and returned in their own order."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

import vertebra
from vertebra.errors import ArgumentError
from vertebra_text.errors import TextError
from vertebra_text.tasks import cut_texts

_CHUNK = 2048
"""The number of texts that are tokenized at once."""
_STEPS = ((64, 16), (256, 32), (1024, 64))
"""Lengths are rounded up where each shape is compiled: to a multiple of 16 up to 64 tokens, and so on."""
_LARGEST_STEP = 128
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
    """The outputs, of shape (rows, …) with the padded length of the batch where there is an axis for tokens."""


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

    def outputs(self, texts: Any, batch_size: int, adapters: Any = None, **options: Any) -> Any:
        """Returns the outputs for texts as one array, in their order.

        If they have an axis for tokens or masks, rows of shorter batches are padded with zeros, on the side on which
        the tokenizer pads. The arguments are those of `batches`.
        """
        items = listed(texts)
        at_start = getattr(self._task.tokenizer, "padding_side", "right") == "left"
        results: np.ndarray[Any, Any] | None = None
        for batch in self.batches(items, batch_size, adapters, **options):
            if results is None:
                results = np.empty((len(items), *batch.outputs.shape[1:]), batch.outputs.dtype)
            shape = tuple(np.maximum(results.shape[1:], batch.outputs.shape[1:]))
            results = _padded(results, shape, at_start)
            results[batch.rows] = _padded(batch.outputs, shape, at_start)
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
            for rows in _by_length(arrays["padding_mask"], batch_size):
                batch = {name: array[rows] for name, array in arrays.items()}
                names = [by_row[start + row] for row in rows] if by_row is not None else adapters
                yield self._batch(program, start + rows, _cropped(batch), names, batch_size)
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
        if self._program is None or count < _MANY_AT_ONCE:
            return self._program
        return self._program.packed()  # only for these texts: training may follow

    def _batch(self, program: Any, rows: Any, arrays: dict[str, Any], adapters: Any, batch_size: int) -> Batch:
        inputs = {name: arrays[name] for name in self._task.input if name in arrays}
        if self._has_few_shapes:
            inputs, adapters = _rounded(inputs, adapters, batch_size, self._task.preprocessor.sequence_length)
        inputs |= self._task.further_inputs(inputs)
        if program is None:
            chosen = contextlib.nullcontext() if adapters is None else self._task.lora_rows(adapters)
            with chosen:
                return Batch(rows, arrays, self._task.predict_on_batch(inputs))
        outputs = program(inputs, adapters=adapters)
        outputs = keras.tree.map_structure(lambda x: np.asarray(keras.ops.convert_to_numpy(x))[: len(rows)], outputs)
        return Batch(rows, arrays, outputs)


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


def _by_length(mask: Any, batch_size: int) -> Iterator[np.ndarray[Any, Any]]:
    """Yields the rows of batches, the longest first: a batch that is too large for the memory fails at once."""
    order = np.argsort(-mask.sum(axis=1), kind="stable")
    for start in range(0, len(order), batch_size):
        yield order[start : start + batch_size]


def _cropped(arrays: dict[str, Any]) -> dict[str, Any]:
    """Removes the columns in which all rows are padding."""
    used = np.flatnonzero(arrays["padding_mask"].any(axis=0))
    if not len(used):
        return arrays
    columns = slice(used[0], used[-1] + 1)
    return {name: array[:, columns] if array.ndim > 1 else array for name, array in arrays.items()}


def _rounded(inputs: dict[str, Any], adapters: Any, batch_size: int, most: int | None) -> tuple[dict[str, Any], Any]:
    """Pads inputs to one of a few shapes, as each is compiled once: with padding, and copies of the last row."""
    rows, length = next(iter(inputs.values())).shape[:2]
    target = _rounded_rows(rows, batch_size)
    rounded = _rounded_length(length) if most is None else min(_rounded_length(length), max(most, length))
    width = (0, rounded - length)
    shaped = {
        name: np.pad(np.pad(array, ((0, 0), width)), ((0, target - rows), (0, 0)), mode="edge")
        for name, array in inputs.items()
    }
    if isinstance(adapters, list):
        adapters = adapters + adapters[-1:] * (target - rows)
    return shaped, adapters


def within(arrays: dict[str, Any], most: int | None) -> dict[str, Any]:
    """Removes columns of padding, so that rows have the most tokens that a model takes, or fewer."""
    mask = arrays["padding_mask"]
    if most is None or mask.shape[1] <= most:
        return arrays
    columns = slice(-most, None) if mask[:, most:].any() else slice(most)  # padded at the beginning, or at the end
    return {name: array[:, columns] if array.ndim > 1 else array for name, array in arrays.items()}


def _rounded_rows(rows: int, batch_size: int) -> int:
    """Returns the next power of two, or the batch size if that is less."""
    return min(1 << (rows - 1).bit_length(), batch_size)


def _rounded_length(length: int) -> int:
    step = next((step for most, step in _STEPS if length <= most), _LARGEST_STEP)
    return -(-length // step) * step
