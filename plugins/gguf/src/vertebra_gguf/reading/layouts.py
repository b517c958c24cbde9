"""How llama.cpp's converter arranges the values of a tensor otherwise than transformers."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Layout:
    """One of the ways in which a file has the values of a tensor."""

    transposed: bool = False
    """Whether the two axes are in the other order."""
    shift: float = 0.0
    """A number that was added to each value."""
    heads: int = 0
    """The number of heads whose rows are in another order: the two halves of a head, which rotations pair, alternate.
    0 if they are not."""

    def stored(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Returns the shape in the file of a tensor of this shape."""
        return shape[::-1] if self.transposed else shape
