"""Runs a program that reads files in a child process: isolated, limited and untrusted."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, BinaryIO, NamedTuple

from vertebra._configuration.child_process import environment, signal_name
from vertebra.errors import WeightsFileError

_LIMITS = Path(__file__).with_name("resource_limits.py")
_MOST_COMPLAINT = 1_000
_ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1"}  # by default OpenBLAS starts a thread, with a stack, for each core


class OpenFile(NamedTuple):
    """An open file for the program, and its path, for messages."""

    path: Path
    file: BinaryIO


@dataclass(frozen=True, slots=True)
class Program:
    """A program that reads files of one kind."""

    path: Path
    files: str
    """The files that it reads, for messages, such as `HDF5 files`."""
    packages: tuple[str, ...]
    """The packages that it imports; it can import from no others."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Variables of its environment."""
    remedies: Mapping[int, str] = field(default_factory=dict)
    """Remedies by exit status, in place of the usual one."""


def run_program(
    program: Program, files: Sequence[OpenFile], job: Mapping[str, Any], seconds: int, output: IO[bytes]
) -> None:
    """Runs a program on open files, and rewinds `output`, which has the program's output even if it failed.

    Args:
        program: The program. Its only argument is a JSON object: the job, with the descriptors of the `files`, the
            folders of its packages, `search`, and the path of the module that sets its `limits`.
        files: The files to read; the program can open no other files.
        job: The job, with the limits that `resource_limits` sets in the child.
        seconds: Limit of wall-clock time.
        output: An empty temporary file.

    Raises:
        WeightsFileError: the program refused a file, crashed, or exceeded a limit; the error names the first file.
    """
    path = files[0].path
    with temporary_file(path) as complaint:
        try:
            status = _run(program, files, job, seconds, output, complaint)
        finally:
            output.seek(0)
        complaint.seek(0)
        if status:
            raise WeightsFileError(
                path, _reason(status, complaint.read(_MOST_COMPLAINT)), program.remedies.get(status, "")
            )


def temporary_file(path: Path) -> IO[bytes]:
    """Opens a new unnamed file, for data read from the file at `path`.

    Raises:
        WeightsFileError: there is no folder or space for temporary files.
    """
    try:
        return tempfile.TemporaryFile()
    except OSError as error:
        remedy = "Free some space, or name another folder in TMPDIR"
        raise WeightsFileError(path, f"no temporary file can be created to read it ({error})", remedy) from error


def _run(
    program: Program,
    files: Sequence[OpenFile],
    job: Mapping[str, Any],
    seconds: int,
    output: IO[bytes],
    complaint: IO[bytes],
) -> int:
    (path, first), *others = files
    passed = [file.fileno() for _, file in others]
    options = {**job, "files": [0, *passed], "search": _search_path(program, path), "limits": str(_LIMITS)}
    command = [sys.executable, "-I", "-S", str(program.path), json.dumps(options)]
    streams: dict[str, Any] = {"stdin": first, "stdout": output, "stderr": complaint, "pass_fds": passed}
    inherited = environment() | _ONE_THREAD | dict(program.environment)  # no other variables: the files are untrusted
    try:
        return subprocess.run(command, **streams, env=inherited, timeout=seconds).returncode
    except subprocess.TimeoutExpired as error:
        raise WeightsFileError(path, f"reading it took more than {seconds} seconds") from error
    except OSError as error:
        remedy = f"{program.files} are read in a child process: allow this process to start one"
        raise WeightsFileError(path, f"no process can be started to read it ({error})", remedy) from error


def _search_path(program: Program, path: Path) -> list[str]:
    """Returns the folders of the packages that the program needs; it can import from no others."""
    specs = {name: importlib.util.find_spec(name) for name in program.packages}
    for name, spec in specs.items():
        if spec is None or not spec.origin:
            problem = f"{program.files} are read with {name}, which is missing"
            raise WeightsFileError(path, problem, f"Install {name}")
    return sorted({str(Path(spec.origin).parents[1]) for spec in specs.values() if spec and spec.origin})


def _reason(status: int, complaint: bytes) -> str:
    if status < 0:
        return f"the reading process was ended by {signal_name(-status)}, so it is damaged or hostile"
    text = complaint.decode(errors="replace").strip()
    lines = "".join(letter if letter.isprintable() else "\n" for letter in text).splitlines()
    return f"it cannot be read: {lines[-1] if lines else f'the reading process ended with status {status}'}"
