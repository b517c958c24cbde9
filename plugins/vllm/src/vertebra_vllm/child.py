"""Runs the command `vertebra` in a child process and returns its JSON."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Collection
from typing import Any

from vertebra.errors import LoraError

_SECONDS = 1800
_WITHOUT_DEVICES = {"CUDA_VISIBLE_DEVICES": "", "JAX_PLATFORMS": "cpu"}
"""A base model is loaded on the CPU: the server's devices have no memory left for it."""


class CommandFailedError(LoraError):
    """The command has ended with an error."""


def run(*arguments: str, accepted: Collection[int] = (0,)) -> Any:
    """Returns what the command prints as JSON.

    Args:
        *arguments: The arguments of `vertebra`.
        accepted: The exit statuses of success.

    Raises:
        CommandFailedError: it has ended with another status, printed something else, or taken half an hour.
    """
    # Without -P, modules in the server's working folder would be imported.
    command = [sys.executable, "-P", "-m", "vertebra.cli", *arguments]
    try:
        done = subprocess.run(
            command, env=os.environ | _WITHOUT_DEVICES, capture_output=True, encoding="utf-8", timeout=_SECONDS
        )
    except subprocess.TimeoutExpired as error:
        raise CommandFailedError(f"vertebra {' '.join(arguments[:2])} took more than {_SECONDS} s") from error
    try:
        value = json.loads(done.stdout) if done.returncode in accepted else None
    except ValueError:
        value = None
    if value is None:
        lines = done.stderr.strip().splitlines() or [f"it ended with status {done.returncode}"]
        raise CommandFailedError(lines[-1].removeprefix("error: "))
    return value
