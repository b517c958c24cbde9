"""Reads a tokenizer in KerasHub's files: the config of a Keras object, and its assets.

KerasHub finds no special tokens in texts, unless it is told so or the tokenizer is of byte-pair encoding.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from tokenizers import Tokenizer, models

from vertebra import PresetFiles
from vertebra.errors import PresetConfigError
from vertebra_text.tokenizers import pipelines
from vertebra_text.tokenizers.families import BYTE_BPE, FAMILIES, WORDPIECE, Family, family_of_kerashub
from vertebra_text.tokenizers.files import sentencepiece, spm_vocabulary
from vertebra_text.tokenizers.files.documents import checked, is_count, is_flag, read_bytes, read_fields, stored_name
from vertebra_text.tokenizers.files.guard import file_errors
from vertebra_text.tokenizers.files.parts import TokenizerParts
from vertebra_text.tokenizers.files.special_tokens import SpecialTokens, read_special_tokens
from vertebra_text.tokenizers.files.vocabularies import read_merges, read_vocabulary

NAME = "kerashub"
TOKENIZER, PREPROCESSOR = "tokenizer.json", "preprocessor.json"
ASSETS = "assets/tokenizer/"
WORDPIECE_FILE, BPE_FILES, SPM_FILE = "vocabulary.txt", ("vocabulary.json", "merges.txt"), "vocabulary.spm"
SPECIAL = {"GemmaTokenizer": ("bos", "eos", "pad"), "LlamaTokenizer": ("bos", "eos"), "T5Tokenizer": ("eos", "pad")}
"""The special tokens that a class of KerasHub has, if they are fewer than transformers'."""
_REBUILT = {"LlamaTokenizer": "PreTrainedTokenizerFast"}
"""The class to name in transformers, whose version 5 builds another tokenizer for this class than its file has."""
_MOST_CONFIG = 2**20
"""The size of a config in bytes; a larger file holds a vocabulary."""
_FIXED = {"split": True, "suffix_indicator": "##", "add_bos": False, "add_eos": False}
"""Fields that change the tokens, with the only value that is supported."""


def reads(names: Collection[str]) -> bool:
    """Returns whether files include a tokenizer of KerasHub."""
    return stored_name(names, TOKENIZER, NAME) != "" and any(name.startswith(ASSETS) for name in names)


def owns(files: PresetFiles) -> bool:
    """Returns whether the `tokenizer.json` of a preset is KerasHub's: transformers has a file of this name, too."""
    name = stored_name(files.names, TOKENIZER, NAME)
    if not reads(files.names) or files.fetch(name).stat().st_size > _MOST_CONFIG:
        return False
    return "registered_name" in read_fields(files, name)


def read(files: PresetFiles) -> TokenizerParts:
    """Reads the tokenizer of a preset.

    Raises:
        PresetConfigError: a file is invalid, or a field is not supported.
    """
    envelope = read_fields(files, stored_name(files.names, TOKENIZER, NAME))
    family = _family(envelope)
    config = checked(TOKENIZER, envelope, "config", {}, lambda value: isinstance(value, dict), "an object")
    for name, value in _FIXED.items():
        if name in config and config[name] not in (value, None):
            raise PresetConfigError(TOKENIZER, f"{name} is {config[name]!r}; only {value!r} is supported")
    options = _options(family, config)
    special = _special(family, config)
    backend, data = _backend(files, family, options, special)
    special.add_to(backend)
    pipelines.set_template(backend, family, special.texts, options)
    if family.algorithm != BYTE_BPE:
        in_texts = checked(TOKENIZER, config, "special_tokens_in_strings", False, is_flag, "a bool")
        backend.encode_special_tokens = not in_texts
    preprocessor = read_fields(files, PREPROCESSOR).get("config")
    length = preprocessor.get("sequence_length") if isinstance(preprocessor, dict) else None
    return TokenizerParts(
        backend,
        NAME,
        special.texts,
        family,
        _REBUILT.get(family.name, family.name),
        options,
        segments=family.segments,
        max_length=length if is_count(length) else None,
        sentencepiece=data,
    )


def _family(envelope: Mapping[str, Any]) -> Family:
    name = envelope.get("registered_name")
    family = family_of_kerashub(name) if isinstance(name, str) else None
    if family is None:
        known = ", ".join(name for family in FAMILIES for name in family.kerashub)
        raise PresetConfigError(
            TOKENIZER, f"registered_name is {name!r}; the classes of KerasHub read here are {known}"
        )
    return family


def _options(family: Family, config: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the family's options; KerasHub's default is another one for some."""
    options = dict(family.options)
    if family.algorithm == WORDPIECE:
        options |= {
            "do_lower_case": checked(TOKENIZER, config, "lowercase", False, is_flag, "a bool"),
            "strip_accents": checked(TOKENIZER, config, "strip_accents", False, is_flag, "a bool"),
            "tokenize_chinese_chars": checked(TOKENIZER, config, "split_on_cjk", True, is_flag, "a bool"),
        }
    if family.algorithm == BYTE_BPE:
        options["add_prefix_space"] = checked(TOKENIZER, config, "add_prefix_space", False, is_flag, "a bool")
    if "extra_ids" in options:
        options["extra_ids"] = 0
    if family.name in ("GemmaTokenizer", "LlamaTokenizer"):
        options["add_bos_token"] = True  # KerasHub's preprocessors add it
    return options


def _special(family: Family, config: Mapping[str, Any]) -> SpecialTokens:
    roles = SPECIAL.get(family.name, tuple(family.special))
    given = {f"{role}_token": None for role in family.special if role not in (*roles, "unk")}
    unk = checked(TOKENIZER, config, "oov_token", None, lambda value: isinstance(value, str), "a text")
    given |= {} if unk is None else {"unk_token": unk}
    extra = config.get("special_tokens") or config.get("unsplittable_tokens") or []
    return read_special_tokens({**given, "extra_special_tokens": extra}, {}, {}, family, TOKENIZER)


def _backend(
    files: PresetFiles, family: Family, options: Mapping[str, Any], special: SpecialTokens
) -> tuple[Tokenizer, bytes]:
    """Returns the tokenizer without added tokens, and the SentencePiece model that it was built from."""
    if family.algorithm == WORDPIECE:
        name = f"{ASSETS}{WORDPIECE_FILE}"
        with file_errors(name):
            vocabulary = models.WordPiece.read_file(str(files.fetch(name)))
            backend = pipelines.wordpiece(vocabulary, special.texts["unk"])
    elif family.algorithm == BYTE_BPE:
        vocabulary = read_vocabulary(files, f"{ASSETS}{BPE_FILES[0]}")
        merges = read_merges(files, f"{ASSETS}{BPE_FILES[1]}")
        with file_errors(ASSETS):
            backend = pipelines.byte_bpe(vocabulary, merges)
    else:
        name = f"{ASSETS}{SPM_FILE}"
        data = read_bytes(files.fetch(name), name)
        with file_errors(name):
            model = sentencepiece.parse_model(data)
            backend = spm_vocabulary.build_backend(model, family, special.texts, options, name, finds_special=False)
        if family.name == "LlamaTokenizer":
            pipelines.set_sentencepiece_spaces(backend, model.normalizer.add_dummy_prefix)
        backend.add_tokens(list(spm_vocabulary.control_tokens(model, options)))
        return backend, data
    pipelines.set_pipeline(backend, family, options)
    return backend, b""
