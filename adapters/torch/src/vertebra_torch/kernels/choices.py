"""The kernels that were measured to be the fastest, kept for later processes on the same machine."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import sys
import tempfile
import threading
from collections.abc import Callable, Collection
from pathlib import Path

import torch

from vertebra import runtime_folder

_MOST_BYTES = 2**20
_FILE = "kernels.json"
_lock = threading.Lock()
_measuring = threading.RLock()  # a kernel may consist of several that are measured within it
_known: dict[object, str] = {}
"""Kernels by the texts of keys, and by calls."""
_is_read = _is_changed = False


def chosen(key: tuple[object, ...], names: Collection[str], measure: Callable[[], str]) -> str:
    """Returns the kernel for a kind of call: the one that was chosen in this process or before, or a new choice.

    Args:
        key: The kind of call.
        names: The kernels that can be used.
        measure: Returns the name of the fastest; only one thread measures at a time.
    """
    global _is_changed
    if not _is_read:
        _read()
    text = _text(key)
    known = _known.get(text)
    if known is None or known not in names:
        with _measuring:
            known = measure()
        with _lock:
            _known[text] = known
            _is_changed = True
    return known


def of_call(call: tuple[object, ...], choose: Callable[[], str]) -> str:
    """Returns the kernel for a call; one like it before makes this as fast as a look into a dict.

    Args:
        call: All that the choice depends on in this process, the functions' name first.
        choose: Returns the kernel for the first such call.
    """
    known = _known.get(call)
    if known is None:
        known = choose()
        with _lock:
            _known[call] = known
    return known


def save() -> None:
    """Writes the choices, if this process made new ones; a folder that cannot be written to keeps none."""
    global _is_changed
    if not _is_changed:
        return
    with _lock:
        _is_changed = False
        folder = runtime_folder("torch")
        if folder is not None:
            own = {key: kernel for key, kernel in _known.items() if isinstance(key, str)}
            kernels = _stored(folder / _FILE) | own  # other processes may have written theirs
            document = json.dumps({"machine": _machine(), "kernels": kernels}, indent=1, sort_keys=True)
            with contextlib.suppress(OSError):
                _replace(folder / _FILE, document)


def _replace(path: Path, text: str) -> None:
    """Writes a file that other processes read at the same time, or leaves it as it is."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent)
    stage = Path(name)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        stage.replace(path)
    except BaseException:
        stage.unlink(missing_ok=True)
        raise


def _read() -> None:
    """Reads what earlier processes chose; a file that is damaged or of another machine has no effect."""
    global _is_read
    with _lock:
        folder = runtime_folder("torch")
        found = {} if folder is None or _is_read else _stored(folder / _FILE)
        _known.update({key: kernel for key, kernel in found.items() if key not in _known})
        _is_read = True


def _stored(path: Path) -> dict[str, str]:
    try:
        with path.open("rb") as file:
            document = json.loads(file.read(_MOST_BYTES))
        kernels = document["kernels"] if document["machine"] == _machine() else {}
        return {key: kernel for key, kernel in kernels.items() if isinstance(kernel, str)}
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return {}


def _text(key: tuple[object, ...]) -> str:
    return " ".join(map(str, key))


def _machine() -> str:
    """Returns what the choices depend on: the processor, its instructions that torch uses, and the version of torch."""
    return (
        f"{_processor()}, {torch.backends.cpu.get_cpu_capability()}, {os.cpu_count()} cores, torch {torch.__version__}"
    )


def _processor() -> str:
    if sys.platform == "linux":
        try:
            lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        except OSError:
            lines = []
        return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    return platform.processor()
