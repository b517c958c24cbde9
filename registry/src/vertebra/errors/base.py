"""The base class of all errors, and text helpers that several errors share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

_MOST_CHARACTERS = 4_000


class VertebraError(Exception):
    """Base class of every error that Vertebra raises on purpose."""

    _keras_call_info_injected = True
    """Tells Keras to raise this error unchanged, and not wrapped in a `RuntimeError` with the layer's arguments."""

    def __init__(self, message: str) -> None:
        rest = len(message) - _MOST_CHARACTERS  # a value from a hostile file may be megabytes long
        text = message if rest <= 0 else f"{message[:_MOST_CHARACTERS]} … ({rest:,} characters more)"
        super().__init__(printable(text))  # a traceback goes to the terminal

    def add_note(self, note: str) -> None:
        """Adds a note, which is shown below the message."""
        super().add_note(printable(note))

    def __reduce__(self) -> tuple[Any, ...]:
        # Python's default calls the class with the message alone. Errors of worker processes are copied this way, too.
        return _rebuild, (type(self), self.args, self.__dict__)


def _rebuild(kind: type[VertebraError], arguments: tuple[Any, ...], attributes: dict[str, Any]) -> VertebraError:
    # Python refuses the `__new__` of a ValueError, say, for a class that is an OSError, too.
    error: VertebraError = (OSError if issubclass(kind, OSError) else kind).__new__(kind)
    error.args = arguments
    error.__dict__.update(attributes)
    return error


class ArgumentError(VertebraError, TypeError, ValueError):
    """An argument of a function has the wrong type or value."""

    def __init__(self, function: str, argument: str, value: object, expected: str) -> None:
        self.function, self.argument, self.value, self.expected = function, argument, value, expected
        super().__init__(f"{function}: {argument}={shown(value)}, expected {ended(expected)} Correct the argument.")


# === Text helpers ===


def printable(text: str, escape: Callable[[str], str] = lambda character: ascii(character)[1:-1]) -> str:
    r"""Returns a text for a terminal, which no name of a file, tensor or plugin can control.

    Characters of the C0 and C1 sets (escape sequences, line breaks), marks that reorder a line, invisible characters
    and lone surrogates are escaped: those that `str.isprintable` does not count as printable.

    Args:
        text: Any text, such as a name in an untrusted file.
        escape: Returns the text to show instead of a character; by default its escape in Python, such as `\x1b`.
    """
    if text.isprintable():
        return text
    return "".join(character if character.isprintable() else escape(character) for character in text)


def exception_text(error: BaseException) -> str:
    """Returns the class and text of an exception of other code, such as `ValueError: wrong`, shortened, in any case."""
    name = type(error).__name__
    try:
        return f"{name}: {error}".removesuffix(": ")[:_MOST_CHARACTERS]
    except Exception:
        return f"{name} (without a text: str() of it failed)"


def shown(value: object, most: int = 200) -> str:
    """Returns the representation of a value, shortened: users and files may give thousands of characters."""
    try:
        text = repr(value)
    except ValueError:  # Python refuses to print ints of more than 4,300 digits
        return f"<{type(value).__name__}, too long to show>"
    return text if len(text) <= most else f"{text[:most]}… ({len(text) - most:,} characters more)"


def close_names(name: str, known: Iterable[str]) -> list[str]:
    """Returns up to three known names that look like `name`, best first."""
    import difflib  # only errors with a hint need it

    by_lower = {candidate.lower(): candidate for candidate in known}
    return [by_lower[match] for match in difflib.get_close_matches(name.lower(), by_lower, n=3, cutoff=0.6)]


def ended(text: str) -> str:
    """Returns a text as a sentence: adds a full stop unless it ends with a punctuation mark, as `PRESET...` does."""
    return text if text.endswith((".", "?", "!")) else f"{text}."


def did_you_mean(names: Sequence[str]) -> str:
    return f" Did you mean {', '.join(repr(name) for name in names)}?" if names else ""


def listing(label: str, names: Sequence[str]) -> str:
    return f"{len(names)} {label}: {shorten(names)}" if names else ""


def shorten(names: Sequence[str], most: int = 20) -> str:
    rest = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + rest
