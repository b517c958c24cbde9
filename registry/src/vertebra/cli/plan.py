"""`vertebra plan PRESET`: estimates the download and memory of a preset, before it is downloaded or loaded."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from typing import Any

from vertebra._presets.cache_plan import NEW_TOKENS, PROMPT_TOKENS, Lengths
from vertebra._presets.plan import Plan, plan_preset
from vertebra._presets.plans.devices import RANK
from vertebra.cli.output import bytes_text, print_json
from vertebra.cli.plans.devices import add_options, devices_request, print_devices
from vertebra.cli.terminal.table import print_fields, print_text


def add_commands(commands: Any) -> None:
    """Adds the command."""
    text = "estimate how much a preset takes to download, load and train, and whether it fits, without loading it"
    parser = commands.add_parser("plan", help=text, description=text)
    parser.add_argument("preset", help="a preset id, a handle or a path")
    parser.add_argument("--dtype", help="dtype or dtype policy of the weights (default: float32)")
    parser.add_argument("--runtime", help="runtime whose first device must fit it (default: the main memory)")
    rank = f"also estimate LoRA training with this rank; with --train lora: rank of the adapter (default: {RANK})"
    parser.add_argument("--lora-rank", type=int, metavar="RANK", help=rank)
    what = "also estimate the cache with which a decoder generates text"
    parser.add_argument("--generate", action="store_true", help=what)
    rows = "with --generate: sequences at once: prompts, times answers or beams; with --train: sequences in each part "
    rows += "of the batch (default: 1)"
    parser.add_argument("--batch-size", type=int, metavar="N", help=rows)
    prompt = f"with --generate: tokens of each prompt (default: {PROMPT_TOKENS})"
    parser.add_argument("--prompt-tokens", type=int, metavar="N", help=prompt)
    new = f"with --generate: tokens of each answer (default: {NEW_TOKENS})"
    parser.add_argument("--new-tokens", type=int, metavar="N", help=new)
    add_options(parser)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> int:
    request, lengths = devices_request(args), _lengths(args)
    lora_rank = args.lora_rank if request is None else None
    plan = plan_preset(args.preset, args.dtype, args.runtime, lora_rank, lengths, request)
    uses = _uses(plan)
    if args.json:
        facts = {"place" if name == "device" else name: value for name, value in asdict(plan).items()}
        print_json(facts | {"fits": {name: plan.fits(needed) for name, needed in uses.items()}})
        return 0
    print_text(f"{plan.backbone} of {plan.handle} ({plan.format}), {plan.parameters:,} parameters")
    if plan.devices is not None:
        print_devices(plan.devices)
        return 0
    print_fields([*_sizes(plan), *((name, _verdict(plan, needed)) for name, needed in uses.items())], indent="  ")
    if plan.not_read:
        print_text(f"warning: {plan.not_read} and its shards are not read: vertebra verify compares both checkpoints")
    print_text("Activations take additional memory, which depends on the batch.")
    return 0


def _lengths(args: argparse.Namespace) -> Lengths | None:
    given = {"--batch-size": args.batch_size, "--prompt-tokens": args.prompt_tokens, "--new-tokens": args.new_tokens}
    if args.generate:
        return Lengths(1 if args.batch_size is None else args.batch_size, args.prompt_tokens, args.new_tokens)
    if args.train is not None:
        del given["--batch-size"]
    for option in (option for option, value in given.items() if value is not None):
        args.parser.error(f"{option} is for --generate")
    return None


def _sizes(plan: Plan) -> list[tuple[str, str]]:
    rows = [
        ("to download", f"{bytes_text(plan.to_fetch)} of {bytes_text(plan.files)}"),
        ("weights", f"{bytes_text(plan.weights)}, of which {bytes_text(plan.converted)} are converted copies"),
    ]
    if plan.task is not None:
        rows.append(("head", f"{plan.head_parameters:,} parameters of {plan.task}, {bytes_text(plan.head)}"))
    if plan.cache is not None:
        lengths = f"{plan.cache.prompt_tokens:,} + {plan.cache.new_tokens:,} tokens"
        rows.append(("cache", f"{bytes_text(plan.cache.bytes)} for {_sequences(plan.cache.rows)} of {lengths}"))
    if plan.lora_parameters is not None:
        with_head = f", and {plan.head_parameters:,} of the head" if plan.head_parameters else ""
        rows.append(("LoRA", f"{plan.lora_parameters:,} parameters{with_head}"))
    return rows


def _sequences(count: int) -> str:
    return "1 sequence" if count == 1 else f"{count:,} sequences"


def _uses(plan: Plan) -> dict[str, int]:
    weights = plan.weights + plan.head
    uses = {"run": weights}
    if plan.cache is not None:
        uses["generate"] = weights + plan.cache.bytes
    uses["train all"] = weights + plan.train_all
    if plan.train_lora is not None:
        uses["train LoRA"] = weights + plan.train_lora
    return uses


def _verdict(plan: Plan, needed: int) -> str:
    if plan.free is None:
        return f"{bytes_text(needed)}: the free memory of {plan.device} is unknown"
    fits = "fits" if plan.fits(needed) else "does not fit"
    return f"{bytes_text(needed)}: {fits} in {plan.device} ({bytes_text(plan.free)} free)"
