"""Reads a tokenizer in transformers' files, of versions 4 and 5.

A `tokenizer.json` defines the tokens. Where both versions of transformers let `tokenizer_config.json` overrule it, so
does this module. Without a `tokenizer.json`, the tokenizer is built from the vocabulary, as transformers 5 does.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

from tokenizers import AddedToken, Tokenizer, models, normalizers, pre_tokenizers

from vertebra import PresetFiles
from vertebra.errors import PresetConfigError
from vertebra_text.tokenizers import pipelines
from vertebra_text.tokenizers.families import (
    BPE_FILES,
    BYTE_BPE,
    FAMILIES,
    SPM_FILES,
    WORDPIECE,
    WORDPIECE_FILES,
    Family,
    family_of_class,
    family_of_model_type,
)
from vertebra_text.tokenizers.files import sentencepiece, spm_vocabulary
from vertebra_text.tokenizers.files.documents import (
    checked,
    is_count,
    is_flag,
    is_side,
    is_small,
    read_bytes,
    read_fields,
    stored_name,
)
from vertebra_text.tokenizers.files.guard import file_errors
from vertebra_text.tokenizers.files.parts import TokenizerParts
from vertebra_text.tokenizers.files.special_tokens import SpecialTokens, read_special_tokens
from vertebra_text.tokenizers.files.vocabularies import check_ids, read_merges, read_vocabulary

NAME = "transformers"
TOKENIZER, CONFIG, SPECIAL_TOKENS, ADDED = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
)
_MODEL_CONFIG = "config.json"
_NAMES_OF_MODELS = ("model_type", "backbone", "registered_name")
"""The fields that name the architecture in the configs of transformers, of Vertebra and of KerasHub."""
_BASE_CLASSES = ("PreTrainedTokenizer", "TokenizersBackend")
"""Classes without a behaviour of their own: the `tokenizer.json` says everything."""


def reads(names: Collection[str]) -> bool:
    """Returns whether files include a tokenizer of transformers."""
    vocabulary = _has(names, WORDPIECE_FILES) or _has(names, BPE_FILES) or _spm_name(names) != ""
    return vocabulary or stored_name(names, TOKENIZER, NAME) != ""


def _has(names: Collection[str], group: Collection[str]) -> bool:
    return all(name in names for name in group)


def _spm_name(names: Collection[str]) -> str:
    return next((name for name in SPM_FILES if name in names), "")


def read(files: PresetFiles) -> TokenizerParts:
    """Reads the tokenizer of a preset.

    Raises:
        PresetConfigError: a file is invalid, or the tokenizer is of a class that needs code.
    """
    config = read_fields(files, CONFIG, _matters)
    of_model = _family_of_model(read_fields(files, _MODEL_CONFIG, _NAMES_OF_MODELS.__contains__))
    family = _family(files, config, of_model)
    special = read_special_tokens(
        config, read_fields(files, SPECIAL_TOKENS), read_fields(files, ADDED), family, files.handle
    )
    options = _options(family, config)
    if stored_name(files.names, TOKENIZER, NAME):
        parts = _from_tokenizer_json(files, family, options, special)
    else:
        parts = _from_vocabulary(files, family, options, special)
    parts.backend.encode_special_tokens = checked(CONFIG, config, "split_special_tokens", False, is_flag, "a bool")
    return _with_config(parts, config, of_model)


def _matters(field: str) -> bool:
    """Returns whether a field of `tokenizer_config.json` is read."""
    others = ("tokenizer_class", "added_tokens_decoder", "extra_special_tokens", "additional_special_tokens")
    options = {name for family in FAMILIES for name in family.options}
    shape = ("model_max_length", "padding_side", "truncation_side", "model_input_names", "split_special_tokens")
    return field in (*others, *options, *shape) or field.endswith("_token")


# === The class ===


def _family_of_model(config: Mapping[str, Any]) -> Family | None:
    """Returns the family of a preset's backbone, from its config in any format, or None."""
    name = next((config[field] for field in _NAMES_OF_MODELS if isinstance(config.get(field), str)), "")
    cls = name.rpartition(">")[2].removesuffix("Backbone")
    return family_of_model_type(name) or family_of_class(f"{cls}Tokenizer")


def _family(files: PresetFiles, config: Mapping[str, Any], of_model: Family | None) -> Family | None:
    """Returns the family of a preset's tokenizer; None if its `tokenizer.json` says everything."""
    has_file = stored_name(files.names, TOKENIZER, NAME) != ""
    name = checked(CONFIG, config, "tokenizer_class", None, lambda value: isinstance(value, str), "the name of a class")
    if name is not None:
        short = name.removesuffix("Fast")
        family = family_of_class(name)
        if family is not None or has_file:
            return family
        if short not in _BASE_CLASSES:
            known = ", ".join(family.name for family in FAMILIES)
            problem = (
                f"tokenizer_class is {name!r}, which needs a {TOKENIZER}; only {known} are built from vocabularies"
            )
            raise PresetConfigError(CONFIG, problem, f"Save it with transformers, which writes a {TOKENIZER}")
    return of_model if of_model is not None or has_file else _family_of_files(files)


