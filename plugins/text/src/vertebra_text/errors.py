"""Errors about single texts."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from vertebra.errors import ArgumentError, VertebraError


class TextError(ArgumentError):
    """One text of a call cannot be answered, such as one that is no string; its position is in the argument's name."""

    def renumbered(self, position: Callable[[int], int]) -> TextError:
        """Returns the error with another position, for a text of a part of a longer list.

        Args:
            position: Returns the position in the list for one in the part.
        """
        name, _, index = self.argument.rstrip("]").partition("[")
        if not index.isdigit():
            return self
        return TextError(self.function, f"{name}[{position(int(index))}]", self.value, self.expected)


def require_single_texts(task: str, texts: Sequence[object]) -> None:
    """Refuses pairs of texts, for a task whose answers are about positions in one text.

    Args:
        task: Name of the task.
        texts: Texts or pairs; other values are refused when they are encoded.

    Raises:
        TextError: an item is a pair.
    """
    for number, text in enumerate(texts):
        if isinstance(text, list | tuple):
            raise TextError(task, f"texts[{number}]", text, "a text; there are no answers for pairs")


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
