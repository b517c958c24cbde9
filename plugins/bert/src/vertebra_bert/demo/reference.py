"""What one runtime computed, in a file for another to compare with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vertebra_bert.demo.tokens import Arrays


@dataclass(frozen=True, slots=True)
class Reference:
    """Arrays, and a model's outputs for them without and with the adapter."""

    inputs: Arrays
    plain: Arrays
    adapted: Arrays

    def save(self, path: Path) -> None:
        """Writes everything into one `.npz` file."""
        groups = {"inputs": self.inputs, "plain": self.plain, "adapted": self.adapted}
        arrays = {f"{group}.{name}": array for group, items in groups.items() for name, array in items.items()}
        np.savez(path, **arrays)  # type: ignore[arg-type]

    @classmethod
    def load(cls, path: Path) -> Reference:
        """Reads what `save` wrote."""
        groups: dict[str, Arrays] = {"inputs": {}, "plain": {}, "adapted": {}}
        with np.load(path) as arrays:
            for key in arrays.files:
                group, _, name = key.partition(".")
                groups[group][name] = arrays[key]
        return cls(**groups)


def largest_difference(computed: Arrays, expected: Arrays, padding_mask: np.ndarray[Any, Any]) -> float:
    """Returns the largest difference between any two numbers; not a number if one of them is not.

    Hidden states of padding are not compared: they are what is left of sums that nothing reads.
    """
    gaps = [np.abs(computed[name] - array) for name, array in expected.items()]
    return float(np.max([(gap[padding_mask == 1] if gap.ndim == 3 else gap).max() for gap in gaps]))
