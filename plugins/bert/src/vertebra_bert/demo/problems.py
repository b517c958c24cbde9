"""The error of the demo."""

from __future__ import annotations

from vertebra.errors import VertebraError


class DemoError(VertebraError):
    """The demo cannot continue."""

    def __init__(self, problem: str, remedy: str) -> None:
        self.problem, self.remedy = problem, remedy
        super().__init__(f"{problem}. {remedy}.")
