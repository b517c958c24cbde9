"""From the pieces of a SentencePiece model to the vocabulary of a family: each has its own ids."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

from tokenizers import AddedToken, Tokenizer

from vertebra.errors import PresetConfigError
from vertebra_text.tokenizers import pipelines
from vertebra_text.tokenizers.families import SPM_BPE, UNIGRAM, Family
from vertebra_text.tokenizers.files import sentencepiece
from vertebra_text.tokenizers.files.sentencepiece import SentencePieceModel

Scored = list[tuple[str, float]]
"""Pieces with their scores, in the order of their ids."""
_UNUSED = -100.0
"""The score of a piece that is never chosen."""
_NAMES = {sentencepiece.UNIGRAM: UNIGRAM, sentencepiece.BPE: SPM_BPE}


def build_backend(
    model: SentencePieceModel,
    family: Family,
    special: Mapping[str, str],
    options: Mapping[str, Any],
    subject: object,
    finds_special: bool = True,
) -> Tokenizer:
    """Builds a tokenizer from a SentencePiece model, without added tokens.

    Args:
        model: The model.
        family: The family that gives the ids.
        special: The special tokens, by role.
        options: The family's options.
        subject: The file, for messages.
        finds_special: Whether the pieces of special tokens are found in texts: by transformers, not by SentencePiece.

    Raises:
        PresetConfigError: the model is of another algorithm than the family's.
    """
    found = _NAMES.get(model.trainer.model_type, f"type {model.trainer.model_type}")
    if found != family.algorithm:
        raise PresetConfigError(subject, f"its SentencePiece model is {found}, but {family.name} is {family.algorithm}")
    hidden = {*special.values(), *(p.text for p in model.pieces if p.type == sentencepiece.CONTROL)}
    if found == UNIGRAM:
        pieces = scored_pieces(model, family, special, options)
        backend = pipelines.unigram(pieces if finds_special else _without(hidden, pieces), special["unk"])
    else:
        vocabulary = {piece.text: index for index, piece in enumerate(model.pieces)}
        unk = special["unk"] if family.name == "GemmaTokenizer" else None
        merges = merges_of(vocabulary)
        if not finds_special:
            merges = [pair for pair in merges if "".join(pair) not in hidden]
        backend = pipelines.spm_bpe(vocabulary, merges, unk)
    pipelines.set_pipeline(backend, family, options, model.normalizer.charsmap)
    return backend


def _without(hidden: Collection[str], pieces: Scored) -> Scored:
    """Returns pieces of which some are never the best for a text, whatever the others are."""
    worst = min(score for _, score in pieces) + _UNUSED
    return [(text, worst if text in hidden else score) for text, score in pieces]


def control_tokens(model: SentencePieceModel, options: Mapping[str, Any]) -> tuple[AddedToken, ...]:
    """Returns the pieces that are found in a text as a whole: control symbols and the user's own symbols."""
    kinds = {sentencepiece.CONTROL: True, sentencepiece.USER_DEFINED: False}
    found = [AddedToken(p.text, normalized=False, special=kinds[p.type]) for p in model.pieces if p.type in kinds]
    sentinels = [text for text, _ in _sentinels(options.get("extra_ids", 0))]
    return (*found, *(AddedToken(text, normalized=False, special=True) for text in sentinels))


def scored_pieces(
    model: SentencePieceModel, family: Family, special: Mapping[str, str], options: Mapping[str, Any]
) -> Scored:
    """Returns the vocabulary of a family of Unigram models; the index of a piece is its id."""
    pieces = [(piece.text, piece.score) for piece in model.pieces]
    arrange = _UNIGRAM.get(family.name)
    return pieces + _sentinels(options["extra_ids"]) if arrange is None else arrange(pieces, special)


def _xlm_roberta(pieces: Scored, special: Mapping[str, str]) -> Scored:
    """Returns fairseq's order: four special tokens, then the pieces without SentencePiece's three, and the mask."""
    first = [(special[role], 0.0) for role in ("bos", "pad", "eos", "unk")]
    return [*first, *pieces[3:], (special["mask"], 0.0)]


def _camembert(pieces: Scored, special: Mapping[str, str]) -> Scored:
    first = [("<s>NOTUSED", 0.0), (special["pad"], 0.0), ("</s>NOTUSED", 0.0), (special["unk"], 0.0)]
    return [*first, ("<unk>NOTUSED", _UNUSED), *pieces[1:], (special["mask"], 0.0)]


def _sentinels(count: int) -> Scored:
    """Returns the tokens that T5 puts in place of a span of text."""
    return [(f"<extra_id_{index}>", 0.0) for index in reversed(range(count))]


_UNIGRAM: dict[str, Callable[[Scored, Mapping[str, str]], Scored]] = {
    "XLMRobertaTokenizer": _xlm_roberta,
    "CamembertTokenizer": _camembert,
}


def merges_of(vocabulary: Mapping[str, int]) -> list[tuple[str, str]]:
    """Returns the merges of a BPE model that has none: each way to join two pieces to a third, by the id of the third.

    SentencePiece numbers the pieces of a BPE model in the order of its merges.
    """
    found = [
        (index, cut, len(piece) - cut, vocabulary[piece[:cut]], vocabulary[piece[cut:]], piece)
        for piece, index in vocabulary.items()
        for cut in range(1, len(piece))
        if piece[:cut] in vocabulary and piece[cut:] in vocabulary
    ]
    found.sort(key=lambda merge: merge[:5])
    return [(piece[:cut], piece[cut:]) for _, cut, _, _, _, piece in found]
