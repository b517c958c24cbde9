"""Child processes: the environment that they get, so that no token or key goes along, and how they ended."""

from __future__ import annotations

import os
import re
import signal

from vertebra._configuration.config_file import LISTS, SWITCHES, TEXTS
from vertebra._configuration.settings import CONFIG, PREFIX

_START = r"PATH|LD_LIBRARY_PATH|DYLD_\w+|SYSTEMROOT|TMPDIR|TEMP|TMP|LANG|LC_\w+"
"""What starting a program may need."""
PYTHON = (
    r"PYTHON\w+|VIRTUAL_ENV|CONDA_PREFIX",
    r"HOME|USER|LOGNAME|XDG_\w+|USERPROFILE|HOMEDRIVE|HOMEPATH|APPDATA|LOCALAPPDATA|PROGRAMDATA|WINDIR",
    "|".join((CONFIG, *(f"{PREFIX}{name}" for name in (*LISTS, *TEXTS, *SWITCHES)))),
    r"KERAS_\w+",
    r"LD_PRELOAD|(CUDA|NVIDIA|XLA|TPU|LIBTPU|HIP|HSA|ROCM|ROCR|NEURON|ONEAPI|OMP|KMP|MKL|OPENBLAS)_\w+",
)
"""What importing a plugin, and using a runtime, may need beyond: paths, settings, and those of devices and threads."""

_SECRET = re.compile(r"TOKEN|KEY|SECRET|PASSW|CREDENTIAL", re.IGNORECASE)
"""Parts of names of variables that no child gets, whatever the name begins with."""


def environment(*patterns: str) -> dict[str, str]:
    """Returns the variables of this process that a child may have; none whose name says that it holds a secret.

    Args:
        patterns: Regular expressions of names that it needs beyond those that starting any program needs.
    """
    wanted = re.compile("|".join((_START, *patterns)), re.IGNORECASE)
    return {name: value for name, value in os.environ.items() if wanted.fullmatch(name) and not _SECRET.search(name)}


def signal_name(number: int) -> str:
    """Returns the name of a signal, such as `SIGSEGV`."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
