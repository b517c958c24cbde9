"""Errors of the `tokenizers` library as errors of a preset's file."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from vertebra.errors import PresetConfigError, VertebraError, exception_text

_PANIC = "PanicException"
"""The class of exceptions for bugs of the library, which is no subclass of Exception."""


@contextlib.contextmanager
def file_errors(subject: object, remedy: str = "") -> Iterator[None]:
    """Raises errors of the block as PresetConfigError.

    Args:
        subject: The file, for the message.
        remedy: What the user can do, or nothing for the usual remedy.
    """
    try:
        yield
    except VertebraError:
        raise
    except Exception as error:
        raise PresetConfigError(subject, f"it is not a valid tokenizer ({_shown(error)})", remedy) from error
    except BaseException as error:
        if type(error).__name__ != _PANIC:
            raise
        raise PresetConfigError(subject, f"the tokenizers library fails on it ({_shown(error)})", remedy) from error


def _shown(error: BaseException) -> str:
    """Returns the beginning of an error's text, which may quote the file."""
    return exception_text(error)[:300]
