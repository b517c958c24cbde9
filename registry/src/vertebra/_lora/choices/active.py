"""Which adapters are active: by default in a model, or by choice in one call.

A choice for a call is stored in a context variable, so it belongs to the thread or asyncio task that makes the call,
and does not change the model. The layers look it up at each call.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import threading
import weakref
from collections.abc import Container, Iterator, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import keras

from vertebra.errors import LoraStateError

_blocks: ContextVar[tuple[Block, ...]] = ContextVar("vertebra_lora_blocks", default=())
"""The blocks that the current thread or task is in, the innermost first."""
_numbers: weakref.WeakKeyDictionary[Any, int] = weakref.WeakKeyDictionary()
_count = itertools.count()


@dataclass(frozen=True, slots=True, eq=False)
class ActiveAdapters:
    """Adapters that are active together."""

    layers: Mapping[str, Sequence[tuple[int, Any]]] = field(default_factory=dict)
    """The adapter layers of each adapted layer, by path, each with the number of its adapter."""
    strengths: Any = None
    """Variable of shape `(adapters,)` or `(rows, adapters)`, float32; None means one adapter at strength 1. The number
    of an adapter is its column; a table of adapters has one column, too."""
    variables: Sequence[Any] = ()
    """The control variables for compiled functions and, for a choice, the adapters' own variables. Choices of adapters
    of the same settings have as many variables, of the same shapes, in the same order."""
    chosen_from: AdapterState | None = None
    """The state of the model that a call chose these adapters from; None for the default adapters of the model."""
    names: Sequence[str] = ()
    """Names of the adapters that a call chose."""
    losses: int = 0
    """The model's count of removed hooks when the choice was made."""
    numbers: Any = None
    """Variable of shape `(rows, adapters)`, int32: in the column of a table, the number in it of each row's adapter."""

    @property
    def is_choice(self) -> bool:
        """Whether it belongs to one call."""
        return self.chosen_from is not None

    @property
    def by_rows(self) -> bool:
        """Whether each row of the batch has strengths of its own."""
        return self.strengths is not None and len(self.strengths.shape) == 2

    def change(self, number: int, layer: Any, inputs: Any, outputs: Any) -> Any:
        """Returns the change of outputs by a stacked layer, from which each row takes its own adapter."""
        self.check_rows(outputs.shape[0])
        numbers, strengths = (keras.ops.convert_to_tensor(v)[:, number] for v in (self.numbers, self.strengths))
        return layer.change(inputs, outputs, numbers, strengths)

    def weigh(self, number: int, change: Any) -> Any:
        """Returns an adapter's change multiplied by its strength, for the whole batch or by rows."""
        if self.strengths is None:
            return change
        strength = keras.ops.convert_to_tensor(self.strengths)[..., number]
        if len(strength.shape):
            self.check_rows(change.shape[0])
            strength = keras.ops.reshape(strength, (-1, *(1,) * (len(change.shape) - 1)))
        return change * keras.ops.cast(strength, change.dtype)

    def check_rows(self, batch: int | None) -> None:
        """Raises LoraStateError if adapters were chosen by rows, for another number of rows than the batch has."""
        if self.by_rows and batch is not None and batch != self.strengths.shape[0]:
            problem = f"Adapters were chosen for {self.strengths.shape[0]} rows, and the batch has {batch}"
            raise LoraStateError(problem, "Name one adapter, or None, for each row of the batch")


