"""Makes a SentencePiece model from a tokenizer of which only the `tokenizer.json` was read."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Collection, Mapping
from typing import Any

from vertebra_text.tokenizers.families import UNIGRAM
from vertebra_text.tokenizers.files import sentencepiece
from vertebra_text.tokenizers.files.parts import TokenizerParts
from vertebra_text.tokenizers.files.sentencepiece import Normalizer, Piece, SentencePieceModel, Trainer
from vertebra_text.tokenizers.files.spm_vocabulary import merges_of

_BYTE = re.compile(r"<0x[0-9A-F]{2}>")
_SENTINEL = re.compile(r"<extra_id_\d+>")
_XLM_ROBERTA = ("<unk>", "<s>", "</s>")
"""The first pieces of XLM-RoBERTa's model; its vocabulary has others in their place, and a mask at the end."""


def charsmap_of(normalizer: Any) -> bytes:
    """Returns SentencePiece's rules from a normalizer of the `tokenizers` library, or no bytes if it has none."""
    state = None if normalizer is None else json.loads(normalizer.__getstate__())
    if not state or state["type"] != "Precompiled":
        return b""
    return base64.b64decode(state["precompiled_charsmap"])


def sentencepiece_model(parts: TokenizerParts, roles: Collection[str]) -> SentencePieceModel:
    """Returns a model that gives a tokenizer's ids.

    Args:
        parts: A tokenizer of a family of SentencePiece.
        roles: The roles of the special tokens that are not found in texts.

    Raises:
        ValueError: SentencePiece has no such model; the text says why.
    """
    assert parts.family is not None
    model = json.loads(parts.backend.to_str())["model"]
    if parts.family.algorithm != UNIGRAM:
        return _of_bpe(parts, model, roles)
    scored = [(text, float(score)) for text, score in model["vocab"]]
    normalizer = Normalizer(name="nmt_nfkc", charsmap=charsmap_of(parts.backend.normalizer))
    if parts.family.name == "XLMRobertaTokenizer":
        scored = [*((text, 0.0) for text in _XLM_ROBERTA), *scored[4:-1]]
        types = {_XLM_ROBERTA[0]: sentencepiece.UNKNOWN} | dict.fromkeys(_XLM_ROBERTA[1:], sentencepiece.CONTROL)
        return SentencePieceModel(_pieces(scored, types), Trainer(), normalizer)
    scored = [piece for piece in scored if not _SENTINEL.fullmatch(piece[0])]
    return SentencePieceModel(_pieces(scored, _types(parts, roles)), _trainer(parts), normalizer)


def _of_bpe(parts: TokenizerParts, model: Mapping[str, Any], roles: Collection[str]) -> SentencePieceModel:
    vocabulary: dict[str, int] = model["vocab"]
    ids = sorted(vocabulary.values())
    if ids != list(range(len(ids))):
        raise ValueError("its ids have gaps, and SentencePiece numbers all pieces")
    merges = [tuple(merge.split(" ")) if isinstance(merge, str) else tuple(merge) for merge in model["merges"]]
    if merges != merges_of(vocabulary):
        raise ValueError("its merges are not in the order of its ids, as SentencePiece's are")
    scored = [(text, -float(index)) for text, index in sorted(vocabulary.items(), key=lambda pair: pair[1])]
    prefix = parts.family is not None and parts.options.get("add_prefix_space", False)
    normalizer = Normalizer("identity", add_dummy_prefix=prefix, remove_extra_whitespaces=False)
    trainer = _trainer(parts, model_type=sentencepiece.BPE, byte_fallback=True)
    return SentencePieceModel(_pieces(scored, _types(parts, roles)), trainer, normalizer)


def _pieces(scored: list[tuple[str, float]], types: Mapping[str, int]) -> tuple[Piece, ...]:
    def kind(text: str) -> int:
        return types.get(text, sentencepiece.BYTE if _BYTE.fullmatch(text) else sentencepiece.NORMAL)

    return tuple(
        Piece(text, score if kind(text) == sentencepiece.NORMAL else 0.0, kind(text)) for text, score in scored
    )


def _types(parts: TokenizerParts, roles: Collection[str]) -> dict[str, int]:
    """Returns the types of the added tokens: those that are found in texts are the user's own symbols."""
    added = (token.content for token in parts.backend.get_added_tokens_decoder().values())
    types = dict.fromkeys(added, sentencepiece.USER_DEFINED)
    types |= {parts.special[role]: sentencepiece.CONTROL for role in roles if role in parts.special}
    return types | {parts.special["unk"]: sentencepiece.UNKNOWN}


def _trainer(parts: TokenizerParts, **options: Any) -> Trainer:
    """Returns the ids and texts of the special tokens; a missing one has the id -1."""
    fields: dict[str, Any] = dict(options)
    for role in ("unk", "bos", "eos", "pad"):
        text = parts.special.get(role)
        fields[f"{role}_id"] = -1 if text is None else parts.backend.token_to_id(text)
        fields |= {} if text is None else {f"{role}_piece": text}
    return Trainer(**fields)
