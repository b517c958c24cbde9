"""`vertebra lora info|check|convert|merge ADAPTER`: describes or checks an adapter, converts it, or merges it."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

from vertebra import lora
from vertebra._discovery.backbone_classes import bind_any
from vertebra.cli.adapters import check as checking
from vertebra.cli.output import bytes_text, plain_warnings, print_assets, print_json
from vertebra.cli.progress import busy
from vertebra.cli.terminal.streams import say, say_lines
from vertebra.cli.terminal.table import print_fields
from vertebra.cli.terminal.tree import draw_tree
from vertebra.errors import LoraStateError
from vertebra.specs import LoraReceipt, MergeReceipt

_MERGED = ("layers", "largest_error", "largest_value", "changed_projections")
_FORMS = {"short": "the short form", "peft": "PEFT's folder", "kerashub": "KerasHub's .lora.h5"}


def add_commands(commands: Any) -> None:
    """Adds the group."""
    text = "show a LoRA adapter, check it for an engine, convert it to another format, or merge it into a preset"
    group = commands.add_parser("lora", help=text, description=text).add_subparsers(metavar="ACTION", required=True)
    info = _add(group, "info", "show an adapter's settings, layers and sizes, without loading it", _info)
    check = _add(group, "check", "say what of an adapter PEFT or a server would refuse, ignore or change", None)
    checking.add_arguments(check)
    text = "convert an adapter to another format; without --base, only adapter_model.bin of a folder to safetensors"
    convert = _add(group, "convert", text, _convert)
    convert.add_argument("target", help="a .safetensors or .lora.h5 file, or a folder in PEFT's layout")
    merge = _add(group, "merge", "write a preset with an adapter merged into its kernels", _merge)
    merge.add_argument("target", help="the folder to write; an error leaves no partial folder")
    merge.add_argument(
        "--format", default="native", help="native (the default), kerashub, transformers, or one of a plugin"
    )
    merge.add_argument("--dtype", help="dtype of the merged preset (default: Keras's dtype policy)")
    for parser in (convert, merge):
        parser.add_argument(
            "--base", required=parser is merge, metavar="PRESET", help="the base model: a preset id, handle or path"
        )
        no_check = "accept a base model that the adapter was not trained on"
        parser.add_argument("--no-check-base", action="store_true", help=no_check)
        parser.add_argument("--no-strict", action="store_true", help="skip tensors that the base model does not have")
        parser.add_argument("--runtime", help="runtime to use (default: the selected one, or any)")
    for parser in (info, check, convert, merge):
        parser.add_argument("--json", action="store_true", help="print JSON")


def _add(group: Any, name: str, text: str, run: Any) -> Any:
    parser = group.add_parser(name, help=text, description=text)
    parser.add_argument("adapter", help="a handle, a .safetensors or .lora.h5 file, or a folder in PEFT's layout")
    parser.set_defaults(run=run)
    return parser


# === info ===


def _info(args: argparse.Namespace) -> int:
    from vertebra._lora.files.describe import describe_adapter

    facts = describe_adapter(args.adapter)
    if args.json:
        print_json(facts)
    else:
        _print_facts(facts)
    return 0


def _print_facts(facts: Mapping[str, Any]) -> None:
    from vertebra._lora.files.describe import CO_TRAINED

    co_trained = f", and {len(facts[CO_TRAINED])} co-trained base weights" if facts[CO_TRAINED] else ""
    lines = [
        ("adapter", f"{facts['adapter']}, {_FORMS[facts['form']]}"),
        ("strategy", facts["strategy"] or "not installed"),
        (facts["rank_name"], _listed(facts["ranks"])),
        ("alpha", _listed(facts["alphas"])),
        *([("options", _options(facts["options"]))] if facts["options"] else []),
        ("layers", f"{len(facts['layers'])}{co_trained}"),
        *(("added layer", _added(layer, own)) for layer, own in facts["added_layers"].items()),
        ("parameters", f"{facts['parameters']:,}"),
        ("bytes", f"{facts['bytes']:,} ({bytes_text(facts['bytes'])})"),
        ("base", facts["base"] or "not recorded"),
        ("base model", facts["base_model"] or "not recorded"),
        ("saved from", facts["saved_from"] or "not recorded"),
    ]
    print_fields(lines)
    say()
    tree = draw_tree("tensors", [tensor | {"name": _path(tensor["name"])} for tensor in facts["tensors"]])
    say_lines(f"{tree}\n")


def _options(options: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={json.dumps(value)}" for name, value in options.items())


def _added(layer: str, facts: Mapping[str, Any]) -> str:
    options = {name: value for name, value in facts.items() if name != "strategy"}
    return f"{layer}, by {facts['strategy']}: {_options(options)}"


def _listed(numbers: list[Any]) -> str:
    return ", ".join(f"{number:g}" for number in numbers) or "-"


def _path(name: str) -> str:
    """Returns a tensor's name as a path; PEFT writes dots instead of slashes."""
    return name if "/" in name else name.replace(".", "/")


# === convert ===


def _convert(args: argparse.Namespace) -> int:
    from vertebra._lora.files.describe import describe_adapter

    if args.base is None:
        _refuse_options_of_a_base(args)
    with busy(f"converting {args.adapter}"):
        outcome = _rewritten(args) if args.base is None else _saved(args)
        facts = describe_adapter(args.target) | outcome
    if args.json:
        print_json(facts)
        return 0
    sizes = f"{len(facts['layers'])} layers, {facts['parameters']:,} parameters, {bytes_text(facts['bytes'])}"
    rank = f" of {facts['rank_name']} {_listed(facts['ranks'])}" if facts["ranks"] else ""
    say(f"{args.adapter} -> {args.target} ({_FORMS[facts['form']]}): {facts['strategy']}{rank}, {sizes}")
    _print_notes(facts)
    return 0


