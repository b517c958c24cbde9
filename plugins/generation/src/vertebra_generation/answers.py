"""Answers of `CausalLM.generate`, and the pieces in which they arrive."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer to a prompt."""

    token_ids: list[int]
    """Its token ids, without those of the prompt; with the stop token, if one ended it."""
    text: str | None
    """Its text, without the stop token and without what follows a stop string; None without a tokenizer."""
    finish_reason: str
    """Why it ended: "stop_token", "stop_string", "length" for `max_new_tokens`, or "context" for the most positions of
    the backbone."""
    score: float
    """The sum of its tokens' log-probabilities; for beam search that by which beams are compared."""
    log_probs: list[float] | None = None
    """The log-probability of each token, after penalties; None for beam search."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of an answer, as soon as later tokens cannot change it."""

    text: str
    """Further text of the answer, which may be empty."""
    prompt: int = 0
    """The index of the prompt."""
    number: int = 0
    """The number of the answer among those to the prompt."""
    token_id: int | None = None
    """The token of this step, or None at the end of an answer that has its most tokens."""
    finish_reason: str | None = None
    """Why the answer ends with this piece, as in `Answer`; None if it goes on."""
