"""Draws a matrix of similarities as a small heat map in the terminal; without colours, it shows only the numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from rich.text import Text

Matrix = np.ndarray[Any, Any]
Colour = tuple[int, int, int]

_SCALE: tuple[Colour, ...] = ((247, 244, 233), (184, 222, 191), (92, 173, 170), (35, 110, 143), (22, 52, 97))
"""Colours of evenly spaced similarities from 0 to 1."""


def colour_of(similarity: float) -> Colour:
    """Returns the colour of a similarity; values below 0 get the colour of 0."""
    position = float(np.clip(similarity, 0, 1)) * (len(_SCALE) - 1)
    below = min(int(position), len(_SCALE) - 2)
    pairs = zip(_SCALE[below], _SCALE[below + 1], strict=True)
    red, green, blue = (round(low + (high - low) * (position - below)) for low, high in pairs)
    return red, green, blue


def ink_on(colour: Colour) -> Colour:
    """Returns a readable text colour for a background colour."""
    red, green, blue = colour
    return (255, 255, 255) if 0.30 * red + 0.59 * green + 0.11 * blue < 140 else (25, 32, 44)


def heat_map(labels: Sequence[str], similarities: Matrix) -> Text:
    """Returns a line for each label, with its similarities as numbers on a coloured background."""
    width = max(map(len, labels))
    heads = "".join(f"{column:^6}" for column in range(1, len(labels) + 1))
    lines = [Text(" " * (width + 4) + heads.rstrip(), "dim")]
    for row, label in enumerate(labels):
        cells = [_cell(value) for value in similarities[row]]
        lines.append(Text.assemble((f"{row + 1}", "dim"), f" {label.ljust(width)}  ", *cells))
    return Text("\n").join(lines)


def _cell(similarity: float) -> tuple[str, str]:
    ground = colour_of(similarity)
    ink = ink_on(ground)
    return f"{similarity:^6.2f}", f"rgb({','.join(map(str, ink))}) on rgb({','.join(map(str, ground))})"
