"""Prompts as users give them: texts, chats or token ids."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vertebra.errors import ArgumentError
from vertebra_text import TextError

TEXTS, CHATS, IDS, ARRAYS = "texts", "chats", "ids", "arrays"
"""What the prompts of a call are; arrays are a dict of token ids and padding mask, as in KerasHub."""


@dataclass(frozen=True, slots=True)
class Prompts:
    """The prompts of one call."""

    ids: list[list[int]]
    """The token ids of each, at least one."""
    kind: str
    is_single: bool
    """Whether there is one prompt, which is in no list."""


def prompts_of(inputs: Any, tokenizer: Any, render: Callable[[Any], str], start: int | None) -> Prompts:
    """Returns the prompts of a call.

    Args:
        inputs: A text, a chat (a list of messages, dicts with `role` and `content`), a list of token ids; a list of
            these; or a dict with `token_ids` and perhaps `padding_mask`, of shape (prompts, length), whose padding may
            be on either side.
        tokenizer: The tokenizer, or None.
        render: Returns the text of a chat.
        start: The id of the token that an empty text begins with, or None.

    Raises:
        ArgumentError: the inputs are nothing of that, or texts without a tokenizer.
        TextError: a prompt has no token, or is of another kind than the first.
    """
    if isinstance(inputs, Mapping):
        if "token_ids" not in inputs:
            raise ArgumentError("generate", "inputs", sorted(inputs), "a dict with token_ids, or texts")
        return _of_arrays(inputs)
    single = isinstance(inputs, str) or _is_chat(inputs) or _is_ids(inputs)
    items = [inputs] if single else _listed(inputs)
    if not items:
        return Prompts([], TEXTS, False)
    kind = _kind(items[0])
    for number, item in enumerate(items):
        if kind is None or _kind(item) != kind:
            expected = f"a text, a chat or token ids{', as the first' if number else ''}"
            raise TextError("generate", f"inputs[{number}]", item, expected)
    if kind == IDS:
        ids = [[int(token) for token in item] for item in items]
    elif tokenizer is None:
        raise ArgumentError("generate", "inputs", items[0], "token ids, as the task has no tokenizer")
    else:
        texts = items if kind == TEXTS else [render(item) for item in items]
        ids = [_tokenized(tokenizer, text, is_rendered=kind == CHATS) for text in texts]
    for number, row in enumerate(ids):
        if not row and start is not None:
            row.append(start)
        if not row:
            expected = "a text with a token: the tokenizer has no start token"
            raise TextError("generate", f"inputs[{number}]", items[number], expected)
    return Prompts(ids, str(kind), single)


def _tokenized(tokenizer: Any, text: str, *, is_rendered: bool) -> list[int]:
    """Returns the token ids of a prompt; the text of a chat has its special tokens already."""
    found = tokenizer([text], truncation="do_not_truncate", add_special_tokens=not is_rendered)
    return [int(token) for token in found["token_ids"][0][found["padding_mask"][0] > 0]]


def _of_arrays(inputs: Mapping[str, Any]) -> Prompts:
    ids = np.asarray(inputs["token_ids"])
    single = ids.ndim == 1
    ids = np.atleast_2d(ids)
    mask = np.atleast_2d(np.asarray(inputs.get("padding_mask", np.ones_like(ids)))) > 0
    if ids.ndim != 2 or ids.dtype.kind not in "iu" or mask.shape != ids.shape:
        raise ArgumentError("generate", "token_ids", ids.shape, "ints of shape (prompts, length), as the padding mask")
    rows = [row[real].tolist() for row, real in zip(ids, mask, strict=True)]
    if not all(rows):
        raise ArgumentError("generate", "padding_mask", mask.sum(axis=1).tolist(), "at least one token in each row")
    return Prompts(rows, ARRAYS, single)


def _listed(inputs: Any) -> Sequence[Any]:
    if isinstance(inputs, bytes) or not hasattr(inputs, "__iter__"):
        raise ArgumentError("generate", "inputs", inputs, "a text, a chat, token ids, or a list of these")
    return list(inputs)


def _kind(item: Any) -> str | None:
    if isinstance(item, str):
        return TEXTS
    if _is_chat(item):
        return CHATS
    return IDS if _is_ids(item) else None


def _is_chat(item: Any) -> bool:
    return isinstance(item, list | tuple) and bool(item) and all(isinstance(part, Mapping) for part in item)


def _is_ids(item: Any) -> bool:
    if isinstance(item, np.ndarray):
        return item.ndim == 1 and item.dtype.kind in "iu"
    is_list = isinstance(item, list | tuple) and bool(item)
    return is_list and all(isinstance(part, int | np.integer) and not isinstance(part, bool) for part in item)
