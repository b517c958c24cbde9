"""What the demo prints: headings and facts, with colours on a terminal and plain lines elsewhere."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.text import Text

_LABEL = 11
_INDENT = "   "


class Screen:
    """Standard output, as the demo writes to it."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(highlight=False, soft_wrap=True)
        self._headings = 0

    def title(self, text: str) -> None:
        """Prints what the demo is."""
        self.console.print(Text(text, "bold"))

    def heading(self, text: str) -> None:
        """Opens the next section."""
        self._headings += 1
        self.console.print()
        self.console.print(Text.assemble((f"{self._headings}  ", "cyan"), (text, "bold")))

    def fact(self, label: str, *parts: str | tuple[str, str]) -> None:
        """Prints something with its label; a part may be a text with its style."""
        self.console.print(Text.assemble(_INDENT, (label.ljust(_LABEL), "dim"), *parts))

    def show(self, lines: Text) -> None:
        """Prints lines that are laid out already."""
        for line in lines.split("\n"):
            if not self.is_live:
                line.rstrip()
            self.console.print(Text.assemble(_INDENT, line))

    def code(self, *lines: str) -> None:
        """Prints what a reader can type."""
        for line in lines:
            self.console.print(Text.assemble(_INDENT, (line, "green")))

    @property
    def is_live(self) -> bool:
        """Whether lines can be redrawn, as a progress bar does."""
        return bool(self.console.is_terminal)


def number(value: float, digits: int = 2) -> str:
    """Returns a number as the demo writes it."""
    return f"{value:.{digits}f}"


def percent(share: Any) -> str:
    """Returns a share as the demo writes it."""
    return f"{100 * share:.1f} %"