class AdapterState:
    """The active adapters of one model, and whether calls may choose others."""

    def __init__(self, model: Any) -> None:
        self.model = weakref.ref(model)
        self.number = _numbers.setdefault(model, next(_count))
        """A number unique to the model."""
        self.default = ActiveAdapters()
        """The adapters for calls that make no choice. It is replaced as a whole."""
        self.obstacle: tuple[str, str] | None = None
        """Problem and remedy if calls cannot choose adapters, because the weights are not those of the base model."""
        self.hooked: Container[str] = ()
        """Paths of the layers that have hooks."""
        self.is_told = False
        """Whether a warning has said that files of single layers hold merged kernels."""
        self.losses = 0
        """Count of removed hooks."""

    def now(self) -> ActiveAdapters:
        """Returns the adapters that are active in this thread or task."""
        return chosen_for(self.model) or self.default

    def has_choice(self) -> bool:
        """Returns whether a choice was made for the current call."""
        return chosen_for(self.model) is not None

    def check_obstacle(self) -> None:
        """Raises LoraStateError if calls cannot choose adapters at present."""
        if self.obstacle is not None:
            raise LoraStateError(*self.obstacle)

    def check_choice(self, active: ActiveAdapters) -> None:
        """Raises LoraStateError if the chosen adapters were removed from the model."""
        if active.chosen_from is not self:
            raise lost_choice(active)
        self.check_obstacle()
        if active.losses != self.losses and not all(path in self.hooked for path in active.layers):
            raise lost_choice(active)


class Block:
    """A `with` block in which adapters are chosen for a model, or an outer choice is cancelled."""

    __slots__ = ("_context_id", "active", "is_over", "model")

    def __init__(self, model: weakref.ref[Any], active: ActiveAdapters | None) -> None:
        self.model, self.active, self.is_over, self._context_id = model, active, False, _context_id()

    def applies(self) -> bool:
        """Returns whether calls use this choice: always in tasks started in the block, else until the block ends."""
        return not self.is_over or self._context_id != _context_id()


def has_blocks() -> bool:
    """Returns whether this thread or task has a choice for any model."""
    return bool(_blocks.get())


def innermost_blocks() -> list[Block]:
    """Returns the block that applies to each model in this thread or task."""
    innermost: dict[weakref.ref[Any], Block] = {}
    for block in _blocks.get():
        if block.applies():
            innermost.setdefault(block.model, block)
    return list(innermost.values())


def chosen_for(model: weakref.ref[Any]) -> ActiveAdapters | None:
    """Returns the adapters chosen for a model in this thread or task, or None without a choice."""
    for block in _blocks.get():
        if block.model is model and block.applies():
            return block.active
    return None


@contextlib.contextmanager
def choosing(model: Any, active: ActiveAdapters | None) -> Iterator[None]:
    """Chooses adapters for the calls of this thread or task within the block; None cancels an outer choice.

    Blocks may end in another order than they began, or in another thread, as those of generators do.

    Raises:
        LoraStateError: the block ends without an exception, in a context that lacks the choice: calls may have lost it.
    """
    block = Block(weakref.ref(model), active)
    _blocks.set((block, *(other for other in _blocks.get() if other.applies())))
    try:
        yield
    except BaseException:
        _leave(block)
        raise
    if not _leave(block):
        problem = "A block that chose adapters ended in another thread or context than it began in, as in a generator"
        raise LoraStateError(problem, "Choose them for each call instead, with adapters=, or do not yield in the block")


def lost_choice(active: ActiveAdapters) -> LoraStateError:
    """Returns the error for chosen adapters that were removed since."""
    names = ", ".join(map(repr, active.names)) or "none"
    problem = f"Adapters of the model were unloaded, or merged for good, after a block had chosen among them ({names})"
    return LoraStateError(problem, "Leave the block, and choose among the adapters that the model has now")


def _leave(block: Block) -> bool:
    """Removes a block from this thread or task; returns False if the block is not there."""
    block.is_over = True
    blocks = _blocks.get()
    rest = tuple(other for other in blocks if other is not block)
    if len(rest) < len(blocks):
        _blocks.set(rest)
    return len(rest) < len(blocks)


def _context_id() -> tuple[int, Any]:
    """Returns the current thread's id and asyncio task."""
    try:
        return threading.get_ident(), asyncio.current_task()
    except RuntimeError:  # no event loop runs in this thread
        return threading.get_ident(), None
