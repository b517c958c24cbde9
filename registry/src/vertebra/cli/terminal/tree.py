"""Draws the layers of a preset as a tree; layers that repeat are drawn once."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

from vertebra.errors import printable

_NUMBERED = re.compile(r"(.*?)(\d+)")
_DEEPEST = 50
"""Most levels to draw; an untrusted file may name a tensor with a million slashes."""


@dataclass(slots=True)
class _Node:
    """A layer, or a weight if it has no children."""

    label: str
    detail: str = ""
    parameters: int = 0
    children: dict[str, _Node] = field(default_factory=dict)

    def shape(self) -> object:
        """Returns a value that is equal for two layers if only their names differ."""
        return (self.detail, tuple((label, child.shape()) for label, child in self.children.items()))


def draw_tree(title: str, tensors: Sequence[dict[str, Any]]) -> str:
    """Returns the tree as text, for a terminal.

    Args:
        title: The root's label.
        tensors: `name` with `/` between layers, `shape`, `dtype` and `parameters` of each.
    """
    root = _Node(printable(title))
    for tensor in tensors:
        _insert(root, tensor)
    return "\n".join([f"{root.label}  {root.parameters:,}", *_branches(root, "")])


def _insert(root: _Node, tensor: dict[str, Any]) -> None:
    node = root
    node.parameters += tensor["parameters"]
    for label in printable(tensor["name"]).split("/", _DEEPEST):
        node = node.children.setdefault(label, _Node(label))
        node.parameters += tensor["parameters"]
    node.detail = f"{' × '.join(map(str, tensor['shape'])) or 'scalar'}  {tensor['dtype']}"


def _branches(node: _Node, indent: str) -> Iterator[str]:
    groups = list(_repeats(node))
    for number, (label, child, count) in enumerate(groups):
        last = number == len(groups) - 1
        detail = child.detail or f"{child.parameters:,}{' each' if count > 1 else ''}"
        yield f"{indent}{'└─' if last else '├─'} {label}  {detail}"
        yield from _branches(child, indent + ("   " if last else "│  "))


def _repeats(node: _Node) -> Iterator[tuple[str, _Node, int]]:
    """Yields each child and its count; numbered siblings in a row that differ only in number are yielded once."""
    for _, run in groupby(node.children.values(), key=_group_key):
        alike = list(run)
        first, last = alike[0], alike[-1]
        label = first.label
        if len(alike) > 1:
            stem, start = _NUMBERED.fullmatch(first.label).groups()  # type: ignore[union-attr]
            end = _NUMBERED.fullmatch(last.label).groups()[1]  # type: ignore[union-attr]
            label = f"{stem}{{{start}…{end}}} ×{len(alike)}"
        yield label, first, len(alike)


def _group_key(node: _Node) -> object:
    numbered = _NUMBERED.fullmatch(node.label)
    return (numbered.group(1), node.shape()) if numbered else node.label
