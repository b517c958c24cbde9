"""Fuzzes all targets, each in a process of its own, and prints a line for each; `make fuzz` runs it.

    python -m fuzz.run --seconds 60 [TARGET...]

The exit status is 1 if an input did more than to be read or refused: the report names the file with the input.
"""

import argparse
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from fuzz.targets import TARGETS

GRACE = 600
"""Seconds that a process may take for its start, on a busy machine, too, and for its last input."""
HEAD = f"{'target':22}{'inputs':>11}{'seconds':>9}{'inputs/s':>10}{'branches':>10}{'slowest':>9}{'grown':>8}  outcomes"


def environment() -> dict[str, str]:
    """Returns the variables of a process: none of the user's settings, one thread, and a runtime."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("VERTEBRA_", "KERAS_"))}
    runtime = {"VERTEBRA_RUNTIME": "torch", "KERAS_BACKEND": "torch", "VERTEBRA_CONFIG": os.devnull}
    return kept | runtime | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[1])}


def fuzz(name: str, options: argparse.Namespace) -> bool:
    """Fuzzes one target and prints its line; returns whether every input was read or refused."""
    command = [
        sys.executable,
        "-m",
        "fuzz.campaign",
        name,
        "--seconds",
        str(options.seconds),
        "--folder",
        str(options.folder),
    ]
    command += ["--runs", str(options.runs)] if options.runs else []
    command += ["--random"] if options.random else []
    folder = options.folder / name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "report.json").unlink(missing_ok=True)
    with (folder / "log.txt").open("wb") as log:
        try:
            limit = options.seconds + GRACE
            done = subprocess.run(command, env=environment(), stdout=log, stderr=log, timeout=limit)
            problem = "" if done.returncode == 0 else f"exit status {done.returncode}"
        except subprocess.TimeoutExpired:
            problem = "an input hangs"
    output = (folder / "log.txt").read_text(encoding="utf-8", errors="replace")
    report = folder / "report.json"
    print(line(name, json.loads(report.read_bytes()) if report.exists() else {}, output))
    if problem:
        print(f"FAILED: {name}: {problem}\n{reason(output)}")
        print(f"The input is in {folder}, and all output in {folder / 'log.txt'}.")
    sys.stdout.flush()
    return not problem


def line(name: str, facts: dict[str, Any], output: str) -> str:
    executed = re.search(r"number_of_executed_units: (\d+)", output)
    branches = re.findall(r"cov: (\d+)", output)
    inputs = max(facts.get("inputs", 0), int(executed[1]) if executed else 0)
    seconds = facts.get("seconds", 0.0)
    outcomes = ", ".join(f"{kind} {count:,}" for kind, count in sorted(facts.get("outcomes", {}).items()))
    killed = f"; {facts['killed']} children at a limit" if facts.get("killed") else ""
    numbers = (
        f"{inputs:>11,}{seconds:>9.1f}{inputs / max(seconds, 0.001):>10,.0f}{branches[-1] if branches else '-':>10}"
    )
    grown = facts.get("grown", 0) / 2**20
    return f"{name:22}{numbers}{facts.get('slowest', 0.0):>8.2f}s{grown:>6.0f}MB  {outcomes}{killed}"


def reason(output: str) -> str:
    """Returns the traceback in the output of a process, or its end."""
    start = output.find("=== Uncaught Python exception")
    stop = output.find("==ERROR", start) if start >= 0 else -1
    lines = output[start : stop if stop > 0 else None].splitlines() if start >= 0 else output.splitlines()[-15:]
    return "\n".join(f"    {each}" for each in lines[:40])


def main() -> int:
    parser = argparse.ArgumentParser(description="Fuzzes all targets, or those that are named.")
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"some of: {', '.join(TARGETS)}")
    parser.add_argument("--seconds", type=int, default=60, help="for each target (60)")
    parser.add_argument("--runs", type=int, default=0, help="inputs for each target (no limit)")
    parser.add_argument("--folder", type=Path, default=Path("build/fuzz"), help="for corpora and failures (build/fuzz)")
    parser.add_argument("--random", action="store_true", help="changed seeds only, without coverage")
    options = parser.parse_args()
    unknown = set(options.targets) - TARGETS.keys()
    if unknown:
        parser.error(f"there are no targets {', '.join(sorted(unknown))}")
    print(HEAD, flush=True)
    failed = [name for name in options.targets or TARGETS if not fuzz(name, options)]
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
