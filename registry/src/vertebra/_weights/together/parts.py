"""Writes tensors of which each process of a mesh has parts: every process writes its own parts into the same file.

The file is in a folder that all processes share. Where a format needs the whole of a tensor, the parts are gathered in
a file there, one tensor at a time, so that no collective operation can wait for a process that is gone.
"""

from __future__ import annotations

import contextlib
import contextvars
import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from vertebra._discovery import runtimes
from vertebra._weights.tensor_entry import TensorEntry, layout_of, numpy_dtype
from vertebra._weights.tensor_layout import put, viewed
from vertebra._weights.together.positions import addresses_of, write_parts
from vertebra.translations import TensorRule

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

Parts = Callable[[], "Iterable[tuple[tuple[slice, ...], Array]]"]
"""Returns the parts of a tensor that this process is to write: indexes and values."""
PartsOf = Callable[[Any], "Iterable[tuple[tuple[slice, ...], Array]]"]
"""Returns the parts of any tensor that this process is to write."""
Read = Callable[[], "Array"]


class Steps(Protocol):
    """The steps that the processes take together."""

    @property
    def count(self) -> int:
        """The number of the processes."""

    @property
    def is_first(self) -> bool:
        """Whether this process writes what only one may write."""

    def reach(self, name: str, note: str = "", /) -> list[str]:
        """Waits until all processes have reached the step; returns the note of each."""


@dataclass(slots=True)
class Saving:
    """A save by all processes of a mesh."""

    steps: Steps
    parts_of: PartsOf
    scratch: Path
    """A folder that all processes share, for tensors that are gathered."""
    stage: Path | None = None
    """The folder that becomes the preset, for files that all write."""
    written: int = 0
    """Bytes that this process has written of its parts."""
    expected: int = 0
    """Bytes of all tensors of which processes have parts."""
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    def check_written(self) -> None:
        """Waits until all processes have written, and checks that their parts are all of the tensors.

        Raises:
            ValueError: the parts of all processes are more or less than the tensors.
        """
        total = sum(map(int, self.steps.reach("written", str(self.written))))
        if total != self.expected:
            raise ValueError(f"the processes have written {total} bytes of {self.expected}")

    def gather(self, tensors: Mapping[str, tuple[TensorEntry, Parts]], everywhere: bool = True) -> dict[str, Array]:
        """Returns tensors as whole arrays, in all processes or in the first one only; all processes call this.

        Args:
            tensors: Dtype and shape of each tensor, and the parts of this process.
            everywhere: Whether all processes need them; if not, the others get an empty dict.
        """
        import numpy as np

        path = self.scratch / f"gathered-{next(self._numbers)}"
        starts = list(itertools.accumulate((entry.size for entry, _ in tensors.values()), initial=0))
        with _opened(path, os.O_RDWR | os.O_CREAT) as file:
            os.ftruncate(file, starts[-1])
            for (entry, parts), start in zip(tensors.values(), starts, strict=False):
                write_parts(file, start, (own := addresses_of(entry)), own, parts())
        self.steps.reach("gathered")
        found: dict[str, Array] = {}
        if everywhere or self.steps.is_first:
            data = np.fromfile(path, np.uint8)
            for (name, (entry, _)), start in zip(tensors.items(), starts, strict=False):
                own = data[start : start + entry.size]
                found[name] = own.view(numpy_dtype(entry.dtype)).reshape(entry.shape)
        if everywhere:
            self.steps.reach("read")
        if self.steps.is_first:
            path.unlink()
        return found


@dataclass(frozen=True, slots=True)
class Alone:
    """A save by one process, whose devices have parts of the tensors."""

    parts_of: PartsOf

    def gather(self, tensors: Mapping[str, tuple[TensorEntry, Parts]]) -> dict[str, Array]:
        """Returns tensors as whole arrays."""
        return {name: _assembled(entry, parts()) for name, (entry, parts) in tensors.items()}


