"""Attributes of a tokenizer for its special tokens, such as `cls_token` and `cls_token_id`."""

from __future__ import annotations

from typing import Any


class SpecialToken:
    """The text of a special token, or None if the tokenizer has none.

    Args:
        *roles: The role of the token, and those that are looked up if the tokenizer does not have it.
    """

    def __init__(self, *roles: str) -> None:
        self._roles = roles

    def __get__(self, tokenizer: Any, owner: type | None = None) -> str | None:
        return next((tokenizer.special[role] for role in self._roles if role in tokenizer.special), None)


class SpecialId(SpecialToken):
    """The id of a special token, or None if the tokenizer has none."""

    def __get__(self, tokenizer: Any, owner: type | None = None) -> int | None:  # type: ignore[override]
        token = super().__get__(tokenizer, owner)
        return None if token is None else tokenizer.token_to_id(token)
