"""What can go wrong in the demo."""

from __future__ import annotations

from vertebra.errors import VertebraError


class DemoError(VertebraError):
    """The demo cannot go on."""

    def __init__(self, problem: str, remedy: str) -> None:
        self.problem, self.remedy = problem, remedy
        super().__init__(f"{problem}. {remedy}.")
