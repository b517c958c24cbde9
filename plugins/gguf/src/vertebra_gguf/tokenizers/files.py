"""The tokenizer of a GGUF file, as the files that transformers has for it."""

from __future__ import annotations

import json
from typing import Any

from vertebra.errors import PresetConfigError
from vertebra_gguf.models.architecture import Source, special_ids
from vertebra_gguf.tokenizers import byte_bpe, sentencepiece
from vertebra_gguf.tokenizers.vocabulary import Vocabulary, read_vocabulary

_CONFIG, _GENERATION = "tokenizer_config.json", "generation_config.json"
_MODEL = "tokenizer.ggml.model"
_EMBEDDED = "tokenizer.huggingface.json"
"""A whole tokenizer.json, which a file may have."""
_INSTEAD = "add the model's tokenizer.json to a folder with this file alone, and load the folder"
_TEMPLATE = "tokenizer.chat_template"


def tokenizer_files(source: Source) -> tuple[dict[str, bytes], tuple[str, ...]]:
    """Returns the files of a tokenizer by name, and why there are none."""
    fields = source.container.fields
    if _MODEL not in fields and _EMBEDDED not in fields:
        return {}, ()
    try:
        files = _files(source)
    except PresetConfigError as error:
        return {}, (f"its tokenizer is not read: {error.problem}; {_INSTEAD}",)
    return {name: content if isinstance(content, bytes) else _dump(content) for name, content in files.items()}, ()


def _files(source: Source) -> dict[str, Any]:
    fields = source.container.fields
    kind = fields.text(_MODEL, "gpt2")
    vocabulary = read_vocabulary(source)
    if _EMBEDDED in fields:
        files: dict[str, Any] = {"tokenizer.json": fields.text(_EMBEDDED).encode()}
        own: dict[str, Any] = {"tokenizer_class": "PreTrainedTokenizerFast"}
    elif kind == "gpt2":
        files, own = byte_bpe.files(source, vocabulary)
    elif kind == "llama":
        files, own = sentencepiece.files(source, vocabulary)
    else:
        raise fields.refusal(_MODEL, f"is {kind!r}; gpt2 and llama are read")
    config = {**own, **vocabulary.special_tokens, **_templates(source), "clean_up_tokenization_spaces": False}
    if source.has("context_length"):
        config["model_max_length"] = source.count("context_length")
    return {**files, _CONFIG: config, _GENERATION: _generation(source, vocabulary)}


def _templates(source: Source) -> dict[str, Any]:
    fields = source.container.fields
    return {"chat_template": fields.text(_TEMPLATE)} if _TEMPLATE in fields else {}


def _generation(source: Source, vocabulary: Vocabulary) -> dict[str, Any]:
    """Returns the ids of special tokens; a text ends at those that end a turn of a chat, too."""
    ids: dict[str, Any] = special_ids(source)
    ends = [index for index in (ids.get("eos_token_id"), *vocabulary.ends) if index is not None]
    if len(set(ends)) > 1:
        ids["eos_token_id"] = list(dict.fromkeys(ends))
    return ids


def _dump(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode()
