"""The log of this package and its plugins: the logger `vertebra`, whose messages are printable."""

from __future__ import annotations

import contextlib
import logging

from vertebra.errors import printable


class _Printable(logging.Filter):
    """Escapes the characters that control a terminal, which a name from an untrusted file may have."""

    def filter(self, record: logging.LogRecord) -> bool:
        with contextlib.suppress(Exception):  # of arguments that do not fit the message, which handlers report
            message = record.getMessage()
            if not message.isprintable():
                record.msg, record.args = printable(message), ()
        return True


log = logging.getLogger("vertebra")
"""Plugins log to the same logger, by its name."""
log.addFilter(_Printable())
