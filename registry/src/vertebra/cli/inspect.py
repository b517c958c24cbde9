"""`vertebra inspect PRESET`: describes a preset from its config and the headers of its weights files alone."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

from vertebra._lora.plan import plan_from_data
from vertebra._presets.inspect import UNUSED, inspect_preset
from vertebra._presets.load_warnings import untied_logits_text
from vertebra.cli.output import bytes_text, print_json, print_left_out
from vertebra.cli.terminal.streams import say, say_lines
from vertebra.cli.terminal.table import print_fields
from vertebra.cli.terminal.tree import draw_tree
from vertebra.errors import VertebraError
from vertebra.errors.base import shown

_MOST_ITEMS = 10


def add_commands(commands: Any) -> None:
    """Adds the command."""
    text = "show a preset's architecture, tasks, tokenizer, parameters and size, without loading it"
    parser = commands.add_parser("inspect", help=text, description=text)
    parser.add_argument("preset", help="a preset id, a handle or a path")
    download = "download weights files of more than 25 MB whose headers cannot be read alone, as of HDF5 files"
    parser.add_argument("--download", action="store_true", help=download)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> int:
    facts = inspect_preset(args.preset, args.download)
    if args.json:
        print_json(facts)
    else:
        _print_facts(facts)
    return 0


def _print_facts(facts: Mapping[str, Any]) -> None:
    dtypes = ", ".join(f"{bytes_text(size)} {dtype}" for dtype, size in sorted(facts["bytes_by_dtype"].items()))
    adapter = facts["config"].get("lora")
    config = ", ".join(f"{name}={value!r}" for name, value in facts["config"].items() if name != "lora")
    lines = {
        "preset": facts["handle"],
        "format": f"{facts['format']} ({', '.join(facts['files'])})",
        "backbone": f"{facts['backbone']}, from {facts['owner'] or 'no installed plugin'}",
        "config": config,
        **({} if adapter is None else {"adapter": _adapter_text(adapter)}),
        "parameters": "unknown" if facts["parameters"] is None else f"{facts['parameters']:,}",
    }
    if facts["not_downloaded"]:
        lines["bytes"] = _not_downloaded(facts["not_downloaded"])
    else:
        lines["bytes"] = f"{facts['bytes']:,} ({dtypes})"
    if facts["not_read"]:
        lines["not read"] = f"{facts['not_read']} and its shards, a second checkpoint (vertebra verify compares both)"
    if facts["difference"]:
        lines["difference"] = f"{facts['difference']}; Vertebra computes what the config says"
    if facts["notes"]:
        lines["note"] = "; ".join(facts["notes"])
    if facts["untied_heads"]:
        lines["head"] = untied_logits_text(facts["untied_heads"])
    lines |= {f"task {task['task']}": _task_text(task) for task in facts["tasks"]}
    if facts["tokenizer"]:
        lines["tokenizer"] = _tokenizer_text(facts["tokenizer"])
    print_fields(lines.items())
    print_left_out(facts["left_out"])
    for title, tensors in _trees(facts).items():
        say()
        say_lines(f"{draw_tree(title, tensors)}\n")


def _adapter_text(adapter: Mapping[str, Any]) -> str:
    """Returns the adapter of a config as its receipt shows it; as data if its plan is not valid."""
    try:
        plan = plan_from_data("config.json", {key: adapter[key] for key in ("config", "layers", "tied")})
        method = plan.method(", ")
    except (VertebraError, LookupError, TypeError):  # the preset can be described without the plugin of its strategy
        return shown(adapter)
    return f"{adapter.get('name')}: {method}, on {len(plan.layers)} layers"


def _task_text(task: Mapping[str, Any]) -> str:
    head = "unknown size" if task["parameters"] is None else f"{task['parameters']:,} parameters"
    settings = [f"{name}: {_short(value)}" for name, value in task["settings"].items() if name != "num_classes"]
    if "labels" not in task["settings"] and "num_classes" in task["settings"]:
        settings.insert(0, f"{task['settings']['num_classes']} classes")
    return "; ".join([f"head of {head}", *settings])


def _tokenizer_text(tokenizer: Mapping[str, Any]) -> str:
    if tokenizer["problem"]:
        return f"not readable: {tokenizer['problem']}"
    size, rows = tokenizer["vocabulary_size"], tokenizer["table_rows"]
    agreement = {
        None: "",
        True: f", which fit the {rows or 0:,} rows of the table",
        False: f", MORE than the {rows or 0:,} rows of the table",
    }[tokenizer["fits_table"]]
    parts = [f"{tokenizer['kind']}, {size:,} tokens{agreement}"]
    if tokenizer.get("max_length"):
        parts.append(f"at most {tokenizer['max_length']:,} tokens of a text")
    if tokenizer.get("special_tokens"):
        parts.append(f"special tokens {' '.join(dict.fromkeys(tokenizer['special_tokens'].values()))}")
    return "; ".join(parts)


def _short(value: object) -> str:
    """Returns a setting in a few words: of a long list, the first items and their number."""
    if isinstance(value, list):
        more = f", … ({len(value):,})" if len(value) > _MOST_ITEMS else ""
        return ", ".join(map(str, value[:_MOST_ITEMS])) + more
    if isinstance(value, dict):
        return ", ".join(f"{name}={item!r}" for name, item in value.items())
    return {True: "yes", False: "no"}.get(value, str(value)) if isinstance(value, bool) else str(value)


def _trees(facts: Mapping[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """Returns the weights of the backbone, and the tensors that it does not use, by the title of their tree."""
    used = [tensor for tensor in facts["tensors"] if not tensor["name"].startswith(UNUSED)]
    unused = [
        tensor | {"name": tensor["name"].removeprefix(UNUSED)}
        for tensor in facts["tensors"]
        if tensor["name"].startswith(UNUSED)
    ]
    return {title: tensors for title, tensors in ((facts["backbone"], used), ("not used", unused)) if tensors}


def _not_downloaded(sizes: Mapping[str, int]) -> str:
    files = f"{len(sizes)} files" if len(sizes) > 1 else next(iter(sizes))
    why = "the tensors of such a file are not listed at its beginning"
    remedy = "--download downloads it; vertebra plan estimates parameters and memory from the config"
    return f"{bytes_text(sum(sizes.values()))} in {files}, not downloaded: {why}; {remedy}"
