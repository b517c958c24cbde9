"""Checks of tokens and keys, before a client library fails on them with an error that looks like a network problem."""

from __future__ import annotations

from vertebra.errors import SettingsError

_QUOTES = ('"', "'", "`", "\u2018", "\u2019", "\u201c", "\u201d")


def check_credential(origin: str, text: str) -> None:
    """Checks that a token, user name or key can be sent in a header; the error does not show it.

    Args:
        origin: The variable or file that has it, for the message.
        text: The token, user name or key.

    Raises:
        SettingsError: it has other characters than the printable ones of ASCII, is in quotes, or begins with `Bearer`.
    """
    if text.lower().startswith("bearer "):
        problem = "it begins with 'Bearer', which is added when it is sent"
    elif text.startswith(_QUOTES) or text.endswith(_QUOTES):
        problem = "it begins or ends with a quotation mark"
    elif any(character.isspace() or not character.isprintable() for character in text):
        problem = "it contains a space, a line break or an invisible character"
    elif not text.isascii():
        problem = "it contains a letter that is not ASCII"
    else:
        return
    raise SettingsError(origin, problem, "Copy it again, as the service shows it")
