"""`vertebra verify PRESET`: replays a preset's parity certificate on the runtime at hand."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

from vertebra import _runtimes
from vertebra.cli.output import print_json


def add_commands(commands: Any) -> None:
    """Adds the command."""
    text = "replay the input and output that were stored with a preset, and report the difference"
    parser = commands.add_parser("verify", help=text, description=text)
    parser.add_argument("preset", help="a preset id, a handle or a path")
    parser.add_argument("--runtime", help="runtime to replay on (default: as for from_preset)")
    parser.add_argument("--dtype", help="dtype to compute in (default: Keras's dtype policy)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=_run)


def _run(chosen: argparse.Namespace) -> int:
    facts = verify_preset(chosen.preset, chosen.runtime, chosen.dtype)
    if chosen.json:
        print_json(facts)
    else:
        _print_facts(facts)
    return 0 if facts["holds"] else 1


def verify_preset(preset: str, runtime: str | None, dtype: str | None) -> dict[str, Any]:
    """Loads a preset and returns what its certificate showed, as plain data.

    Raises:
        CertificateError: it has none, or one of another architecture.
    """
    runtime = _runtimes.bind(runtime).name
    from vertebra._presets.certificate import replay
    from vertebra._presets.folder import open_folder
    from vertebra.backbone import Backbone

    folder = open_folder(preset)
    overrides: dict[str, Any] = {} if dtype is None else {"dtype": dtype}
    backbone = Backbone.from_preset(preset, **overrides)
    verdict = replay(backbone, folder)
    return {
        "handle": str(folder.handle),
        "saved_with": verdict.saved_with,
        "replayed_with": {"runtime": runtime, "dtype": str(backbone.compute_dtype)},
        "outputs": {
            name: {"difference": difference, "limit": verdict.limits[name]}
            for name, difference in verdict.differences.items()
        },
        "holds": verdict.holds,
    }


def _print_facts(facts: Mapping[str, Any]) -> None:
    saved, replayed = (f"{way['runtime']} in {way['dtype']}" for way in (facts["saved_with"], facts["replayed_with"]))
    print(f"{facts['handle']}: saved with {saved}, replayed with {replayed}")
    for name, output in facts["outputs"].items():
        print(f"  {name:<16} largest difference {output['difference']:.1e} (limit {output['limit']:.0e})")
    print("holds" if facts["holds"] else "DOES NOT HOLD: weights, code or runtime changed since the preset was saved")
