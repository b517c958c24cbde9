"""Which adapters act: in the model as it rests, or in one call alone.

A choice for a call is kept in a context variable, so it belongs to the thread or asyncio task that makes the call, and
changes nothing of the model. It is data: the layers look it up whenever they are called.
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
"""The blocks that the present thread or task is in, the innermost first."""
_numbers: weakref.WeakKeyDictionary[Any, int] = weakref.WeakKeyDictionary()
_count = itertools.count()


@dataclass(frozen=True, slots=True, eq=False)
class ActiveAdapters:
    """Adapters that act together."""

    layers: Mapping[str, Sequence[tuple[int, Any]]] = field(default_factory=dict)
    """The parts of each adapted layer, by path, each with the number of its adapter."""
    strengths: Any = None
    """Variable of shape `(adapters,)` or `(rows, adapters)`, float32; None means one adapter that acts with 1."""
    variables: Sequence[Any] = ()
    """What tells a compiled function how these adapters act, and the adapters' own variables where no layer holds
    them. Choices of adapters of the same settings have as many, of the same shapes, in the same order."""
    chosen_from: AdapterState | None = None
    """The state of the model that a call chose these adapters from; None if they act in the model as it rests."""
    names: Sequence[str] = ()
    """Names of the adapters that a call chose."""
    losses: int = 0
    """How often layers of the model had lost their hooks when the choice was made."""

    @property
    def is_choice(self) -> bool:
        """Whether it belongs to one call."""
        return self.chosen_from is not None

    @property
    def by_rows(self) -> bool:
        """Whether each row of the batch has strengths of its own."""
        return self.strengths is not None and len(self.strengths.shape) == 2

    def weigh(self, number: int, change: Any) -> Any:
        """Returns what an adapter computed, as strongly as it acts: in all, or in each row of the batch."""
        if self.strengths is None:
            return change
        strength = keras.ops.convert_to_tensor(self.strengths)[..., number]
        if len(strength.shape):
            self.check_rows(change.shape[0])
            strength = keras.ops.reshape(strength, (-1, *(1,) * (len(change.shape) - 1)))
        return change * keras.ops.cast(strength, change.dtype)

    def check_rows(self, batch: int | None) -> None:
        """Raises LoraStateError if adapters were chosen for each row of a batch of another size."""
        if self.by_rows and batch is not None and batch != self.strengths.shape[0]:
            problem = f"Adapters were chosen for {self.strengths.shape[0]} rows, and the batch has {batch}"
            raise LoraStateError(problem, "Name one adapter, or None, for each row of the batch")


class AdapterState:
    """What acts in one model."""

    def __init__(self, model: Any) -> None:
        self.model = weakref.ref(model)
        self.number = _numbers.setdefault(model, next(_count))
        """A number of the model."""
        self.default = ActiveAdapters()
        """What acts where a call makes no choice. It is replaced as a whole."""
        self.obstacle: tuple[str, str] | None = None
        """Why calls cannot choose adapters now, and what to do: the weights are not those of the base."""
        self.hooked: Container[str] = ()
        """Paths of the layers that have hooks."""
        self.losses = 0
        """How often layers have lost their hooks."""

    def now(self) -> ActiveAdapters:
        """Returns what acts in this thread or task."""
        return chosen_for(self.model) or self.default

    def has_choice(self) -> bool:
        """Says whether a choice was made for the present call."""
        return chosen_for(self.model) is not None

    def check_obstacle(self) -> None:
        """Raises LoraStateError if calls cannot choose adapters now."""
        if self.obstacle is not None:
            raise LoraStateError(*self.obstacle)

    def check_choice(self, active: ActiveAdapters) -> None:
        """Raises LoraStateError if adapters that a call chose cannot act any more."""
        if active.chosen_from is not self:
            raise lost_choice(active)
        self.check_obstacle()
        if active.losses != self.losses and not all(path in self.hooked for path in active.layers):
            raise lost_choice(active)


class Block:
    """A `with` block in which a choice was made for a model, or taken back."""

    __slots__ = ("_context_id", "active", "is_over", "model")

    def __init__(self, model: weakref.ref[Any], active: ActiveAdapters | None) -> None:
        self.model, self.active, self.is_over, self._context_id = model, active, False, _context_id()

    def applies(self) -> bool:
        """Says whether calls follow it: its own thread or task until it is over, and tasks that it started for good."""
        return not self.is_over or self._context_id != _context_id()


def has_blocks() -> bool:
    """Says whether any choice was made in this thread or task, for whatever model."""
    return bool(_blocks.get())


def innermost_blocks() -> list[Block]:
    """Returns the block that counts for each model in this thread or task."""
    found: dict[weakref.ref[Any], Block] = {}
    for block in _blocks.get():
        if block.applies():
            found.setdefault(block.model, block)
    return list(found.values())


def chosen_for(model: weakref.ref[Any]) -> ActiveAdapters | None:
    """Returns what was chosen for a model in this thread or task, if anything was."""
    for block in _blocks.get():
        if block.model is model and block.applies():
            return block.active
    return None


@contextlib.contextmanager
def choosing(model: Any, active: ActiveAdapters | None) -> Iterator[None]:
    """Makes a choice for the calls of this thread or task within the block; None takes back what was chosen.

    Blocks may end in another order than they began, or in another thread, as those of generators do.

    Raises:
        LoraStateError: the block ends regularly, and where no choice was made: the block's later calls had none.
    """
    block = Block(weakref.ref(model), active)
    _blocks.set((block, *(other for other in _blocks.get() if other.applies())))
    try:
        yield
    except BaseException:
        _leave(block)
        raise
    if not _leave(block):
        problem = "A block that chose adapters ended in another thread or context than it began in, as of a generator"
        raise LoraStateError(problem, "Choose them for each call instead, with adapters=, or do not yield in the block")


def lost_choice(active: ActiveAdapters) -> LoraStateError:
    """Returns the error for adapters that were chosen and have been given up since."""
    names = ", ".join(map(repr, active.names)) or "none"
    problem = f"Adapters of the model were unloaded, or merged for good, after a block had chosen among them ({names})"
    return LoraStateError(problem, "Leave the block, and choose among the adapters that the model has now")


def _leave(block: Block) -> bool:
    """Takes a block away from this thread or task, whatever order blocks end in; returns False if it has no such."""
    block.is_over = True
    blocks = _blocks.get()
    rest = tuple(other for other in blocks if other is not block)
    if len(rest) < len(blocks):
        _blocks.set(rest)
    return len(rest) < len(blocks)


def _context_id() -> tuple[int, Any]:
    """Returns the thread and the asyncio task that run."""
    try:
        return threading.get_ident(), asyncio.current_task()
    except RuntimeError:  # no event loop runs in this thread
        return threading.get_ident(), None
