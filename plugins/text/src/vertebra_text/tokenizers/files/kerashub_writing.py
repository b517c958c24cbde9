"""A tokenizer as KerasHub's files: the config of a Keras object, and its assets."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from tokenizers import Tokenizer, models

from vertebra.errors import FormatLimitError
from vertebra_text.tokenizers import pipelines
from vertebra_text.tokenizers.families import BYTE_BPE, WORDPIECE, Family
from vertebra_text.tokenizers.files import kerashub, sentencepiece, spm_export
from vertebra_text.tokenizers.files.kerashub import ASSETS, BPE_FILES, SPM_FILE, WORDPIECE_FILE
from vertebra_text.tokenizers.files.parts import TokenizerParts

_NO_SPECIAL_TOKENS = "KerasHub finds no special tokens in texts with its {}: it reads them as plain text"
_NO_SENTINELS = "KerasHub's {} has no sentinel tokens, such as <extra_id_0>: they are left out"
_MODULES = {"XLMRoberta": "xlm_roberta", "DistilBert": "distil_bert", "GPT2": "gpt2", "T5": "t5"}
"""KerasHub's module names that are not those of the class in small letters."""


def kerashub_files(parts: TokenizerParts) -> tuple[dict[str, bytes], list[str]]:
    """Returns the files of KerasHub's tokenizer, by name, and its differences from this tokenizer.

    Raises:
        FormatLimitError: KerasHub has no such tokenizer.
    """
    family = _checked(parts)
    config: dict[str, Any] = {"trainable": True, "dtype": _dtype(), "config_file": kerashub.TOKENIZER}
    if family.algorithm == WORDPIECE:
        config |= _wordpiece_config(parts)
        assets = {WORDPIECE_FILE: _lines(_tokens(parts))}
    elif family.algorithm == BYTE_BPE:
        config |= {"add_prefix_space": parts.options["add_prefix_space"]}
        assets = _byte_bpe_assets(parts)
    else:
        config |= {"proto": None, "add_bos": False, "add_eos": False}
        assets = {SPM_FILE: _sentencepiece(parts, family)}
    envelope = _envelope(family.kerashub[0], config)
    files = {
        kerashub.TOKENIZER: (json.dumps(envelope, indent=4) + "\n").encode(),
        **{f"{ASSETS}{name}": data for name, data in assets.items()},
        **_preprocessor(parts, family, envelope),
    }
    return files, _notes(parts, family)


def _notes(parts: TokenizerParts, family: Family) -> list[str]:
    """Returns the differences of KerasHub's tokenizer from this one."""
    plain = family.algorithm not in (WORDPIECE, BYTE_BPE) and not parts.backend.encode_special_tokens
    notes = [_NO_SPECIAL_TOKENS] if plain else []
    notes += [_NO_SENTINELS] if parts.options.get("extra_ids") else []
    return [note.format(family.kerashub[0]) for note in notes]


# === What KerasHub can hold ===


def _limit(argument: str, value: object, problem: str) -> FormatLimitError:
    return FormatLimitError(kerashub.NAME, argument, value, problem)


def _checked(parts: TokenizerParts) -> Family:
    """Returns the family of a tokenizer that KerasHub can hold.

    Raises:
        FormatLimitError: it cannot.
    """
    family = parts.family
    if family is None or not family.kerashub:
        raise _limit("tokenizer_class", parts.class_name, "KerasHub has no class of this tokenizer")
    for role in _roles(family):
        fixed, given = family.special[role], parts.special.get(role)
        if given != fixed and role != "unk":
            raise _limit(f"{role}_token", given, f"KerasHub's {family.kerashub[0]} always has {fixed!r}")
    if not parts.sentencepiece:
        _check_pipeline(parts, family)
    _check_added(parts, family)
    return family


def _roles(family: Family) -> tuple[str, ...]:
    """Returns the special tokens that KerasHub's class has."""
    return kerashub.SPECIAL.get(family.name, tuple(family.special))


def _check_pipeline(parts: TokenizerParts, family: Family) -> None:
    """Refuses a normalizer or pre-tokenizer that is not the family's: KerasHub has it in its code."""
    usual = Tokenizer(models.BPE())
    pipelines.set_pipeline(usual, family, parts.options, spm_export.charsmap_of(parts.backend.normalizer))
    for name in ("normalizer", "pre_tokenizer"):
        given, expected = getattr(parts.backend, name), getattr(usual, name)
        if _state(given) != _state(expected):
            raise _limit(name, type(given).__name__, f"{family.name} always has another one in KerasHub")


def _state(part: Any) -> Any:
    return None if part is None else part.__getstate__()


