"""`StopStrings`: finds the first text of several in a text that arrives in pieces."""

from __future__ import annotations

from collections.abc import Sequence


class StopStrings:
    """Finds the stop string that is complete first, wherever the pieces of a text begin and end.

    Of two that are complete at once, the longer one counts, as nothing of a stop string belongs to the answer.

    Args:
        strings: The stop strings, none of them empty.
    """

    def __init__(self, strings: Sequence[str]) -> None:
        self.strings = tuple(dict.fromkeys(strings))
        self._longest = max(map(len, self.strings), default=0)

    def __bool__(self) -> bool:
        return bool(self.strings)

    def find(self, text: str, checked: int = 0) -> tuple[int, str] | None:
        """Returns the position of the first stop string that is complete, and the string, or None.

        Args:
            text: The text.
            checked: How many of its first characters are known to hold no complete stop string.
        """
        start = max(0, checked - self._longest + 1)
        found = [(text.find(string, start), string) for string in self.strings]
        complete = [(position + len(string), position, string) for position, string in found if position >= 0]
        if not complete:
            return None
        _, position, string = min(complete)
        return position, string

    def held(self, text: str) -> int:
        """Returns how many of the last characters may be the beginning of a stop string."""
        for length in range(min(self._longest - 1, len(text)), 0, -1):
            end = text[-length:]
            if any(string.startswith(end) for string in self.strings):
                return length
        return 0