def _refuse_options_of_a_base(args: argparse.Namespace) -> None:
    """Raises LoraStateError for options that would have no effect without a base."""
    options = {"--no-check-base": args.no_check_base, "--no-strict": args.no_strict, "--runtime": args.runtime}
    given = [name for name, value in options.items() if value]
    if given:
        remedy = "Name the base model of the adapter, with --base PRESET, or leave them out"
        raise LoraStateError(f"Without a base, these options have no effect: {', '.join(given)}", remedy)


def _rewritten(args: argparse.Namespace) -> dict[str, Any]:
    """Rewrites a pickle, and returns its source and notes on it, as plain data."""
    from vertebra._lora.convert import rewrite_pickle

    return {"source": args.adapter, "unused": [], "notes": rewrite_pickle(args.adapter, args.target)}


def _saved(args: argparse.Namespace) -> dict[str, Any]:
    """Saves the adapter from its base, and returns its source and notes on it, as plain data."""
    from vertebra._lora.convert import load_to_convert
    from vertebra._system.atomic_save import destination

    destination(args.target)
    _bind(args, _check_inputs(args, pickles=True))

    backbone, receipt = _adapted(args, load_to_convert)
    lora.save(backbone, args.target)
    return _loaded(args, receipt)


# === merge ===


def _merge(args: argparse.Namespace) -> int:
    from vertebra._presets.replace_folder import check_request

    target = check_request(args.target, args.format, None)
    _bind(args, _check_inputs(args))
    from vertebra._presets.save import save_backbone

    with busy(f"merging {args.adapter}"):
        backbone, receipt = _adapted(args)
        quantized = bool(backbone.constructor_config().get("quantized"))
        if quantized:
            backbone = _dequantized(backbone, args)
        merged = lora.merge(backbone, reversible=False)
        assets = save_backbone(backbone, target, args.format, fetch=True)
    if args.json:
        facts = {"dequantized": quantized, "assets": asdict(assets)}
        print_json(_merge_facts(args, merged) | _loaded(args, receipt) | facts)
        return 0
    say(f"{args.base} + {args.adapter} -> {args.target} ({args.format})")
    if quantized:
        say("The base model is quantised; the merged preset is a dequantised copy of it.")
    largest = f"largest rounding error {merged.largest_error:.1e}, largest value {merged.largest_value:.3g}"
    say(f"merged into {len(merged.layers)} kernels; {largest}")
    if merged.changed_projections:
        tables = ", ".join(merged.changed_projections)
        say(f"merging changes the logits of the tied projection, as in PEFT: {tables}")
    print_assets(assets)
    _print_notes(_loaded(args, receipt))
    return 0


def _merge_facts(args: argparse.Namespace, merged: MergeReceipt) -> dict[str, Any]:
    request = {"base": args.base, "target": args.target, "format": args.format}
    return request | {name: asdict(merged)[name] for name in _MERGED}


def _dequantized(backbone: Any, args: argparse.Namespace) -> Any:
    """Returns a floating-point copy with the same adapter; the base model is not checked again.

    Its check would fail, because the copy has another fingerprint.
    """
    lora.unload(backbone)
    copy = lora.merged_copy(backbone)
    lora.load(copy, args.adapter, check_base=False, strict=not args.no_strict)
    return copy


# === Both ===


def _check_inputs(args: argparse.Namespace, pickles: bool = False) -> str:
    """Finds the adapter and its base, because an error should come before a framework is imported.

    Only paths are checked: a handle is resolved once, so that a command reads one revision.

    Returns:
        Name of the base's class, which may be for one runtime only; nothing for a handle.
    """
    from vertebra._formats.registry import read_description
    from vertebra._lora.files.adapter_files import read_files
    from vertebra._resolve.candidates import is_plain_path
    from vertebra._resolve.open import open_folder

    if is_plain_path(args.adapter):
        read_files(args.adapter, lambda _: None, pickles=pickles)
    if is_plain_path(args.base):
        return read_description(open_folder(args.base)).backbone
    return ""


def _bind(args: argparse.Namespace, name: str) -> None:
    """Binds a runtime that computes a class; this must come before any import of Keras."""
    bind_any(name, args.runtime)
    plain_warnings()


def _adapted(args: argparse.Namespace, load: Callable[..., LoraReceipt] = lora.load) -> tuple[Any, LoraReceipt]:
    """Loads the base model, and the adapter into it by `load`."""
    from vertebra.backbone import Backbone

    dtype = getattr(args, "dtype", None)
    overrides: dict[str, Any] = {} if dtype is None else {"dtype": dtype}
    backbone = Backbone.from_preset(args.base, **overrides)
    own = lora.adapters(backbone)
    if own:
        remedy = "Pass the preset of its base model, and save that adapter to a file with save_lora_weights"
        raise LoraStateError(f"The preset {args.base!r} already has the adapter {', '.join(own)}", remedy)
    check_base, strict = not args.no_check_base, not args.no_strict
    return backbone, load(backbone, args.adapter, check_base=check_base, strict=strict)


def _loaded(args: argparse.Namespace, receipt: LoraReceipt) -> dict[str, Any]:
    """Returns the source of the adapter and the notes on it, as plain data."""
    return {
        "source": args.adapter,
        "handle": receipt.source,
        "base_model": receipt.base_model,
        "unused": list(receipt.unused),
        "notes": list(receipt.notes),
    }


def _print_notes(facts: Mapping[str, Any]) -> None:
    for note in facts["notes"]:
        say(f"note: {note}")
    if facts["unused"]:
        say(f"unused tensors of the adapter: {', '.join(facts['unused'])}")