class Shared:
    """A tensor to be written of which other processes have parts, too; each process writes its own."""

    def __init__(self, saving: Saving, entry: TensorEntry, pieces: Sequence[Piece]) -> None:
        self.saving, self.entry, self.pieces = saving, entry, tuple(pieces)

    def __call__(self) -> Array | None:
        """Returns the whole tensor in the first process, and None in all others, which have to call this, too."""
        return self.saving.gather({"": (self.entry, self._parts)}, everywhere=False).get("")

    def write(self, file: int, entry: TensorEntry, start: int) -> None:
        """Writes the parts of this process to an open file, in which the tensor begins at a position."""
        addresses = addresses_of(entry)
        for piece in self.pieces:
            self.saving.written += write_parts(file, start, addresses, piece.view(addresses), piece.parts())
        self.saving.expected += entry.size

    def _parts(self) -> Iterator[tuple[tuple[slice, ...], Array]]:
        (piece,) = self.pieces
        yield from piece.parts()


class Gathered:
    """A tensor that is computed from the whole of others, of which each process has parts."""

    def __init__(self, saving: Saving, rules: Sequence[TensorRule], reads: Sequence[Read]) -> None:
        self.saving, self._rules, self._reads = saving, rules, reads

    def __call__(self) -> Array | None:
        """Returns the tensor in the first process, and None in all others, which have to call this, too."""
        arrays = [read() for read in self._reads]
        return put(self._rules, arrays) if self.saving.steps.is_first else None

    def write(self, file: int, entry: TensorEntry, start: int) -> None:
        """Writes the tensor in the first process."""
        array = self()
        if array is not None:
            self.saving.written += write_array(file, entry, start, array)
        self.saving.expected += entry.size


@dataclass(frozen=True, slots=True)
class Piece:
    """A weight within the tensor of a file."""

    parts: Parts
    view: Callable[[Array], Array]
    """Returns the view of the tensor that has the shape of the weight."""


def shared_weight(saving: Saving, entry: TensorEntry, parts: Parts) -> Shared:
    """Returns the tensor that is a weight as it is."""
    return Shared(saving, entry, [Piece(parts, _same)])


def joined(rules: Sequence[TensorRule], reads: Sequence[Read], stored: TensorEntry) -> Shared | Gathered | None:
    """Returns the tensor that holds weights by rules, or None if no process has parts of them alone."""
    weights = [read for read in reads if isinstance(read, Shared)]
    if not weights:
        return None
    saving = weights[0].saving
    if any(rule.part is None for rule in rules):
        rules_written, reads_written = rules[:1], reads[:1]  # the others are contained in the first
    else:
        rules_written, reads_written = rules, reads
    addresses = addresses_of(stored)
    pieces = []
    for rule, read in zip(rules_written, reads_written, strict=True):
        shape = read.entry.shape if isinstance(read, Shared) else ()
        if not isinstance(read, Shared) or len(read.pieces) != 1 or viewed(rule, addresses, shape) is None:
            return Gathered(saving, rules, reads)
        pieces.append(Piece(read.pieces[0].parts, _view_by(rule, shape)))
    return Shared(saving, stored, pieces)


def saving_of(reads: Iterable[object]) -> Saving | None:
    """Returns the save by several processes that tensors belong to, or None."""
    return next((read.saving for read in reads if isinstance(read, Shared | Gathered)), None)


