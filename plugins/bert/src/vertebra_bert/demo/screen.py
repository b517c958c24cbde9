"""Output of the demo: headings and labelled lines, with colours on a terminal."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.text import Text

_LABEL = 11
_INDENT = "   "


class Screen:
    """Prints the demo's output to a console."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(highlight=False, soft_wrap=True)
        self._headings = 0

    def title(self, text: str) -> None:
        """Prints the title of the demo."""
        self.console.print(Text(text, "bold"))

    def heading(self, text: str) -> None:
        """Prints the heading of the next section."""
        self._headings += 1
        self.console.print()
        self.console.print(Text.assemble((f"{self._headings}  ", "cyan"), (text, "bold")))

    def fact(self, label: str, *texts: str | tuple[str, str]) -> None:
        """Prints a labelled line of texts, each with or without a style."""
        self.console.print(Text.assemble(_INDENT, (label.ljust(_LABEL), "dim"), *texts))

    def show(self, lines: Text) -> None:
        """Prints preformatted lines."""
        for line in lines.split("\n"):
            if not self.is_live:
                line.rstrip()
            self.console.print(Text.assemble(_INDENT, line))

    def code(self, *lines: str) -> None:
        """Prints commands and code that the user can run."""
        for line in lines:
            self.console.print(Text.assemble(_INDENT, (line, "green")))

    @property
    def is_live(self) -> bool:
        """Whether lines can be redrawn, as a progress bar does."""
        return bool(self.console.is_terminal)


def number(value: float, digits: int = 2) -> str:
    """Returns a number with a fixed count of decimals."""
    return f"{value:.{digits}f}"


def percent(share: Any) -> str:
    """Returns a share as a percentage."""
    return f"{100 * share:.1f} %"
