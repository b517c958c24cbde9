"""`vertebra lora check ADAPTER --for ENGINE`: says what of an adapter an engine would not use."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

from vertebra.cli.output import print_json
from vertebra.cli.terminal.streams import say
from vertebra.errors.base import shorten

_VERBS = {"refused": "is refused", "ignored": "is ignored", "changed": "is computed in another way"}


def add_arguments(parser: Any) -> None:
    """Adds the arguments of `vertebra lora check`."""
    from vertebra._lora.engines.table import engines

    parser.add_argument(
        "--for", dest="engine", required=True, choices=list(engines()), help="the engine that is to run the adapter"
    )
    parser.add_argument("--base", metavar="PRESET", help="also compare with this base model, in transformers' format")
    parser.add_argument("--max-rank", type=int, metavar="N", help="the largest rank that the server is started with")
    parser.set_defaults(run=_run, parser=parser)


def _run(args: argparse.Namespace) -> int:
    from vertebra._lora.engines.check import check_adapter

    if args.max_rank is not None and args.max_rank < 1:
        args.parser.error("--max-rank must be at least 1")
    facts = check_adapter(args.adapter, args.engine, args.base, args.max_rank)
    if args.json:
        print_json(facts)
    else:
        _print_facts(facts)
    return 0 if facts["used"] else 1


def _print_facts(facts: Mapping[str, Any]) -> None:
    from vertebra._lora.engines.table import engines

    engine = f"{engines()[facts['engine']].title} {facts['version']}"
    if facts["used"]:
        say(f"{facts['adapter']}: {engine} uses all of its {facts['tensors']} tensors")
        return
    for finding in facts["findings"]:
        say(f"{_subject(finding)} {_VERBS[finding['effect']]}: {finding['reason']}")
        say(f"  source: {finding['source']}")
    if facts["refused"]:
        say(f"{facts['adapter']}: {engine} refuses the adapter")
    elif facts["unused_tensors"]:
        counts = f"{len(facts['unused_tensors'])} of {facts['tensors']} tensors"
        say(f"{facts['adapter']}: {engine} would ignore {counts}")
    else:
        say(f"{facts['adapter']}: {engine} would compute something else than PEFT")


def _subject(finding: Mapping[str, Any]) -> str:
    if finding["tensors"]:
        return shorten(finding["tensors"], 3)
    return "The adapter" if finding["field"] is None else f"{finding['field']}={finding['value']!r}"
