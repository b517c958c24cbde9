"""Warnings, shown at the line of the user's code that called Vertebra."""

from __future__ import annotations

import os
import sys
import warnings
from types import FrameType

from vertebra.errors import printable

_PACKAGE = os.path.join(os.path.dirname(os.path.dirname(__file__)), "")  # noqa: PTH118, PTH120 (pathlib is slower to import)


def warn(message: str, category: type[Warning] = UserWarning) -> None:
    """Issues a warning that points at the first caller outside this package."""
    # Python 3.12 and later has skip_file_prefixes for this in warnings.warn.
    level = 1
    frame: FrameType | None = sys._getframe()
    while frame is not None and frame.f_code.co_filename.startswith(_PACKAGE):
        level, frame = level + 1, frame.f_back
    warnings.warn(printable(message), category, stacklevel=level)