def _check_added(parts: TokenizerParts, family: Family) -> None:
    """Refuses added tokens outside of the vocabulary: KerasHub finds none in a text."""
    base = parts.backend.get_vocab(with_added_tokens=False)
    for token in parts.backend.get_added_tokens_decoder().values():
        if token.content not in base and (family.algorithm != WORDPIECE or not token.special):
            raise _limit("added_tokens", token.content, "KerasHub has no tokens outside of the vocabulary")


# === Configs and assets ===


def _wordpiece_config(parts: TokenizerParts) -> dict[str, Any]:
    options = parts.options
    strips = options["strip_accents"]
    return {
        "vocabulary": None,
        "sequence_length": None,
        "lowercase": options["do_lower_case"],
        "strip_accents": options["do_lower_case"] if strips is None else strips,
        "split": True,
        "split_on_cjk": options["tokenize_chinese_chars"],
        "suffix_indicator": "##",
        "oov_token": parts.special["unk"],
        "special_tokens": None,
        "special_tokens_in_strings": not parts.backend.encode_special_tokens,
    }


def _tokens(parts: TokenizerParts) -> list[str]:
    """Returns the tokens in the order of their ids."""
    by_id = {index: token for token, index in parts.backend.get_vocab(with_added_tokens=True).items()}
    if set(by_id) != set(range(len(by_id))):
        missing = min(set(range(len(by_id))) - set(by_id))
        raise _limit("vocabulary", missing, "no token has this id, and KerasHub numbers the lines of its vocabulary")
    return [by_id[index] for index in range(len(by_id))]


def _lines(tokens: list[str]) -> bytes:
    for token in tokens:
        if "\n" in token or "\r" in token or token != token.rstrip():
            raise _limit("vocabulary", token, "KerasHub's vocabulary has one token on each line, without spaces")
    return "".join(f"{token}\n" for token in tokens).encode()


def _byte_bpe_assets(parts: TokenizerParts) -> dict[str, bytes]:
    state = json.loads(parts.backend.to_str())
    merges = [tuple(merge.split(" ")) if isinstance(merge, str) else tuple(merge) for merge in state["model"]["merges"]]
    lines = [f"{first} {second}" for first, second in merges]
    vocabulary = json.dumps(parts.backend.get_vocab(with_added_tokens=True), ensure_ascii=False)
    return {BPE_FILES[0]: vocabulary.encode(), BPE_FILES[1]: "".join(f"{line}\n" for line in lines).encode()}


def _envelope(name: str, config: Mapping[str, Any]) -> dict[str, Any]:
    stem = name.removesuffix("Tokenizer")
    module = _MODULES.get(stem) or re.sub(r"(?<!^)(?=[A-Z])", "_", stem).lower()
    return {
        "module": f"keras_hub.src.models.{module}.{module}_tokenizer",
        "class_name": name,
        "config": {"name": f"{module}_tokenizer", **config},
        "registered_name": f"keras_hub>{name}",
    }


def _preprocessor(parts: TokenizerParts, family: Family, tokenizer: Mapping[str, Any]) -> dict[str, bytes]:
    """Returns the file of a preprocessor with the length of the tokenizer, or none if it has none.

    Without it, as for preprocessors of other tasks than that of the file, KerasHub's length is 512.
    """
    if parts.max_length is None or not parts.special.keys() & {"cls", "bos"}:
        return {}
    kind = "TextClassifier" if "cls" in parts.special else "CausalLM"
    module = tokenizer["module"].removesuffix("_tokenizer")
    stem = family.kerashub[0].removesuffix("Tokenizer")
    of_kind = (
        {"truncate": "round_robin"} if kind == "TextClassifier" else {"add_start_token": True, "add_end_token": True}
    )
    suffix = "text_classifier_preprocessor" if kind == "TextClassifier" else "causal_lm_preprocessor"
    envelope = {
        "module": f"{module}_{suffix}",
        "class_name": f"{stem}{kind}Preprocessor",
        "config": {
            "name": f"{module.rpartition('.')[2]}_{suffix}",
            "trainable": True,
            "dtype": _dtype(),
            "tokenizer": dict(tokenizer),
            "config_file": kerashub.PREPROCESSOR,
            "sequence_length": parts.max_length,
            **of_kind,
        },
        "registered_name": f"keras_hub>{stem}{kind}Preprocessor",
    }
    return {kerashub.PREPROCESSOR: (json.dumps(envelope, indent=4) + "\n").encode()}


def _dtype() -> dict[str, Any]:
    return {"module": "keras", "class_name": "DTypePolicy", "config": {"name": "int32"}, "registered_name": None}


def _sentencepiece(parts: TokenizerParts, family: Family) -> bytes:
    """Returns the SentencePiece model that was read, or one that gives the same ids."""
    if parts.sentencepiece:
        return parts.sentencepiece
    try:
        return sentencepiece.dump_model(spm_export.sentencepiece_model(parts, _roles(family)))
    except ValueError as error:
        raise _limit("tokenizer", parts.class_name, str(error)) from error
