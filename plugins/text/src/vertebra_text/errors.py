"""Errors about single texts."""

from __future__ import annotations

from vertebra.errors import ArgumentError, VertebraError


class TextError(ArgumentError):
    """One text of a call cannot be answered, such as one that is no string; the others can."""


class ItemError(VertebraError, ValueError):
    """One item of a stream cannot be answered.

    Args:
        index: The position of the item in the stream, from 0.
        problem: Why there is no answer.
    """

    def __init__(self, index: int, problem: str) -> None:
        self.index, self.problem = index, problem
        super().__init__(
            f"Item {index:,} of the stream: {problem.rstrip('.')}. Leave it out, or pass on_error='skip', which yields "
            "this error in place of its answer."
        )