def _family_of_files(files: PresetFiles) -> Family:
    """Returns the family of vocabulary files without any config."""
    if _has(files.names, WORDPIECE_FILES):
        found = family_of_class("BertTokenizer")
    elif _has(files.names, BPE_FILES):
        vocabulary = read_vocabulary(files, BPE_FILES[0])
        found = family_of_class(
            "RobertaTokenizer" if {"<s>", "</s>", "<mask>"} <= vocabulary.keys() else "GPT2Tokenizer"
        )
    else:
        found = None
    if found is None:
        problem = "it does not say for which architecture its vocabulary is: neither a model_type nor a tokenizer_class"
        raise PresetConfigError(files.handle, problem, f"Add a {CONFIG} with the tokenizer_class")
    return found


def _options(family: Family | None, config: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the values of the fields that change the tokens."""
    if family is None:
        return {}
    options = {}
    for name, default in family.options.items():
        is_number = isinstance(default, int) and not is_flag(default)
        check, expected = (is_small, "a number from 1 to 10,000") if is_number else (is_flag, "a bool")
        options[name] = checked(CONFIG, config, name, default, check, expected)
    return options


# === The backend ===


def _from_tokenizer_json(
    files: PresetFiles, family: Family | None, options: Mapping[str, Any], special: SpecialTokens
) -> TokenizerParts:
    data = read_bytes(files.fetch(stored_name(files.names, TOKENIZER, NAME)), TOKENIZER)
    check_ids(data, TOKENIZER)
    with file_errors(TOKENIZER, "Fetch the file again, or update the tokenizers library"):
        backend = Tokenizer.from_buffer(data)
    side = (backend.padding or {}).get("direction", "right")
    cut = (backend.truncation or {}).get("direction", "right")
    pad = (backend.padding or {}).get("pad_token")
    backend.no_padding()
    backend.no_truncation()
    _overrule(backend, family, options)
    if pad is not None and "pad" not in special.roles:
        special = replace(special, roles={**special.roles, "pad": AddedToken(pad, special=True, normalized=False)})
    special.add_to(backend)
    return TokenizerParts(backend, NAME, special.texts, family, options=options, padding_side=side, truncation_side=cut)


def _overrule(backend: Tokenizer, family: Family | None, options: Mapping[str, Any]) -> None:
    """Changes what `tokenizer_config.json` decides in both versions of transformers, whatever the file says."""
    if family is None:
        return
    if family.algorithm == WORDPIECE and isinstance(backend.normalizer, normalizers.BertNormalizer):
        backend.normalizer = pipelines.bert_normalizer(options)
    if family.algorithm == BYTE_BPE and isinstance(backend.pre_tokenizer, pre_tokenizers.ByteLevel):
        state = json.loads(backend.pre_tokenizer.__getstate__())
        state.pop("type")
        backend.pre_tokenizer = pre_tokenizers.ByteLevel(**state | {"add_prefix_space": options["add_prefix_space"]})


def _from_vocabulary(
    files: PresetFiles, family: Family | None, options: Mapping[str, Any], special: SpecialTokens
) -> TokenizerParts:
    if family is None:
        raise PresetConfigError(files.handle, f"it has no {TOKENIZER}")
    data = b""
    if family.algorithm == WORDPIECE and _has(files.names, WORDPIECE_FILES):
        with file_errors(WORDPIECE_FILES[0]):
            vocabulary = models.WordPiece.read_file(str(files.fetch(WORDPIECE_FILES[0])))
            backend = pipelines.wordpiece(vocabulary, special.texts["unk"])
        pipelines.set_pipeline(backend, family, options)
    elif family.algorithm == BYTE_BPE and _has(files.names, BPE_FILES):
        backend = _byte_bpe(files, family, options)
    elif family.algorithm not in (WORDPIECE, BYTE_BPE) and (name := _spm_name(files.names)):
        data = read_bytes(files.fetch(name), name)
        with file_errors(name):
            model = sentencepiece.parse_model(data)
            backend = spm_vocabulary.build_backend(model, family, special.texts, options, name)
        special = special.with_extra(spm_vocabulary.control_tokens(model, options))
    else:
        raise PresetConfigError(files.handle, f"{family.name} needs {TOKENIZER} or {' and '.join(family.files)}")
    special.add_to(backend)
    special.check_ids(backend, files.handle)
    pipelines.set_template(backend, family, special.texts, options)
    return TokenizerParts(backend, NAME, special.texts, family, options=options, sentencepiece=data)


def _byte_bpe(files: PresetFiles, family: Family, options: Mapping[str, Any]) -> Tokenizer:
    vocabulary, merges = read_vocabulary(files, BPE_FILES[0]), read_merges(files, BPE_FILES[1])
    with file_errors(BPE_FILES[1]):
        backend = pipelines.byte_bpe(vocabulary, merges)
    pipelines.set_pipeline(backend, family, options)
    return backend


# === The rest of the config ===


def _with_config(parts: TokenizerParts, config: Mapping[str, Any], of_model: Family | None) -> TokenizerParts:
    """Adds the fields that do not change the tokens of a text."""
    family = parts.family
    inputs = checked(
        CONFIG, config, "model_input_names", None, lambda value: isinstance(value, list), "a list of names"
    )
    owner = family or of_model
    segments = "token_type_ids" in inputs if inputs is not None else owner is not None and owner.segments
    return replace(
        parts,
        class_name=parts.class_name if family is None else family.name,
        config=config,
        segments=segments,
        max_length=checked(CONFIG, config, "model_max_length", None, is_count, "a number of tokens"),
        padding_side=checked(CONFIG, config, "padding_side", parts.padding_side, is_side, "left or right"),
        truncation_side=checked(CONFIG, config, "truncation_side", parts.truncation_side, is_side, "left or right"),
        clean_up_spaces=config.get("clean_up_tokenization_spaces") is True,
    )
