"""`--ray`, and how many actors a run has."""

from __future__ import annotations

import argparse
from typing import Any

from vertebra_ray.engine import RayEngine


def add_options(parser: Any) -> None:
    """Adds the options of Ray to a command over files."""
    group = parser.add_argument_group("Ray")
    where = "answer on Ray: local starts one on this machine; auto takes the running one, or starts one; or HOST:PORT"
    group.add_argument("--ray", dest="engine", type=RayEngine, metavar="ADDRESS", help=where)
    actors = "with --ray: number of actors, which each load the task (default: one for each CPU or GPU they reserve)"
    group.add_argument("--ray-actors", type=_count, metavar="N", help=actors)
    cpus = "with --ray: CPUs that an actor reserves and computes with (default: 1)"
    group.add_argument("--ray-cpus", type=_count, default=1, metavar="N", help=cpus)
    gpus = "with --ray: GPUs that an actor reserves, such as 1 or 0.5 (default: 0)"
    group.add_argument("--ray-gpus", type=_share, default=0.0, metavar="N", help=gpus)


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r}: expected a number of at least 1")
    return int(text)


def _share(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = -1.0
    if not (0 <= share <= 1 or (share.is_integer() and share < 1000)):
        raise argparse.ArgumentTypeError(f"{text!r}: expected a share of a GPU from 0 to 1, or a whole number of them")
    return share
