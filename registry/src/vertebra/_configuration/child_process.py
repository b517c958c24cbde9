"""Child processes: their environment, without tokens and keys, and the names of the signals that ended them."""

from __future__ import annotations

import os
import re
import signal

from vertebra._configuration.config_file import SETTINGS
from vertebra._configuration.settings import CONFIG, PREFIX

_START = r"PATH|LD_LIBRARY_PATH|DYLD_\w+|SYSTEMROOT|TMPDIR|TEMP|TMP|LANG|LC_\w+"
"""Names of variables that starting a program may need."""
PYTHON = (
    r"PYTHON\w+|VIRTUAL_ENV|CONDA_PREFIX",
    r"HOME|USER|LOGNAME|XDG_\w+|USERPROFILE|HOMEDRIVE|HOMEPATH|APPDATA|LOCALAPPDATA|PROGRAMDATA|WINDIR",
    "|".join((CONFIG, *(f"{PREFIX}{name}" for name in SETTINGS))),
    r"KERAS_\w+",
    r"LD_PRELOAD|(CUDA|NVIDIA|XLA|TPU|LIBTPU|HIP|HSA|ROCM|ROCR|NEURON|ONEAPI|OMP|KMP|MKL|OPENBLAS)_\w+",
)
"""Names of variables that a Python child needs, too: paths, settings, and options of devices and threads."""

_SECRET = re.compile(r"TOKEN|KEY|SECRET|PASSW|CREDENTIAL", re.IGNORECASE)
"""Words in the names of variables that no child gets, even if the rest of the name matches."""


def environment(*patterns: str) -> dict[str, str]:
    """Returns the variables of this process that a child may have; variables that may hold a secret are excluded.

    Args:
        patterns: Regular expressions for further names, in addition to those that starting a program needs.
    """
    wanted = re.compile("|".join((_START, *patterns)), re.IGNORECASE)
    return {name: value for name, value in os.environ.items() if wanted.fullmatch(name) and not _SECRET.search(name)}


def signal_name(number: int) -> str:
    """Returns the name of a signal, such as `SIGSEGV`."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
