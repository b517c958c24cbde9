"""A file with the outputs of one runtime, for comparison with those of another."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vertebra_bert.demo.tokens import Arrays


@dataclass(frozen=True, slots=True)
class Reference:
    """A model's inputs, and its outputs without and with the adapter."""

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
        """Reads a file that `save` has written."""
        groups: dict[str, Arrays] = {"inputs": {}, "plain": {}, "adapted": {}}
        with np.load(path) as arrays:
            for key in arrays.files:
                group, _, name = key.partition(".")
                groups[group][name] = arrays[key]
        return cls(**groups)


def largest_difference(computed: Arrays, expected: Arrays, padding_mask: np.ndarray[Any, Any]) -> float:
    """Returns the largest absolute difference between computed and expected values; NaN if one of them is NaN.

    Hidden states of padding are not compared, because they are undefined.
    """
    gaps = [np.abs(computed[name] - array) for name, array in expected.items()]
    return float(np.max([(gap[padding_mask == 1] if gap.ndim == 3 else gap).max() for gap in gaps]))
