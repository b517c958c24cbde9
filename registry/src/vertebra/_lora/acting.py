"""Which adapters act: in the model as it rests, or in one call alone.

A choice for a call is kept in a context variable, so it belongs to the thread or asyncio task that makes the call, and
changes nothing of the model. It is data: the layers look it up whenever they are called.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import keras

from vertebra.errors import LoraStateError

_chosen: ContextVar[tuple[tuple[ActingState, Acting | None], ...]] = ContextVar("vertebra_lora_chosen", default=())


@dataclass(frozen=True, slots=True, eq=False)
class Acting:
    """Adapters that act together."""

    parts: Mapping[str, Sequence[tuple[int, Any]]] = field(default_factory=dict)
    """The parts of each adapted layer, by path, each with the number of its adapter."""
    strengths: Any = None
    """Variable of shape `(adapters,)` or `(rows, adapters)`, float32; None means one adapter that acts with 1."""
    variables: Sequence[Any] = ()
    """What tells a compiled function how these adapters act, and the adapters' own variables where no layer holds
    them. Choices of adapters of the same settings have as many, of the same shapes, in the same order."""
    is_choice: bool = False
    """Whether it belongs to one call."""

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
            _check_rows(strength.shape[0], change.shape[0])
            strength = keras.ops.reshape(strength, (-1, *(1,) * (len(change.shape) - 1)))
        return change * keras.ops.cast(strength, change.dtype)


class ActingState:
    """What acts in one model."""

    def __init__(self) -> None:
        self.resting = Acting()
        """What acts where a call makes no choice. It is replaced as a whole."""
        self.obstacle: tuple[str, str] | None = None
        """Why calls cannot choose adapters now, and what to do: the weights are not those of the base."""

    def now(self) -> Acting:
        """Returns what acts in this thread or task."""
        for state, acting in _chosen.get():
            if state is self:
                return acting or self.resting
        return self.resting

    def has_choice(self) -> bool:
        """Says whether a choice was made for the present call."""
        return self.now().is_choice

    @contextlib.contextmanager
    def choosing(self, acting: Acting | None) -> Iterator[None]:
        """Makes a choice for the calls of this thread or task within the block; None takes back what was chosen."""
        token = _chosen.set(((self, acting), *_chosen.get()))
        try:
            yield
        finally:
            _chosen.reset(token)

    def check_choice(self) -> None:
        """Raises LoraStateError if calls cannot choose adapters now."""
        if self.obstacle is not None:
            raise LoraStateError(*self.obstacle)


def _check_rows(rows: int, batch: int | None) -> None:
    if batch is not None and batch != rows:
        problem = f"Adapters were chosen for {rows} rows, and the batch has {batch}"
        raise LoraStateError(problem, "Name one adapter, or None, for each row of the batch")
