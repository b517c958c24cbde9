"""Maps the tensors of a pickle of torch.

A pickle is a program that its reader runs. `reader_program.py` runs it only if every name in it is in a short list: the
names with which torch makes tensors. It does so in a child process that can open no file, with limits on memory and
time, and writes the tensors into a temporary safetensors file, which is read as strictly as any other, and mapped.
torch is not needed: its own reader of weights only has the same purpose, and had a fault that ran code
(CVE-2025-32434).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from vertebra._system.file_identity import identity_of
from vertebra._weights.files import lookalike, open_file
from vertebra._weights.reader.process import OpenFile, Program, run_program, temporary_file
from vertebra._weights.safetensors.format import MappedTensors
from vertebra.errors import WeightsFileError

_KEY = "key"
"""The metadata of the temporary file that names the key under which the tensors were, such as `state_dict`."""
_LEFT_OUT = "left_out"
"""The metadata that names the entries of the pickle that are no tensors."""
_PROGRAM = Program(
    Path(__file__).with_name("reader_program.py"),
    "Pickles",
    ("numpy",),
    remedies={
        1: "If you trust the file, load it with the library that wrote it, and save the model with save_pretrained, or "
        "its tensors with safetensors.torch.save_file",
        2: "Copy or download the file again",
    },
)
_STARTS = (b"PK\x03\x04", b"\x80")
"""First bytes of torch's present format, a zip archive, and of its former one."""
_TAR = (257, b"ustar")
"""Offset and bytes that mark a tar archive, torch's format before 2017."""
_SECONDS = 60
_READ_EACH_SECOND = 10 * 2**20
"""Bytes that a child is expected to read in a second, at least."""
_MEMORY = 512 * 2**20
_MOST_EXPANSION = 2
"""Most times the file's size that its tensors may take: several may share their values."""
_ALWAYS_WRITTEN = 64 * 2**20
"""Bytes that tensors may take in any file."""


def map_pickle(path: Path) -> MappedTensors:
    """Maps the tensors of a pickle.

    Raises:
        WeightsFileError: the file is not a pickle of torch, or holds more than tensors and plain values.
    """
    with open_file(path) as file, temporary_file(path) as output:
        _check_start(path, file.read(512))
        status = os.fstat(file.fileno())
        seconds = _SECONDS + status.st_size // _READ_EACH_SECOND
        job = {
            "seconds": seconds,
            "memory": _MEMORY + 3 * status.st_size,  # the mapped file, and a tensor with its copy
            "output": _MOST_EXPANSION * status.st_size + _ALWAYS_WRITTEN,
            "open_files": 4,  # the mapping has its own descriptor of the file
        }
        run_program(_PROGRAM, [OpenFile(path, file)], job, seconds, output)
        mapped = MappedTensors(path, output)
    mapped.header = replace(mapped.header, identity=identity_of(status))
    return mapped


def notes_of(metadata: Mapping[str, str]) -> list[str]:
    """Returns notes on what a pickle holds in addition to tensors by name, from the metadata of the mapped file."""
    key, left_out = metadata.get(_KEY), metadata.get(_LEFT_OUT)
    inside = [f"its tensors are under the key {key!r} of the file"] if key else []
    return inside + ([f"its values that are no tensors are left out: {left_out}"] if left_out else [])


def _check_start(path: Path, start: bytes) -> None:
    offset, mark = _TAR
    if start[offset:].startswith(mark):
        remedy = "Load it with an old release of torch, and save it again with torch.save"
        raise WeightsFileError(path, "it is a tar archive, torch's format before 2017, which is not read", remedy)
    if not start.startswith(_STARTS):
        other = lookalike(start)
        raise WeightsFileError(path, "it is not a pickle of torch" + (f"; it looks like {other}" if other else ""))
