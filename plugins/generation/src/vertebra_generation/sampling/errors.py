"""Errors of logits."""

from __future__ import annotations

from vertebra.errors import VertebraError


class LogitsError(VertebraError, ValueError):
    """No token can be chosen for a row, because of its logits.

    Args:
        row: The number of the row.
        step: The number of the token in the answer, from 0.
        problem: Why no token can be chosen.
        remedy: What to do.
    """

    def __init__(self, row: int, step: int, problem: str, remedy: str) -> None:
        self.row, self.step, self.problem = row, step, problem
        super().__init__(f"No token can be chosen for row {row:,} at step {step:,}: {problem}. {remedy}.")
