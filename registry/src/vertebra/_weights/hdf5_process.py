"""Running the program that opens HDF5 files: isolated, within limits, and never trusted."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, BinaryIO

from vertebra.errors import WeightsFileError

MOST_DATASETS = 100_000
MOST_DEPTH = 32
_PROGRAM = Path(__file__).with_name("hdf5_index.py")
_MOST_COMPLAINT = 1_000
_NO_PLUGINS = {"HDF5_PLUGIN_PRELOAD": "::"}  # the library's own way of saying: load none
_ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1"}  # numpy's library starts one for each core, each with a stack


@dataclass(frozen=True, slots=True)
class Job:
    """What the program is to do, and what it may use."""

    unpack: bool
    """Whether to write the contents of packed datasets; else the index."""
    seconds: int
    """Of processor time, and of waiting for the program to end."""
    memory: int
    """Bytes, beyond what the program itself takes."""
    output: int
    """Bytes that it may write."""
    alignment: int = 1
    """Each packed dataset starts at a multiple of this many bytes."""
    datasets: int = MOST_DATASETS
    depth: int = MOST_DEPTH


@contextmanager
def run_job(path: Path, file: BinaryIO, job: Job) -> Iterator[IO[bytes]]:
    """Runs a job on an open file; gives what the program wrote, as a temporary file, at its start.

    Raises:
        WeightsFileError: the program refused the file, died of it, or used more than it may.
    """
    with _temporary_file(path) as output:
        with _temporary_file(path) as complaint:
            status = _run(path, job, file, output, complaint)
            complaint.seek(0)
            if status:
                raise WeightsFileError(path, _reason(status, complaint.read(_MOST_COMPLAINT)))
        output.seek(0)
        yield output


def _temporary_file(path: Path) -> IO[bytes]:
    try:
        return tempfile.TemporaryFile()
    except OSError as error:
        remedy = "Free some space, or name another folder in TMPDIR"
        raise WeightsFileError(path, f"no temporary file can be made to read it ({error})", remedy) from error


def _run(path: Path, job: Job, file: BinaryIO, output: IO[bytes], complaint: IO[bytes]) -> int:
    command = [sys.executable, "-I", "-S", str(_PROGRAM), json.dumps(asdict(job) | {"search": _search_path(path)})]
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("HDF5_")}
    environment = inherited | _NO_PLUGINS | _ONE_THREAD
    try:
        return subprocess.run(
            command, stdin=file, stdout=output, stderr=complaint, env=environment, timeout=job.seconds
        ).returncode
    except subprocess.TimeoutExpired as error:
        raise WeightsFileError(path, f"reading it took more than {job.seconds} seconds") from error
    except OSError as error:
        remedy = "HDF5 files are read in a process of their own; let this one start others"
        raise WeightsFileError(path, f"no process can be started to read it ({error})", remedy) from error


def _search_path(path: Path) -> list[str]:
    """Returns the folders that hold the packages the program needs; it sees no others."""
    found = {name: importlib.util.find_spec(name) for name in ("h5py", "numpy")}
    for name, spec in found.items():
        if spec is None or not spec.origin:
            raise WeightsFileError(path, f"HDF5 files are read with {name}, which is missing", f"Install {name}")
    return sorted({str(Path(spec.origin).parents[1]) for spec in found.values() if spec and spec.origin})


def _reason(status: int, complaint: bytes) -> str:
    if status < 0:
        return f"reading it ended in {_signal_name(-status)}, so it is damaged or hostile"
    text = complaint.decode(errors="replace").strip()
    lines = "".join(letter if letter.isprintable() else "\n" for letter in text).splitlines()
    return f"it cannot be read: {lines[-1] if lines else f'the reading process ended with status {status}'}"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