def write_together(
    saving: Saving, name: str, size: int, data: Iterable[tuple[int, bytes]], entries: Sequence[TensorEntry],
    reads: Mapping[str, Read],
) -> None:  # fmt: skip
    """Writes a file with the other processes: the first one makes it, and each writes its parts.

    Args:
        saving: The save.
        name: The name of the file.
        size: Its bytes.
        data: Bytes that are no tensors, with their positions.
        entries: The tensors, with their positions in the file.
        reads: Returns the array of each tensor.
    """
    assert saving.stage is not None
    path = saving.stage / name
    if saving.steps.is_first:
        with path.open("wb") as file:
            for position, text in data:
                file.seek(position)
                file.write(text)
            file.truncate(size)
    saving.steps.reach(f"begin {name}")
    with _opened(path, os.O_WRONLY) as descriptor:
        for entry in entries:
            read = reads[entry.name]
            if isinstance(read, Shared | Gathered):
                read.write(descriptor, entry, entry.start)
            elif saving.steps.is_first:
                write_array(descriptor, entry, entry.start, read())
        os.fsync(descriptor)


def write_array(file: int, entry: TensorEntry, start: int, array: Array) -> int:
    """Writes a whole tensor at a position of an open file, and returns its bytes."""
    whole = tuple(slice(0, size) for size in entry.shape)
    addresses = addresses_of(entry)
    return write_parts(file, start, addresses, addresses, [(whole, array)])


# === Values in memory ===

_gathering: contextvars.ContextVar[Saving | Alone | None] = contextvars.ContextVar("gathering", default=None)


@contextlib.contextmanager
def gathering(saving: Saving | None, mesh: Any, parts_of: PartsOf) -> Iterator[None]:
    """Lets `host_arrays` gather parts within a block: those of all processes, which all run it alike, or of devices.

    Args:
        saving: The save of all processes, or None if this process is alone.
        mesh: The mesh of the tensors, or None.
        parts_of: Returns the parts of a tensor that this process is to write.
    """
    alone = None if mesh is None else Alone(parts_of)
    token = _gathering.set(saving or alone)
    try:
        yield
    finally:
        _gathering.reset(token)


def host_arrays(tensors: Mapping[str, Any]) -> dict[str, Array]:
    """Returns tensors, or arrays, as whole arrays; outside of a save, all processes of their mesh call this."""
    saving = _gathering.get()
    if saving is None or not tensors:
        return {name: _whole(tensor) for name, tensor in tensors.items()}
    return saving.gather({name: (_layout(tensor), _parts_in(saving, tensor)) for name, tensor in tensors.items()})


def host_array(tensor: Any) -> Array:
    """Returns a tensor, or an array, as a whole array."""
    return host_arrays({"": tensor})[""]


def _whole(tensor: Any) -> Array:
    import keras

    try:
        array: Array = keras.ops.convert_to_numpy(tensor)
    except RuntimeError:  # of the frameworks: it is divided among processes
        array = runtimes.bind().sample(tensor, 1).reshape(tuple(tensor.shape))
    return array


def _assembled(entry: TensorEntry, parts: Iterable[tuple[tuple[slice, ...], Array]]) -> Array:
    import numpy as np

    whole = np.empty(entry.shape, numpy_dtype(entry.dtype))
    for index, values in parts:
        if values.shape == entry.shape:
            return values
        whole[index] = values
    return whole


def _layout(tensor: Any) -> TensorEntry:
    import keras

    return layout_of("", keras.backend.standardize_dtype(tensor.dtype), tuple(tensor.shape))


def _parts_in(saving: Saving | Alone, tensor: Any) -> Parts:
    import numpy as np

    if not isinstance(tensor, np.ndarray):
        return lambda: saving.parts_of(tensor)
    whole = tuple(slice(0, size) for size in tensor.shape)
    return lambda: [(whole, tensor)] if isinstance(saving, Alone) or saving.steps.is_first else []


def _view_by(rule: TensorRule, shape: tuple[int, ...]) -> Callable[[Array], Array]:
    def view(tensor: Array) -> Array:
        found = viewed(rule, tensor, shape)
        assert found is not None
        return found

    return view


def _same(tensor: Array) -> Array:
    return tensor


@contextlib.contextmanager
def _opened(path: Path, flags: int) -> Iterator[int]:
    descriptor = os.open(path, flags, 0o600)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
