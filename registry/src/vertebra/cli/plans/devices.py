"""Many devices in `vertebra plan`: the options, and the table of meshes."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

from vertebra._presets.plans.devices import LENGTH, RANK, DevicesPlan, DevicesRequest, MeshPlan
from vertebra._presets.plans.meshes import mesh_text, parse_mesh
from vertebra.cli.output import bytes_text, print_rows
from vertebra.cli.plans.sizes import parse_size
from vertebra.cli.terminal.table import print_text
from vertebra.errors import ArgumentError

_ONLY = ("mesh", "parallel", "train", "on_uneven", "length", "recompute", "memory")
"""The options that are for `--devices`."""
_SIZES = ("weights", "gathered", "gradients", "optimizer", "activations", "cache")


def add_options(parser: Any) -> None:
    """Adds the options for many devices."""
    parser.add_argument("--devices", type=int, metavar="N", help="plan this number of devices, and what each needs")
    mesh = "with --devices: the mesh, such as 2x4; without it, all meshes of fsdp and tensor parallelism are compared"
    parser.add_argument("--mesh", metavar="SIZES", help=mesh)
    uses = "with --mesh: the use of each axis, of data, fsdp and tensor (default: fsdp; fsdp,tensor; data,fsdp,tensor)"
    parser.add_argument("--parallel", metavar="USES", help=uses)
    parser.add_argument("--train", choices=["full", "lora"], help="with --devices: train all weights, or an adapter")
    uneven = "with --devices: weights that cannot be divided evenly are an error (default), or replicated"
    parser.add_argument("--on-uneven", choices=["error", "replicate"], help=uneven)
    length = f"with --train: tokens of each sequence (default for texts: {LENGTH}, or the positions of the backbone)"
    parser.add_argument("--length", type=int, metavar="N", help=length)
    again = "with --train: blocks keep their inputs alone, and compute their activations again"
    parser.add_argument("--recompute", action="store_true", help=again)
    memory = "with --devices: memory of each device, such as 80GB (default: that of --runtime, or unknown)"
    parser.add_argument("--memory", type=parse_size, metavar="SIZE", help=memory)


def devices_request(args: argparse.Namespace) -> DevicesRequest | None:
    """Returns the devices that the options ask for, or None.

    Raises:
        ArgumentError: a value is out of range.
    """
    if args.devices is None:
        for name in (name for name in _ONLY if getattr(args, name) is not None and getattr(args, name) is not False):
            args.parser.error(f"--{name.replace('_', '-')} is for --devices")
        return None
    _check_pairs(args)
    if args.memory is not None and not 1 <= args.memory < 2**63:
        raise ArgumentError("vertebra plan", "--memory", args.memory, "at least one byte, and less than 8 EiB")
    return DevicesRequest(
        devices=args.devices,
        mesh=None if args.mesh is None else parse_mesh(args.mesh),
        parallel=None if args.parallel is None else tuple(use.strip() for use in args.parallel.split(",")),
        train=args.train,
        replicates_uneven=args.on_uneven == "replicate",
        sequences=1 if args.batch_size is None else args.batch_size,
        length=args.length,
        recompute=args.recompute,
        rank=RANK if args.lora_rank is None else args.lora_rank,
        memory=None if args.memory is None else int(args.memory),
    )


def _check_pairs(args: argparse.Namespace) -> None:
    if args.parallel is not None and args.mesh is None:
        args.parser.error("--parallel is for --mesh")
    if args.train is None and (args.length is not None or args.recompute):
        args.parser.error(f"--{'recompute' if args.length is None else 'length'} is for --train")
    if args.lora_rank is not None and args.train != "lora":
        args.parser.error("--lora-rank with --devices is for --train lora")
    if args.train is not None and args.generate:
        args.parser.error("--train and --generate are two plans: give one of them")
    if args.batch_size is not None and args.train is None and not args.generate:
        args.parser.error("--batch-size is for --train or --generate")


def print_devices(plan: DevicesPlan) -> None:
    """Prints the bytes of each device by kind, and the assumptions behind them."""
    print_text(_title(plan))
    _print_meshes(plan.meshes, plan.first_fit if len(plan.meshes) > 1 else None)
    for mesh in (mesh for mesh in plan.meshes if mesh.problem):
        print_text(f"{mesh_text(mesh.axes)} cannot be used: {mesh.problem}")
    print_text(_verdict(plan))
    if plan.others:
        _print_meshes(plan.others, 0)
    if plan.replicated:
        print_text("Weights that an axis of the mesh does not divide, and their bytes on each device:")
        rows = [
            {"weights": group.weights, "count": group.count, "bytes": bytes_text(group.bytes)}
            | {"along": group.along, "reason": group.reason}
            for group in plan.replicated
        ]
        print_rows(rows, list(rows[0]))
    for line in _assumptions(plan):
        print_text(line)


def _title(plan: DevicesPlan) -> str:
    work = {"full": "training of all weights", "lora": "training of an adapter", None: "no training"}[plan.train]
    memory = "" if plan.memory is None else f" of {bytes_text(plan.memory)}"
    texts = [f"{plan.devices:,} devices{memory}", plan.dtype, work]
    if plan.adapter_parameters is not None:
        texts.append(f"{plan.adapter_parameters:,} parameters of the adapter")
    if plan.length is not None:
        sequences = "1 sequence" if plan.sequences == 1 else f"{plan.sequences:,} sequences"
        texts.append(f"{sequences} of {plan.length:,} tokens in each part of the batch")
    return ", ".join(texts)


def _print_meshes(meshes: Sequence[MeshPlan], first: int | None) -> None:
    used = [name for name in _SIZES if any(getattr(mesh, name) for mesh in meshes)]
    rows = []
    for number, mesh in enumerate(meshes):
        sizes = {name: None if mesh.problem else _bytes(getattr(mesh, name)) for name in (*used, "total", "reads")}
        fits = {True: "yes", False: "no", None: None}[mesh.fits]
        rows.append({"mesh": mesh_text(mesh.axes), **sizes, "fits": "yes, the first" if number == first else fits})
    columns = [name for name in rows[0] if name != "fits" or any(row["fits"] for row in rows)]
    print_rows(rows, columns)


def _bytes(size: int | None) -> str | None:
    return None if size is None else bytes_text(size)


def _verdict(plan: DevicesPlan) -> str:
    if all(mesh.problem for mesh in plan.meshes):
        return "No mesh can be used: --on-uneven replicate leaves weights whole that cannot be divided evenly."
    if plan.memory is None:
        return "The memory of a device is unknown: --memory 80GB says which mesh fits."
    if plan.first_fit is not None:
        return f"It fits on {mesh_text(plan.meshes[plan.first_fit].axes)}."
    if any(mesh.fits is None for mesh in plan.meshes):
        return "Whether it fits depends on the activations, which are not known."
    if plan.others:
        return f"It does not fit. It fits on {', '.join(mesh_text(mesh.axes) for mesh in plan.others)}:"
    remedy = " With --recompute, there are fewer activations." if plan.train and not plan.recompute else ""
    return f"It does not fit on any mesh of fsdp and tensor parallelism of {plan.devices:,} devices.{remedy}"


def _assumptions(plan: DevicesPlan) -> list[str]:
    lines = ["Reads are the bytes of a process for each device; the system reads whole pages of the files."]
    if plan.derived:
        lines.append("The architecture declares no layout: it is derived from the shapes of the weights.")
    if any(mesh.gathered for mesh in plan.meshes):
        layers = "the two largest layers at once" + (", and a gradient of one" if plan.train == "full" else "")
        lines.append(f"Gathered: fsdp has the weights of {layers}.")
    if plan.train is None:
        lines.append("Activations take additional memory, which depends on the batch.")
    else:
        known = next((mesh for mesh in plan.meshes if mesh.activations is not None and not mesh.problem), None)
        if known is None:
            cause = "without a layout" if plan.derived else "without --length, the tokens or patches of an input"
            lines.append(f"Activations take additional memory, which is not known {cause}.")
        else:
            kept = "the inputs of blocks, and one block's" if plan.recompute else "those of all blocks"
            source = "counted by the method of Korthikanti et al. 2022 (arXiv:2205.05198), with fused attention"
            lines.append(
                f"Activations: {kept}, {source}; without it, {bytes_text(known.scores)} more on the first mesh."
            )
    return lines
