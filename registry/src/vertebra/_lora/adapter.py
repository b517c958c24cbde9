"""One adapter of a model: its plan, and its values while it is inactive."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from vertebra._lora.base_weights import Flags
from vertebra._lora.choices.resident import ResidentAdapter, make_resident
from vertebra._lora.layers.adapter_layers import AdapterLayers, Values
from vertebra._lora.layers.attachment import Strengths
from vertebra._lora.plan import AdapterPlan

if TYPE_CHECKING:
    import numpy as np

Weights = dict[str, "np.ndarray[Any, Any]"]
"""Values of base weights, by name."""


class Adapter:
    """An adapter of a model.

    Args:
        name: Name of the adapter.
        plan: Which layers it adapts, and how.
        base: Fingerprint of the base kernels that it was trained on, or None if that is unknown.
        values: Values of its variables, or None if its adapter layers hold them.
        co_trained: Values of its co-trained weights, while it is inactive.
    """

    def __init__(
        self, name: str, plan: AdapterPlan, base: str | None, values: Values | None, co_trained: Weights | None = None
    ) -> None:
        self.name, self.plan, self.base = name, plan, base
        self.co_trained: Weights = co_trained or {}
        self.key = plan.key()
        """Equal for all adapters of the same plan."""
        self.start: str | None = None
        """Digest of the values with which it was enabled; None if it was loaded."""
        self.exclusive = frozenset(path for path in plan.layers if not plan.strategy_of(path).is_additive)
        """Paths of the layers whose changes may not be weighted or summed."""
        self._values, self._resident = values, None

    _resident: ResidentAdapter | None

    @property
    def values(self) -> Values | None:
        """Values of its variables while it is inactive; None while it is active, when its adapter layers hold them."""
        return self._values if self._resident is None else self._resident.values()

    @values.setter
    def values(self, values: Values | None) -> None:
        self._values, self._resident = values, None

    @property
    def is_resident(self) -> bool:
        """Whether its values are in variables that calls may be using."""
        return self._resident is not None

    def resident(self, template: AdapterLayers) -> ResidentAdapter:
        """Returns the inactive adapter as variables that calls can choose.

        Args:
            template: Adapter layers of the same plan.
        """
        if self._resident is None:
            assert self._values is not None
            self._resident, self._values = make_resident(template, self._values), None
        return self._resident


@dataclass(frozen=True, slots=True)
class MergedWeight:
    """A variable of the base model that merging has changed."""

    name: str
    variable: Any
    before: np.ndarray[Any, Any]
    """Its value from before merging."""
    checksum: int
    """Checksum of its value after merging."""


@dataclass(frozen=True, slots=True)
class RollbackPoint:
    """The state before a change, to which a failed change rolls back."""

    active: tuple[Adapter, ...]
    strengths: Strengths
    values: list[Values | None]
    """Values of the active adapters."""
    co_trained: list[Weights]
    weights: Weights
    """Values of the base weights that the change may overwrite."""
    originals: Weights
    flags: Flags
