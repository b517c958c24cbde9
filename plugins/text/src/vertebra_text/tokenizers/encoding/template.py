"""`Template`: the positions of special tokens in a sequence, read from the post-processor of a tokenizer."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Slot:
    """Special tokens at one position."""

    ids: tuple[int, ...] = ()
    segments: tuple[int, ...] = ()
    """The segment id of each token."""


@dataclass(frozen=True, slots=True)
class Template:
    """A sequence: `slots[0]`, the first text, `slots[1]`, and for a pair the second text and `slots[2]`."""

    slots: tuple[Slot, ...]
    segments: tuple[int, ...] = (0, 1)
    """The segment id of each text."""

    @property
    def num_special_tokens(self) -> int:
        return sum(len(slot.ids) for slot in self.slots)


PLAIN = Template((Slot(), Slot()), (0,))
PLAIN_PAIR = Template((Slot(), Slot(), Slot()), (0, 1))
"""No special tokens; the `tokenizers` library gives the second text the segment id 1."""


def templates_of(post_processor: Any) -> tuple[Template, Template]:
    """Returns the templates of one text and of a pair.

    Args:
        post_processor: A post-processor of the `tokenizers` library, or None.

    Raises:
        ValueError: the post-processor does not put each text into the sequence once, the first one first.
    """
    if post_processor is None:
        return PLAIN, PLAIN_PAIR
    found = _templates(json.loads(post_processor.__getstate__()))
    for template in found:
        values = [*template.segments, *(value for slot in template.slots for value in (*slot.ids, *slot.segments))]
        if max(values, default=0) >= 2**31:
            raise ValueError(f"the id {max(values)} is beyond int32")
    return found


def _templates(state: Mapping[str, Any]) -> tuple[Template, Template]:
    kind = state["type"]
    if kind == "Sequence":
        for part in state["processors"]:
            found = _templates(part)
            if found != (PLAIN, PLAIN_PAIR):
                return found
        return PLAIN, PLAIN_PAIR
    if kind == "ByteLevel":
        return PLAIN, PLAIN_PAIR
    if kind in ("BertProcessing", "RobertaProcessing"):
        return _of_two_tokens(kind, (state["cls"][1],), (state["sep"][1],))
    if kind == "TemplateProcessing":
        ids = {name: tuple(token["ids"]) for name, token in state["special_tokens"].items()}
        single = _of_pieces(state["single"], ids, "A")
        return single, _of_pieces(state["pair"], ids, "AB") if state["pair"] else PLAIN_PAIR
    raise ValueError(f"post-processors of type {kind} are not supported")


def _of_two_tokens(kind: str, cls: tuple[int, ...], sep: tuple[int, ...]) -> tuple[Template, Template]:
    single = Template((Slot(cls, (0,)), Slot(sep, (0,))), (0,))
    if kind == "RobertaProcessing":
        return single, Template((Slot(cls, (0,)), Slot((*sep, *sep), (0, 0)), Slot(sep, (0,))), (0, 0))
    return single, Template((Slot(cls, (0,)), Slot(sep, (0,)), Slot(sep, (1,))), (0, 1))


def _of_pieces(pieces: list[Mapping[str, Any]], ids: Mapping[str, tuple[int, ...]], texts: str) -> Template:
    """Reads the pieces of a template, each a special token or a text, with its segment id."""
    slots, segments, order = [Slot()], [], ""
    for piece in pieces:
        if "Sequence" in piece:
            order += piece["Sequence"]["id"]
            segments.append(piece["Sequence"]["type_id"])
            slots.append(Slot())
        else:
            token = piece["SpecialToken"]
            found = ids[token["id"]]
            slots[-1] = Slot(slots[-1].ids + found, slots[-1].segments + (token["type_id"],) * len(found))
    if order != texts:
        raise ValueError(f"its template has the texts {order or 'nowhere'}, expected {texts}")
    return Template(tuple(slots), tuple(segments))
