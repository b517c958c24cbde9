"""A file with the answers of one runtime, for comparison with those of another."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vertebra_bert.demo.sentences import COMPARED, HELD_OUT_PAIRS, PUBLISHED, labelled

TEXTS = (*PUBLISHED, *COMPARED, *labelled(HELD_OUT_PAIRS)[0])
"""The texts that each runtime embeds and classifies."""


@dataclass(frozen=True, slots=True)
class Reference:
    """The answers for `TEXTS`."""

    vectors: np.ndarray[Any, Any]
    """The vectors of the embedder, without the adapter."""
    probabilities: np.ndarray[Any, Any]
    """The probabilities of the classifier, with the adapter."""

    def save(self, path: Path) -> None:
        """Writes the answers into one `.npz` file."""
        np.savez(path, **asdict(self))

    @classmethod
    def load(cls, path: Path) -> Reference:
        """Reads a file that `save` has written."""
        with np.load(path) as arrays:
            return cls(**{name: arrays[name] for name in arrays.files})

    def differences(self, other: Reference) -> tuple[float, float]:
        """Returns the largest absolute difference of vectors and of probabilities; NaN if a value is NaN."""
        gaps = np.abs(self.vectors - other.vectors), np.abs(self.probabilities - other.probabilities)
        return float(gaps[0].max()), float(gaps[1].max())
