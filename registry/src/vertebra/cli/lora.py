"""`vertebra lora info|convert|merge ADAPTER`: what an adapter is, its other forms, and a preset with it merged."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from vertebra import lora
from vertebra._discovery import runtimes
from vertebra.cli.output import bytes_text, plain_warnings, print_assets, print_json, printable
from vertebra.cli.progress import busy
from vertebra.cli.tree import draw_tree
from vertebra.errors import LoraStateError
from vertebra.specs import LoraReceipt, MergeReceipt

_MERGED = ("layers", "largest_error", "largest_value", "changed_projections")
_FORMS = {"short": "the short form", "peft": "PEFT's folder", "kerashub": "KerasHub's .lora.h5"}


def add_commands(commands: Any) -> None:
    """Adds the group."""
    text = "show a LoRA adapter, write it in another form, or merge it into a preset"
    group = commands.add_parser("lora", help=text, description=text).add_subparsers(metavar="ACTION", required=True)
    info = _add(group, "info", "show an adapter's settings, layers and sizes, without loading it", _info)
    convert = _add(group, "convert", "write an adapter in another form", _convert)
    convert.add_argument("target", help="a .safetensors or .lora.h5 file, or a folder in PEFT's layout")
    merge = _add(group, "merge", "write a preset with an adapter merged into its kernels", _merge)
    merge.add_argument("target", help="the folder to write; it appears complete or not at all")
    merge.add_argument("--format", default="native", help="native, kerashub or transformers (default: native)")
    merge.add_argument("--dtype", help="dtype of the merged preset (default: Keras's dtype policy)")
    for parser in (convert, merge):
        parser.add_argument("--base", required=True, metavar="PRESET", help="a preset of the base: id, handle or path")
        parser.add_argument("--no-check-base", action="store_true", help="take a base it was not trained on, too")
        parser.add_argument("--no-strict", action="store_true", help="leave out tensors that the base has no place for")
        parser.add_argument("--runtime", help="runtime that computes (default: the chosen one, or any)")
    for parser in (info, convert, merge):
        parser.add_argument("--json", action="store_true", help="print JSON")


def _add(group: Any, name: str, text: str, run: Any) -> Any:
    parser = group.add_parser(name, help=text, description=text)
    parser.add_argument("adapter", help="a .safetensors or .lora.h5 file, or a folder in PEFT's layout")
    parser.set_defaults(run=run)
    return parser


# === info ===


def _info(chosen: argparse.Namespace) -> int:
    from vertebra.cli.lora_info import describe_adapter

    facts = describe_adapter(chosen.adapter)
    if chosen.json:
        print_json(facts)
    else:
        _print_facts(facts)
    return 0


def _print_facts(facts: Mapping[str, Any]) -> None:
    beside = f", and {len(facts['beside'])} base weights beside them" if facts["beside"] else ""
    lines = {
        "adapter": f"{facts['adapter']}, {_FORMS[facts['form']]}",
        "strategy": facts["strategy"] or "none that is installed",
        "rank": _listed(facts["ranks"]),
        "alpha": _listed(facts["alphas"]),
        "layers": f"{len(facts['layers'])}{beside}",
        "parameters": f"{facts['parameters']:,}",
        "bytes": f"{facts['bytes']:,} ({bytes_text(facts['bytes'])})",
        "base": facts["base"] or "not said",
        "saved from": facts["saved_from"] or "not said",
    }
    for name, value in lines.items():
        print(f"{name:<11} {printable(value)}")
    print()
    print(draw_tree("tensors", [tensor | {"name": _path(tensor["name"])} for tensor in facts["tensors"]]))


def _listed(numbers: list[Any]) -> str:
    return ", ".join(f"{number:g}" for number in numbers) or "-"


def _path(name: str) -> str:
    """PEFT has dots where paths have slashes."""
    return printable(name if "/" in name else name.replace(".", "/"))


# === convert ===


def _convert(chosen: argparse.Namespace) -> int:
    _bind(chosen)
    from vertebra.cli.lora_info import describe_adapter

    with busy(f"converting {chosen.adapter}"):
        backbone, receipt = _adapted(chosen)
        lora.save(backbone, chosen.target)
        facts = describe_adapter(chosen.target) | {"source": chosen.adapter, "unused": list(receipt.unused)}
    if chosen.json:
        print_json(facts)
        return 0
    sizes = f"{len(facts['layers'])} layers, {facts['parameters']:,} parameters, {bytes_text(facts['bytes'])}"
    what = f"{facts['strategy']} of rank {_listed(facts['ranks'])}"
    print(f"{chosen.adapter} -> {chosen.target} ({_FORMS[facts['form']]}): {what}, {sizes}")
    _print_unused(receipt)
    return 0


# === merge ===


def _merge(chosen: argparse.Namespace) -> int:
    _bind(chosen)
    from vertebra._presets.save import check_request, save_backbone

    target = check_request(chosen.target, chosen.format, None)
    with busy(f"merging {chosen.adapter}"):
        backbone, receipt = _adapted(chosen)
        quantized = bool(backbone.constructor_config().get("quantized"))
        if quantized:
            backbone = _dequantized(backbone, chosen)
        merged = lora.merge(backbone, reversible=False)
        assets = save_backbone(backbone, target, chosen.format, fetch=True)
    if chosen.json:
        facts = {"dequantized": quantized, "unused": list(receipt.unused), "assets": asdict(assets)}
        print_json(_merge_facts(chosen, merged) | facts)
        return 0
    print(f"{chosen.base} + {chosen.adapter} -> {chosen.target} ({chosen.format})")
    if quantized:
        print("The base is quantised: this is a dequantised copy of it.")
    print(f"merged into {len(merged.layers)} kernels; rounding is at most {merged.largest_error:.1e}, ", end="")
    print(f"with values up to {merged.largest_value:.3g}")
    if merged.changed_projections:
        tables = ", ".join(map(printable, merged.changed_projections))
        print(f"logits of the tied projection change by merging, as in PEFT: {tables}")
    print_assets(assets)
    _print_unused(receipt)
    return 0


def _merge_facts(chosen: argparse.Namespace, merged: MergeReceipt) -> dict[str, Any]:
    asked = {"source": chosen.adapter, "base": chosen.base, "target": chosen.target, "format": chosen.format}
    return asked | {name: asdict(merged)[name] for name in _MERGED}


def _dequantized(backbone: Any, chosen: argparse.Namespace) -> Any:
    """Returns a copy in floats with the same adapter; the base has been checked, and a copy has another fingerprint."""
    lora.unload(backbone)
    copy = lora.merged_copy(backbone)
    lora.load(copy, chosen.adapter, check_base=False, strict=not chosen.no_strict)
    return copy


# === Both ===


def _bind(chosen: argparse.Namespace) -> None:
    """Binds a runtime, which must come before anything that imports Keras."""
    runtimes.bind_any(chosen.runtime)
    plain_warnings()


def _adapted(chosen: argparse.Namespace) -> tuple[Any, LoraReceipt]:
    """Loads the base and puts the adapter on it."""
    from vertebra.backbone import Backbone

    dtype = getattr(chosen, "dtype", None)
    overrides: dict[str, Any] = {} if dtype is None else {"dtype": dtype}
    backbone = Backbone.from_preset(chosen.base, **overrides)
    own = lora.adapters(backbone)
    if own:
        remedy = "Give the preset of its base, and that adapter by itself: save_lora_weights writes it"
        raise LoraStateError(f"The preset {chosen.base!r} has an adapter of its own, {', '.join(own)}", remedy)
    check_base, strict = not chosen.no_check_base, not chosen.no_strict
    return backbone, lora.load(backbone, chosen.adapter, check_base=check_base, strict=strict)


def _print_unused(receipt: LoraReceipt) -> None:
    if receipt.unused:
        print(f"in the adapter and not used: {', '.join(map(printable, receipt.unused))}")
