"""`vertebra vllm-adapter NAME`: resolves a name as the server does, without vLLM."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from vertebra_vllm.delivery import deliver
from vertebra_vllm.settings import read_settings

_TEXT = {"type": "string"}
SCHEMA: dict[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "$id": "urn:vertebra:schema:vllm-adapter",
    "title": "Output of vertebra vllm-adapter --json: an adapter that a server with vertebra-vllm would load",
    "type": "object",
    "properties": {
        "name": _TEXT,
        "handle": _TEXT | {"description": "the pinned handle, or the path"},
        "folder": _TEXT | {"description": "a local folder in PEFT's layout"},
        "number": {"type": "integer", "minimum": 1, "description": "the id of the adapter"},
        "fingerprint": {"type": ["string", "null"], "description": "that of the base; null if none is recorded"},
        "notes": {"type": "array", "items": _TEXT},
    },
    "required": ["name", "handle", "folder", "number", "fingerprint", "notes"],
    "additionalProperties": False,
}


def add_arguments(parser: Any) -> None:
    """Adds the arguments."""
    parser.add_argument("name", metavar="NAME", help="the name that clients send as the model")
    base = "the model that the server runs: an id of Hugging Face or a path"
    parser.add_argument("--base-model", required=True, metavar="MODEL", help=base)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> int:
    adapter = deliver(args.name, args.base_model, read_settings())
    facts = {
        "name": adapter.name,
        "handle": adapter.handle,
        "folder": str(adapter.folder),
        "number": adapter.number,
        "fingerprint": adapter.fingerprint,
        "notes": list(adapter.notes),
    }
    if args.json:
        sys.stdout.write(f"{json.dumps(facts, indent=2)}\n")
        return 0
    base = adapter.fingerprint or "not recorded"
    sys.stdout.write(
        f"{adapter.name}: {adapter.handle}\nfolder: {adapter.folder}\nid: {adapter.number}\nbase: {base}\n"
    )
    for note in adapter.notes:
        sys.stdout.write(f"note: {note}\n")
    return 0
