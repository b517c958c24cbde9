"""The JSON Schema of the summary that a long run prints."""

from typing import Any

_COUNT = {"type": "integer", "minimum": 0}

SUMMARY: dict[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "Summary of a long run, as vertebra embed, classify, tag and rerank print it with --json",
    "type": "object",
    "properties": {
        "records": _COUNT | {"description": "records of the output, those of earlier runs included"},
        "continued": _COUNT | {"description": "records whose answers an earlier run computed"},
        "bad": {
            "type": "array",
            "items": {"type": "string"},
            "description": "the first records without an answer, with the problem",
        },
        "bad_count": _COUNT | {"description": "records without an answer"},
        "output": {"type": "string", "description": "path of the output"},
    },
    "required": ["records", "continued", "bad", "bad_count", "output"],
    "additionalProperties": False,
}
