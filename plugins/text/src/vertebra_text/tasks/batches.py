"""Batches of texts with labels for `fit` and `evaluate`, from lists, and from data sets of other libraries."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import keras
import numpy as np

from vertebra.errors import ArgumentError
from vertebra_text.errors import TextError

_FIELDS = {"texts": ("text", "texts", "sentence"), "labels": ("label", "labels")}
"""Names of the columns that tables of texts have, in order of preference."""


def is_prepared(x: Any) -> bool:
    """Returns whether inputs are token ids already: tensors, a dict of them, or batches that were made here."""
    if isinstance(x, TextBatches | PreparedDataset):
        return True
    leaves = list(x.values()) if isinstance(x, Mapping) else [x]
    return bool(leaves) and all(_is_numeric(leaf) for leaf in leaves)


def has_texts(x: Any) -> bool:
    """Returns whether inputs are a text, or begin with one."""
    while isinstance(x, list | tuple) and x:
        x = x[0]
    return isinstance(x, str) or (isinstance(x, np.ndarray) and x.dtype.kind in "OUS")


def _is_numeric(value: Any) -> bool:
    if isinstance(value, np.ndarray):
        return value.dtype.kind not in "OUS"
    return keras.ops.is_tensor(value) or isinstance(value, keras.KerasTensor)


def text_batches(
    task: Any,
    x: Any,
    y: Any,
    sample_weight: Any,
    batch_size: int,
    *,
    shuffle: bool,
    validation_split: float = 0.0,
) -> tuple[Any, Any]:
    """Returns batches of prepared inputs for texts, and those of the share that is held out, or None.

    Args:
        task: The task, whose preprocessor is used and whose labels are checked.
        x: Texts, pairs, a table with a column of texts, or an iterable of batches.
        y: The labels, or None if `x` has them.
        sample_weight: A weight for each text, or None.
        batch_size: The number of texts in a batch.
        shuffle: Whether each epoch has another order.
        validation_split: The share at the end that is held out, in [0, 1).

    Raises:
        ArgumentError: texts and labels differ in number, or a label is out of range.
    """
    x, y = task.columns(x, y)
    texts = _as_list(x)
    if texts is None:
        if y is not None or validation_split:
            raise ArgumentError("fit", "x", type(x).__name__, "texts; batches have their own labels")
        return transformed(task, x), None
    if not texts:
        raise ArgumentError("fit", "x", texts, "at least one text")
    if y is None and task.needs_labels:
        raise ArgumentError("fit", "y", None, "a label for each text")
    labels = None if y is None else task.check_labels(y)
    for name, values in (("y", labels), ("sample_weight", sample_weight)):
        if values is not None and len(values) != len(texts):
            raise ArgumentError("fit", name, f"{len(values)} values", f"one for each of {len(texts)} texts")
    held = math.ceil(len(texts) * validation_split) if validation_split else 0
    if held >= len(texts) or held < 0:
        raise ArgumentError("fit", "validation_split", validation_split, "a share that leaves texts to train on")
    columns = (texts, labels, None if sample_weight is None else np.asarray(sample_weight))
    train = TextBatches(task, *(_sliced(column, 0, len(texts) - held) for column in columns), batch_size, shuffle)
    if not held:
        return train, None
    held_out = (_sliced(column, len(texts) - held, len(texts)) for column in columns)
    return train, TextBatches(task, *held_out, batch_size, False)


def _sliced(column: Any, start: int, stop: int) -> Any:
    return None if column is None else column[start:stop]


def columns(x: Any, y: Any) -> tuple[Any, Any]:
    """Returns texts and labels of a table, such as one of Hugging Face's `datasets`, or the arguments themselves."""
    names = getattr(x, "column_names", None) or (list(x) if isinstance(x, Mapping) else None)
    if names is None:
        return x, y
    found = {kind: next((name for name in known if name in names), None) for kind, known in _FIELDS.items()}
    if found["texts"] is None:
        raise ArgumentError("fit", "x", f"a table of {', '.join(map(str, names))}", "a column named text")
    return x[found["texts"]], x[found["labels"]] if y is None and found["labels"] is not None else y


