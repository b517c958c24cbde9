"""The jobs of the program that reads HDF5 files in a child process."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

from vertebra._weights.reader.process import OpenFile, Program, run_program

MOST_DATASETS = 10_000
"""The library takes 0.2 ms for each; the largest models that Keras writes have a few thousand in all their files."""
MOST_DEPTH = 32
_NO_PLUGINS = {"HDF5_PLUGIN_PRELOAD": "::"}  # the library's setting for loading no plugins
_PROGRAM = Program(Path(__file__).with_name("reader_program.py"), "HDF5 files", ("h5py", "numpy"), _NO_PLUGINS)


@dataclass(frozen=True, slots=True)
class Job:
    """A job for the program, with its limits."""

    unpack: bool
    """Whether to write the values of the packed datasets instead of the lists of datasets."""
    seconds: int
    """Limit of processor time."""
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
    wait: int = 0
    """Limit of wall-clock time in seconds; 0 means as of processor time."""
    open_files: int = 3
    """Limit of the open files: nothing more can be opened, no other file, no plugin, no network."""


def run_job(files: Sequence[OpenFile], job: Job, output: IO[bytes]) -> None:
    """Runs a job on open files, and rewinds `output`, which has the program's output even if it failed.

    Args:
        files: The files to read; the program can open no other files.
        job: The job to run.
        output: An empty temporary file.

    Raises:
        WeightsFileError: the program refused a file, crashed, or exceeded a limit; the error names the first file.
    """
    run_program(_PROGRAM, files, asdict(job), job.wait or job.seconds, output)
