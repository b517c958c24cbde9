"""Errors of long runs."""

from __future__ import annotations

from vertebra.errors import VertebraError


class RecordError(VertebraError, ValueError):
    """A record of the input cannot be read, or has no text."""

    def __init__(self, source: str, number: int, problem: str) -> None:
        self.source, self.number, self.problem = source, number, problem
        super().__init__(f"{source}, record {number:,}: {problem}. Correct it, or pass --skip-bad to go on without it.")


class OutputError(VertebraError, OSError):
    """The output of a run cannot be written or continued."""

    def __init__(self, path: object, problem: str, remedy: str) -> None:
        self.path, self.problem = path, problem
        super().__init__(f"{path}: {problem}. {remedy}.")
