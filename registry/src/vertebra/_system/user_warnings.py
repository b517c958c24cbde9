"""Warnings, shown at the line of the user's code that called Vertebra."""

from __future__ import annotations

import os
import sys
import warnings
from types import FrameType

_PACKAGE = os.path.join(os.path.dirname(os.path.dirname(__file__)), "")  # noqa: PTH118, PTH120 (pathlib is slower to import)


def warn(message: str) -> None:
    """Warns, on behalf of the first caller outside this package."""
    # From Python 3.12 on, warnings.warn does so itself, with skip_file_prefixes.
    level = 1
    frame: FrameType | None = sys._getframe()
    while frame is not None and frame.f_code.co_filename.startswith(_PACKAGE):
        level, frame = level + 1, frame.f_back
    warnings.warn(message, stacklevel=level)
