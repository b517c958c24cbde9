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
module, references, forbidden, events = (text.split() for text in sys.argv[1:])
used = []
sys.addaudithook(lambda event, _: used.append(event) if event in events else None)
for name in [*module, *(reference.partition(":")[0] for reference in references)]:
    importlib.import_module(name)
print()
print(*(name for name in forbidden if name in sys.modules), *used)
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


def noticed_on_import(
    module: str, references: Sequence[str], packages: Sequence[str], events: Sequence[str]
) -> tuple[str, list[str]]:
    """Imports a module, and the modules that references name, in a process of its own.

    Args:
        module: Name of the module.
        references: References to code in other modules.
        packages: Names of packages that must not be imported.
        events: Audit events that must not happen.

    Returns:
        What the imports printed, and the packages and events that were noticed.
    """
    shown = run_python(_IMPORT, module, " ".join(references), " ".join(packages), " ".join(events))
    *printed, noticed = shown.removesuffix("\n").split("\n")
    return "\n".join(printed).strip(), noticed.split()
