"""How the package tells the user something: the logger and the warnings of Vertebra."""

from __future__ import annotations

import logging
import warnings

log = logging.getLogger("vertebra")


def warn(message: str) -> None:
    """Warns the user at the line that called the package."""
    warnings.warn(message, UserWarning, stacklevel=4)
