"""Builds a tokenizer of the `tokenizers` library from a vocabulary, as transformers 5.23 builds it for each family."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from vertebra_text.tokenizers.families import BYTE_BPE, SPM_BPE, UNIGRAM, WORDPIECE, Family

Options = Mapping[str, Any]
"""The fields of `Family.options`, with their values."""
SPACE = "▁"
"""The sign that SentencePiece writes for a space."""


def wordpiece(vocabulary: dict[str, int], unk: str) -> Tokenizer:
    return Tokenizer(models.WordPiece(vocabulary, unk_token=unk))


def byte_bpe(vocabulary: dict[str, int], merges: list[tuple[str, str]]) -> Tokenizer:
    return Tokenizer(
        models.BPE(vocab=vocabulary, merges=merges, continuing_subword_prefix="", end_of_word_suffix="", fuse_unk=False)
    )


def unigram(pieces: list[tuple[str, float]], unk: str) -> Tokenizer:
    unk_id = next((index for index, (piece, _) in enumerate(pieces) if piece == unk), 0)
    return Tokenizer(models.Unigram(pieces, unk_id=unk_id, byte_fallback=False))


def spm_bpe(vocabulary: dict[str, int], merges: list[tuple[str, str]], unk: str | None) -> Tokenizer:
    return Tokenizer(models.BPE(vocab=vocabulary, merges=merges, unk_token=unk, fuse_unk=True, byte_fallback=True))


# === Normalizer, pre-tokenizer and decoder ===


def set_pipeline(backend: Tokenizer, family: Family, options: Options, charsmap: bytes = b"") -> None:
    """Sets the parts of a tokenizer around its model.

    Args:
        backend: The tokenizer.
        family: Its family.
        options: The family's options.
        charsmap: SentencePiece's rules of normalisation, or no bytes.
    """
    if family.algorithm == UNIGRAM and charsmap:
        backend.normalizer = normalizers.Precompiled(charsmap)
    by_name = _PIPELINES.get(family.name) or _PIPELINES[family.algorithm]
    by_name(backend, options)


def _wordpiece_pipeline(backend: Tokenizer, options: Options) -> None:
    backend.normalizer = bert_normalizer(options)
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.decoder = decoders.WordPiece(prefix="##")


def bert_normalizer(options: Options) -> normalizers.BertNormalizer:
    return normalizers.BertNormalizer(
        clean_text=True,
        handle_chinese_chars=options["tokenize_chinese_chars"],
        strip_accents=options["strip_accents"],
        lowercase=options["do_lower_case"],
    )


def _byte_bpe_pipeline(backend: Tokenizer, options: Options) -> None:
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=options["add_prefix_space"])
    backend.decoder = decoders.ByteLevel()


def _unigram_pipeline(backend: Tokenizer, options: Options) -> None:
    scheme = "always" if options.get("add_prefix_space", True) else "never"
    spaces = pre_tokenizers.Metaspace(replacement=SPACE, prepend_scheme=scheme)
    backend.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), spaces])
    backend.decoder = decoders.Metaspace(replacement=SPACE, prepend_scheme=scheme)


def _gemma_pipeline(backend: Tokenizer, _: Options) -> None:
    backend.normalizer = normalizers.Replace(" ", SPACE)
    backend.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    backend.decoder = decoders.Sequence([decoders.Replace(SPACE, " "), decoders.ByteFallback(), decoders.Fuse()])


def _llama_pipeline(backend: Tokenizer, options: Options) -> None:
    prefix = options["add_prefix_space"]
    scheme = ("always" if options["legacy"] else "first") if prefix else "never"
    backend.pre_tokenizer = pre_tokenizers.Metaspace(replacement=SPACE, prepend_scheme=scheme, split=False)
    steps = [decoders.Replace(SPACE, " "), decoders.ByteFallback(), decoders.Fuse()]
    backend.decoder = decoders.Sequence([*steps, decoders.Strip(content=" ", left=1)] if prefix else steps)


def set_sentencepiece_spaces(backend: Tokenizer, with_prefix: bool) -> None:
    """Writes spaces as SentencePiece does for Llama: one before the text, whatever it begins with, and no stripping."""
    signs = normalizers.Replace(" ", SPACE)
    backend.normalizer = normalizers.Sequence([normalizers.Prepend(SPACE), signs]) if with_prefix else signs
    backend.pre_tokenizer = None


_PIPELINES: dict[str, Callable[[Tokenizer, Options], None]] = {
    WORDPIECE: _wordpiece_pipeline,
    BYTE_BPE: _byte_bpe_pipeline,
    UNIGRAM: _unigram_pipeline,
    SPM_BPE: _llama_pipeline,
    "GemmaTokenizer": _gemma_pipeline,
}


# === Special tokens ===


def set_template(backend: Tokenizer, family: Family, special: Mapping[str, str], options: Options) -> None:
    """Sets the post-processor of a tokenizer, which adds the special tokens of the family."""

    def named(role: str) -> tuple[str, int]:
        token = special[role]
        index = backend.token_to_id(token)
        assert index is not None, "special tokens are added before the template is set"
        return token, index

    if family.template == "roberta":
        prefix = options.get("add_prefix_space", False)
        backend.post_processor = processors.RobertaProcessing(named("sep"), named("cls"), True, prefix)
        return
    roles, single, pair = _TEMPLATES.get(family.template) or _flags(special, options)
    tokens = {role: named(role) for role in roles}
    texts = {role: token for role, (token, _) in tokens.items()}
    backend.post_processor = processors.TemplateProcessing(
        single=[piece.format(**texts) for piece in single.split()],
        pair=[piece.format(**texts) for piece in pair.split()],
        special_tokens=list(dict.fromkeys(tokens.values())),
    )


_TEMPLATES = {
    "bert": (("cls", "sep"), "{cls}:0 $A:0 {sep}:0", "{cls}:0 $A:0 {sep}:0 $B:1 {sep}:1"),
    "s": (("bos", "eos"), "{bos} $A {eos}", "{bos} $A {eos} {eos} $B {eos}"),
    "eos": (("eos",), "$A {eos}", "$A {eos} $B {eos}"),
}


def _flags(special: Mapping[str, str], options: Options) -> tuple[tuple[str, ...], str, str]:
    begin = "bos" in special and options["add_bos_token"]
    end = "eos" in special and options["add_eos_token"]
    roles = (("bos",) if begin else ()) + (("eos",) if end else ())
    single = f"{'{bos}:0 ' if begin else ''}$A:0{' {eos}:0' if end else ''}"
    return roles, single, f"{single}{' {bos}:1' if begin else ''} $B:1{' {eos}:1' if end else ''}"
