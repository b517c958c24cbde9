"""Errors of runs on Ray."""

from __future__ import annotations

from vertebra.errors import VertebraError


class RayError(VertebraError, RuntimeError):
    """A run on Ray cannot start, or its actors failed."""

    def __init__(self, problem: str, remedy: str) -> None:
        self.problem = problem
        super().__init__(f"{problem.rstrip('.')}. {remedy}.")
