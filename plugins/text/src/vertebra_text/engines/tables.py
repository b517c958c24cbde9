"""Batches as engines hand them over: dicts of arrays, pandas data frames, and Arrow tables."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from vertebra.errors import ArgumentError


class Table(Protocol):
    """A batch."""

    @property
    def names(self) -> Sequence[str]:
        """The names of the columns."""

    def values(self, name: str) -> list[Any]:
        """Returns the values of a column as Python has them."""

    def with_columns(self, columns: Mapping[str, Any]) -> Any:
        """Returns a batch of the same class with further columns, each a list or an array of shape (rows, width)."""


def table_of(batch: Any) -> Table:
    """Returns a batch as a `Table`.

    Raises:
        ArgumentError: it is of another class.
    """
    if isinstance(batch, Mapping):
        return _Arrays(batch)
    pandas, pyarrow = sys.modules.get("pandas"), sys.modules.get("pyarrow")  # there is no batch of a class before it
    if pandas is not None and isinstance(batch, pandas.DataFrame):
        return _Frame(batch)
    if pyarrow is not None and isinstance(batch, pyarrow.Table | pyarrow.RecordBatch):
        return _Arrow(batch)
    expected = "a dict of arrays, a pandas DataFrame, or a pyarrow Table or RecordBatch"
    raise ArgumentError("BatchTask", "batch", type(batch).__name__, expected)


class _Arrays:
    def __init__(self, batch: Mapping[str, Any]) -> None:
        self._batch, self.names = batch, list(batch)

    def values(self, name: str) -> list[Any]:
        return [_plain(value) for value in np.asarray(self._batch[name]).tolist()]

    def with_columns(self, columns: Mapping[str, Any]) -> Any:
        return dict(self._batch) | {name: _array(column) for name, column in columns.items()}


class _Frame:
    def __init__(self, batch: Any) -> None:
        self._batch, self.names = batch, list(batch.columns)

    def values(self, name: str) -> list[Any]:
        return [_plain(value) for value in self._batch[name].tolist()]

    def with_columns(self, columns: Mapping[str, Any]) -> Any:
        import pandas

        index = self._batch.index
        return self._batch.assign(
            **{name: pandas.Series(list(column), index=index, dtype=_dtype(column)) for name, column in columns.items()}
        )


class _Arrow:
    def __init__(self, batch: Any) -> None:
        self._batch, self.names = batch, batch.schema.names

    def values(self, name: str) -> list[Any]:
        found: list[Any] = self._batch.column(name).to_pylist()
        return found

    def with_columns(self, columns: Mapping[str, Any]) -> Any:
        import pyarrow

        arrays, names = list(self._batch.columns), list(self._batch.schema.names)
        for name, column in columns.items():
            if name in names:
                arrays[names.index(name)] = _arrow(column)
            else:
                arrays.append(_arrow(column))
                names.append(name)
        if isinstance(self._batch, pyarrow.RecordBatch):
            return pyarrow.RecordBatch.from_arrays(arrays, names)
        return pyarrow.table(dict(zip(names, arrays, strict=True)))


def _plain(value: Any) -> Any:
    """Returns the value of a cell; missing texts, which pandas and NumPy have as NaN, are None."""
    return None if isinstance(value, float) and value != value else value


def _array(column: Any) -> Any:
    """Returns a column as an array: numbers and texts in their dtypes, other values as objects."""
    if isinstance(column, np.ndarray):
        return column
    if column and all(isinstance(value, float) for value in column):
        return np.asarray(column, "float64")
    array = np.empty(len(column), object)
    array[:] = column
    return array


def _dtype(column: Any) -> Any:
    is_numbers = not isinstance(column, np.ndarray) and column and all(isinstance(value, float) for value in column)
    return "float64" if is_numbers else object


def _arrow(column: Any) -> Any:
    import pyarrow

    if not isinstance(column, np.ndarray):
        return pyarrow.array(column)
    flat = pyarrow.array(column.reshape(-1))
    return pyarrow.FixedSizeListArray.from_arrays(flat, column.shape[1])
