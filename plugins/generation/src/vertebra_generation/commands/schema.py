"""The JSON Schemas of what the commands print with `--json`."""

from typing import Any

_DRAFT = "https://json-schema.org/draft/2020-12/schema"
_COUNT = {"type": "integer", "minimum": 0}
_ANSWER = {
    "type": "object",
    "properties": {
        "text": {"type": "string"},
        "finish_reason": {"enum": ["stop_token", "stop_string", "length", "context"]},
        "tokens": _COUNT | {"description": "number of its tokens"},
        "score": {"type": ["number", "null"], "description": "sum of log-probabilities, or that of its beam"},
        "token_ids": {"type": "array", "items": _COUNT},
    },
    "required": ["text", "finish_reason", "tokens", "score", "token_ids"],
    "additionalProperties": False,
}
_ANSWERS = {
    "properties": {
        "preset": {"type": "string"},
        "prompt": {"type": "string"},
        "prompt_tokens": _COUNT,
        "answers": {"type": "array", "items": _ANSWER},
    },
    "required": ["preset", "prompt", "prompt_tokens", "answers"],
    "additionalProperties": False,
}
_SUMMARY = {
    "properties": {
        "records": _COUNT | {"description": "records of the output, those of earlier runs included"},
        "continued": _COUNT | {"description": "records whose answers an earlier run computed"},
        "bad": {"type": "array", "items": {"type": "string"}, "description": "the first records without an answer"},
        "bad_count": _COUNT | {"description": "records without an answer"},
        "output": {"type": "string", "description": "path of the output"},
    },
    "required": ["records", "continued", "bad", "bad_count", "output"],
    "additionalProperties": False,
}
GENERATE: dict[str, Any] = {
    "$schema": _DRAFT,
    "title": "Output of vertebra generate --json: the answers to a prompt, or the summary of a run over files",
    "type": "object",
    "oneOf": [_ANSWERS, _SUMMARY],
}
CHAT: dict[str, Any] = {
    "$schema": _DRAFT,
    "title": "Output of vertebra chat --json: the conversation",
    "type": "object",
    "properties": {
        "preset": {"type": "string"},
        "messages": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "role": {"enum": ["system", "user", "assistant"]},
                    "content": {"type": "string"},
                },
                "required": ["role", "content"],
                "additionalProperties": False,
            },
        },
    },
    "required": ["preset", "messages"],
    "additionalProperties": False,
}