def _as_list(x: Any) -> Sequence[Any] | None:
    """Returns texts as a list of texts or pairs, or None if `x` is an iterable of batches."""
    if isinstance(x, str):
        return [x]
    if isinstance(x, tuple) and len(x) == 2 and not isinstance(x[0], str):
        if len(x[0]) != len(x[1]):
            raise ArgumentError("fit", "x", f"{len(x[0])} and {len(x[1])} texts", "two lists of one length")
        return list(zip(*x, strict=True))
    if isinstance(x, keras.utils.PyDataset) or _is_loader(x):
        return None
    if isinstance(x, np.ndarray) or (hasattr(x, "__len__") and hasattr(x, "__iter__")):
        return list(x)
    return None


def _is_loader(x: Any) -> bool:
    """Returns whether an object is a loader of batches, as torch's `DataLoader` is, and no collection of texts."""
    return hasattr(x, "batch_size") and hasattr(x, "dataset")


class TextBatches(keras.utils.PyDataset):  # type: ignore[misc]
    """Texts in batches, tokenized when a batch is read, each padded to its longest row."""

    def __init__(
        self, task: Any, texts: Sequence[Any], labels: Any, weights: Any, batch_size: int, shuffle: bool
    ) -> None:
        super().__init__()
        self._task, self._texts, self._labels, self._weights = task, texts, labels, weights
        self._size, self._shuffle = batch_size, shuffle
        self._order = np.arange(len(texts))
        self.on_epoch_begin()

    def on_epoch_begin(self) -> None:
        """Shuffles with Keras's own generator of random numbers, so that `keras.utils.set_random_seed` fixes it."""
        if self._shuffle:
            seed = int(np.random.randint(2**31))
            self._order = np.random.default_rng(seed).permutation(len(self._texts))

    def __len__(self) -> int:
        return math.ceil(len(self._texts) / self._size)

    def __getitem__(self, index: int) -> Any:
        rows = self._order[index * self._size : (index + 1) * self._size]
        labels, weights = (
            None if column is None else [column[row] for row in rows] for column in (self._labels, self._weights)
        )
        try:
            return self._task.prepare([self._texts[row] for row in rows], labels, weights)
        except TextError as error:
            raise error.renumbered(lambda index: int(rows[index])) from None


def transformed(task: Any, batches: Any) -> Any:
    """Returns batches `(texts, labels, weights)` with the texts prepared: a `PyDataset`, or a generator."""
    if isinstance(batches, keras.utils.PyDataset):
        return PreparedDataset(task, batches)
    return _generated(task, batches)


def steps_of(batches: Any) -> int | None:
    """Returns the number of batches of a loader that can be read again, or None."""
    return len(batches) if _is_loader(batches) and hasattr(batches, "__len__") else None


class PreparedDataset(keras.utils.PyDataset):  # type: ignore[misc]
    """A `PyDataset` of texts, with the texts prepared."""

    def __init__(self, task: Any, batches: Any) -> None:
        super().__init__(batches.workers, batches.use_multiprocessing, batches.max_queue_size)
        self._task, self._batches = task, batches

    def __len__(self) -> int:
        return len(self._batches)

    def __getitem__(self, index: int) -> Any:
        return _prepared_batch(self._task, self._batches[index])

    def on_epoch_end(self) -> None:
        self._batches.on_epoch_end()


def is_shuffled_by_keras(batches: Any) -> bool:
    """Returns whether Keras shuffles data itself: the rows of arrays, or the batches of a user's `PyDataset`."""
    return not isinstance(batches, TextBatches | Iterator)


def _generated(task: Any, batches: Iterable[Any]) -> Iterator[Any]:
    """Yields the batches of a loader, again and again, or those of a generator, with the texts prepared."""
    while True:
        for batch in batches:
            yield _prepared_batch(task, batch)
        if steps_of(batches) is None:
            return


def _prepared_batch(task: Any, batch: Any) -> Any:
    if isinstance(batch, Mapping):
        batch = task.columns(batch, None)
    texts, labels, weights = (*batch, None, None)[:3] if isinstance(batch, tuple | list) else (batch, None, None)
    if isinstance(texts, tuple) and texts and isinstance(texts[0], str):
        texts = list(texts)  # torch's default collation makes a tuple of a batch of texts
    return task.prepare(texts, None if labels is None else task.check_labels(labels), weights)
