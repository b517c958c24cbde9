"""How the package tells the user something: the logger and the warnings of Vertebra."""

from __future__ import annotations

import logging
import warnings

from vertebra.errors import printable

log = logging.getLogger("vertebra")


def warn(message: str) -> None:
    """Warns the user at the line that called the package."""
    warnings.warn(printable(message), UserWarning, stacklevel=4)
