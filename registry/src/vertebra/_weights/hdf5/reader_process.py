"""Runs the program that reads HDF5 files in a child process: isolated, limited and untrusted."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any, BinaryIO, NamedTuple

from vertebra._configuration.child_process import environment, signal_name
from vertebra.errors import WeightsFileError

MOST_DATASETS = 100_000
MOST_DEPTH = 32
_PROGRAM = Path(__file__).with_name("reader_program.py")
_MOST_COMPLAINT = 1_000
_NO_PLUGINS = {"HDF5_PLUGIN_PRELOAD": "::"}  # the library's setting for loading no plugins
_ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1"}  # by default OpenBLAS starts a thread, with a stack, for each core


class OpenFile(NamedTuple):
    """An open file for the program, and its path, for messages."""

    path: Path
    file: BinaryIO


@dataclass(frozen=True, slots=True)
class Job:
    """A job for the program, with its limits."""

    unpack: bool
    """Whether to write the values of the packed datasets instead of the lists of datasets."""
    seconds: int
    """Limit of processor time, and also of wall-clock time."""
    memory: int
    """Limit of memory in bytes, in addition to the memory of the program itself."""
    output: int
    """Limit of the bytes that the program writes."""
    alignment: int = 1
    """Each packed dataset starts at a multiple of this many bytes."""
    datasets: int = MOST_DATASETS
    """Limit of the datasets in each file."""
    depth: int = MOST_DEPTH
    """Limit of the nesting of groups."""


def run_job(files: Sequence[OpenFile], job: Job, output: IO[bytes]) -> None:
    """Runs a job on open files, and rewinds `output`, which has the program's output even if it failed.

    Args:
        files: The files to read; the program can open no other files.
        job: The job to run.
        output: An empty temporary file.

    Raises:
        WeightsFileError: the program refused a file, crashed, or exceeded a limit; the error names the first file.
    """
    path = files[0].path
    with temporary_file(path) as complaint:
        try:
            status = _run(files, job, output, complaint)
        finally:
            output.seek(0)
        complaint.seek(0)
        if status:
            raise WeightsFileError(path, _reason(status, complaint.read(_MOST_COMPLAINT)))


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


def _run(files: Sequence[OpenFile], job: Job, output: IO[bytes], complaint: IO[bytes]) -> int:
    (path, first), *others = files
    passed = [file.fileno() for _, file in others]
    options = asdict(job) | {"files": [0, *passed], "search": _search_path(path)}
    command = [sys.executable, "-I", "-S", str(_PROGRAM), json.dumps(options)]
    streams: dict[str, Any] = {"stdin": first, "stdout": output, "stderr": complaint, "pass_fds": passed}
    inherited = environment() | _NO_PLUGINS | _ONE_THREAD  # no other variables: the files are untrusted
    try:
        return subprocess.run(command, **streams, env=inherited, timeout=job.seconds).returncode
    except subprocess.TimeoutExpired as error:
        raise WeightsFileError(path, f"reading it took more than {job.seconds} seconds") from error
    except OSError as error:
        remedy = "HDF5 files are read in a child process: allow this process to start one"
        raise WeightsFileError(path, f"no process can be started to read it ({error})", remedy) from error


def _search_path(path: Path) -> list[str]:
    """Returns the folders of the packages that the program needs; it can import from no others."""
    specs = {name: importlib.util.find_spec(name) for name in ("h5py", "numpy")}
    for name, spec in specs.items():
        if spec is None or not spec.origin:
            raise WeightsFileError(path, f"HDF5 files are read with {name}, which is missing", f"Install {name}")
    return sorted({str(Path(spec.origin).parents[1]) for spec in specs.values() if spec and spec.origin})


def _reason(status: int, complaint: bytes) -> str:
    if status < 0:
        return f"the reading process was ended by {signal_name(-status)}, so it is damaged or hostile"
    text = complaint.decode(errors="replace").strip()
    lines = "".join(letter if letter.isprintable() else "\n" for letter in text).splitlines()
    return f"it cannot be read: {lines[-1] if lines else f'the reading process ended with status {status}'}"
