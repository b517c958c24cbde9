"""The list of a file's datasets, which a child process makes: later loads of the file know it."""

import os
from pathlib import Path

import numpy as np
import pytest

from vertebra._system.file_identity import identity_at
from vertebra._weights.files import open_file
from vertebra._weights.hdf5 import listing
from vertebra._weights.hdf5.listing import list_datasets
from vertebra._weights.hdf5.writing import write_datasets
from vertebra._weights.reader.process import OpenFile


@pytest.fixture
def children(monkeypatch):
    """The numbers of files that each child process lists."""
    counts, run_job = [], listing.run_job

    def counting(files, *arguments):
        counts.append(len(files))
        return run_job(files, *arguments)

    monkeypatch.setattr(listing, "run_job", counting)
    return counts


def write(path: Path, rows: int, age: float) -> Path:
    write_datasets(path, {"layers/dense/vars/0": np.ones((rows, 4), "float32")})
    modified = path.stat().st_ctime - age
    os.utime(path, (modified, modified))
    return path


def rows(*paths: Path) -> list[int]:
    files = [OpenFile(path, open_file(path)) for path in paths]
    try:
        found = [each.header() for each in list_datasets(files)]
        assert [header.identity for header in found] == [identity_at(path) for path in paths]
        return [header.entries["layers/dense/vars/0"].shape[0] for header in found]
    finally:
        for _, file in files:
            file.close()


def test_a_file_is_listed_once(children, tmp_path):
    one, two = write(tmp_path / "1.h5", 3, age=60), write(tmp_path / "2.h5", 5, age=60)
    assert rows(one) == [3]
    assert rows(two, one) == [5, 3]
    assert rows(one, two) == [3, 5]
    assert children == [1, 1]


def test_a_file_that_was_changed_is_listed_again(children, tmp_path):
    path = write(tmp_path / "1.h5", 3, age=60)
    assert rows(path) == [3]
    write(path, 4, age=50)
    assert rows(path) == [4]
    assert children == [1, 1]


def test_a_file_that_was_just_written_is_listed_again(children, tmp_path):
    path = write(tmp_path / "1.h5", 3, age=0)
    assert rows(path) == rows(path) == [3]
    assert children == [1, 1]


def test_only_the_last_listings_are_kept(children, tmp_path, monkeypatch):
    monkeypatch.setattr(listing, "_MOST_KEPT", 1)
    one, two = write(tmp_path / "1.h5", 3, age=60), write(tmp_path / "2.h5", 5, age=60)
    assert [*rows(one), *rows(two), *rows(two), *rows(one)] == [3, 5, 5, 3]
    assert children == [1, 1, 1]
