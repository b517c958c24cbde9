"""Paths as users write them."""

from __future__ import annotations

import os
from pathlib import Path


def full_path(text: str | os.PathLike[str]) -> Path:
    """Returns an absolute path, with `~` as the home; links stay as they are, and users that are unknown, too."""
    return Path(os.path.abspath(os.path.expanduser(text)))  # noqa: PTH111 (Path's raise, or follow links)
