"""Child processes of the suites: programs that need an interpreter without the state of this one."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

_MOST_SECONDS = 300


def start(program: Sequence[str], runtime: str | None, **options: Any) -> subprocess.CompletedProcess[str]:
    """Runs an interpreter with some arguments, on a runtime, and captures its output."""
    chosen = {} if runtime is None else {"VERTEBRA_RUNTIME": runtime, "KERAS_BACKEND": runtime}
    command = [sys.executable, *program]
    return subprocess.run(command, env=os.environ | chosen, capture_output=True, check=False, **options)


_IMPORT = """
import importlib, sys
module, references, forbidden = (text.split() for text in sys.argv[1:])
for name in [*module, *(reference.partition(":")[0] for reference in references)]:
    importlib.import_module(name)
print(*(name for name in forbidden if name in sys.modules))
"""


def run_python(code: str, *arguments: object, runtime: str | None = None) -> str:
    """Runs a program in a process of its own, with the import path of this one; returns its output.

    Args:
        code: The program; it finds its arguments in `sys.argv[1:]`.
        arguments: They are passed as texts.
        runtime: The runtime of the process; None for a program that needs none.
    """
    program = ["-c", f"import sys; sys.path[:] = {sys.path!r}\n{code}", *map(str, arguments)]
    done = start(program, runtime, text=True, timeout=_MOST_SECONDS)
    assert done.returncode == 0, f"the child process ended with status {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def imported_by(module: str, references: Sequence[str], packages: Sequence[str]) -> list[str]:
    """Returns which of some packages are imported by a module, and by the modules that references name."""
    return run_python(_IMPORT, module, " ".join(references), " ".join(packages)).split()
