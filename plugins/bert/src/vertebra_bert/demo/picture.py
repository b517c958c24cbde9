"""Draws the heat map as a picture, with Pillow."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from vertebra_bert.demo.heatmap import Matrix, colour_of, ink_on

_CELL, _GAP, _MARGIN = 112, 4, 36
_LABELS, _HEADS = 200, 84
"""Width of the labels at the left, and height of the labels at the top."""
_PAPER, _INK, _FAINT = (255, 255, 255), (25, 32, 44), (110, 118, 130)


def can_draw() -> bool:
    """Returns whether Pillow is installed."""
    return find_spec("PIL") is not None


def save_picture(path: Path, title: str, labels: Sequence[str], similarities: Matrix) -> None:
    """Writes the heat map as a PNG file."""
    from PIL import Image, ImageDraw

    side = len(labels) * _CELL
    size = (2 * _MARGIN + _LABELS + side, 2 * _MARGIN + 40 + _HEADS + side)
    image = Image.new("RGB", size, _PAPER)
    pen = ImageDraw.Draw(image)
    pen.text((_MARGIN, _MARGIN), title, _INK, _font(24), anchor="lt")
    left, top = _MARGIN + _LABELS, _MARGIN + 40 + _HEADS
    for index, label in enumerate(labels):
        middle = index * _CELL + _CELL // 2
        pen.text((left - 16, top + middle), label, _INK, _font(19), anchor="rm")
        _write_above(pen, left + middle, top - 12, label)
    for row, values in enumerate(similarities):
        for column, value in enumerate(values):
            _draw_cell(pen, left + column * _CELL, top + row * _CELL, float(value))
    image.save(path)


def _write_above(pen: Any, middle: int, bottom: int, label: str) -> None:
    """Writes a label above a column, wrapped at spaces to the width of a cell."""
    lines: list[str] = []
    for word in label.split():
        joined = f"{lines[-1]} {word}" if lines else word
        if lines and _font(16).getlength(joined) <= _CELL - 8:
            lines[-1] = joined
        else:
            lines.append(word)
    for up, line in enumerate(reversed(lines)):
        pen.text((middle, bottom - 20 * up), line, _FAINT, _font(16), anchor="ms")


def _draw_cell(pen: Any, left: int, top: int, similarity: float) -> None:
    ground = colour_of(similarity)
    pen.rounded_rectangle((left, top, left + _CELL - _GAP, top + _CELL - _GAP), 10, ground)
    middle = (_CELL - _GAP) // 2
    pen.text((left + middle, top + middle), f"{similarity:.2f}", ink_on(ground), _font(24), anchor="mm")


def _font(size: int) -> Any:
    from PIL import ImageFont

    return ImageFont.load_default(size)
