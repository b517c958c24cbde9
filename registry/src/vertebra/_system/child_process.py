"""Child processes: the environment that they get, so that no token or key goes along, and how they ended."""

from __future__ import annotations

import os
import re
import signal

_START = r"PATH|LD_LIBRARY_PATH|DYLD_\w+|SYSTEMROOT|TMPDIR|TEMP|TMP|LANG|LC_\w+"
"""What starting a program may need."""
PYTHON = (
    r"PYTHON\w+|VIRTUAL_ENV|CONDA_PREFIX",
    r"HOME|USER|LOGNAME|XDG_\w+|USERPROFILE|HOMEDRIVE|HOMEPATH|APPDATA|LOCALAPPDATA|PROGRAMDATA|WINDIR",
    r"VERTEBRA_\w+|KERAS_\w+",
    r"LD_PRELOAD|(CUDA|NVIDIA|XLA|TPU|LIBTPU|HIP|HSA|ROCM|ROCR|NEURON|ONEAPI|OMP|KMP|MKL|OPENBLAS)_\w+",
)
"""What importing a plugin, and using a runtime, may need beyond: paths, settings, and those of devices and threads."""


def environment(*patterns: str) -> dict[str, str]:
    """Returns the variables of this process that a child may have.

    Args:
        patterns: Regular expressions of names that it needs beyond those that starting any program needs.
    """
    wanted = re.compile("|".join((_START, *patterns)), re.IGNORECASE)
    return {name: value for name, value in os.environ.items() if wanted.fullmatch(name)}


def signal_name(number: int) -> str:
    """Returns the name of a signal, such as `SIGSEGV`."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
