"""Sizes in bytes as arguments of the command."""

from __future__ import annotations

import argparse
import contextlib
import re


def parse_size(text: str) -> float:
    """Returns the bytes of a size such as `500MB` or `2GB`, or of `2GiB`.

    Raises:
        ArgumentTypeError: the text is no size.
    """
    found = re.fullmatch(r"([0-9.]+) ?([kmgt]?)(i?)b?", text.strip(), re.IGNORECASE)
    with contextlib.suppress(ValueError):
        if found:
            unit = 1024 if found[3] else 1000
            return float(found[1]) * float(unit ** " kmgt".index(found[2].lower() or " "))
    raise argparse.ArgumentTypeError(f"{text!r} is not a size, such as 500MB or 2GB")
