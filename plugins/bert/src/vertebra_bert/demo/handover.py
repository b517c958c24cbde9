"""Continues on another runtime in a second process: Keras cannot change the runtime of a process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from vertebra_bert.demo.problems import DemoError
from vertebra_bert.demo.second_process import Report

TOLERANCE = 1e-4
"""Largest difference between two runtimes that rounding can cause."""

_SECONDS = 300


def continue_on(runtime: str, preset: str, classifier: Path, reference: Path) -> Report:
    """Runs the second process and returns its report.

    Raises:
        DemoError: the second process failed, or its outputs differ from those of this process.
    """
    report = _run(runtime, [preset, str(classifier), str(reference)])
    if not (report.vectors <= TOLERANCE and report.probabilities <= TOLERANCE):
        raise DemoError(
            f"The vectors on {report.runtime} differ by {report.vectors:.1e}, and the probabilities by "
            f"{report.probabilities:.1e}; at most {TOLERANCE:.0e} is allowed",
            "Check the runtimes with: vertebra doctor",
        )
    return report


def _run(runtime: str, arguments: list[str]) -> Report:
    # Without -P, Python would import modules from the current folder first.
    command = [sys.executable, "-P", "-m", "vertebra_bert.demo.second_process", *arguments]
    environment = os.environ | {"VERTEBRA_RUNTIME": runtime}
    try:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=_SECONDS)
    except subprocess.TimeoutExpired as error:
        problem = f"The second process, on {runtime}, did not finish in {_SECONDS} s"
        raise DemoError(problem, "Try again when the machine is less busy") from error
    if done.returncode != 0:
        last = done.stderr.strip().splitlines()[-1:] or ["no error message"]
        problem = f"The second process, on {runtime}, failed: {last[0].rstrip('.')}"
        raise DemoError(problem, f"To see its full output, run: VERTEBRA_RUNTIME={runtime} {' '.join(command)}")
    return Report(**json.loads(done.stdout.splitlines()[-1]))
