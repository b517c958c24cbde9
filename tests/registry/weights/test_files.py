"""Copies of weights files in memory."""

import os

import pytest

from vertebra._weights import files
from vertebra.errors import WeightsFileError


def test_a_copy_has_all_bytes_in_whatever_pieces_they_are_read(tmp_path, monkeypatch):
    path, content = tmp_path / "file", os.urandom(1_000)
    path.write_bytes(content)
    monkeypatch.setattr(files, "_AT_ONCE", 300)
    with path.open("rb") as file:
        file.read(8)  # as the header is read before
        memory = files.copy_privately(path, file)
    path.write_bytes(b"other bytes")
    assert memory[:] == content


@pytest.mark.parametrize("size", [10, 2_000])
def test_a_file_that_changes_while_it_is_copied_is_an_error(tmp_path, monkeypatch, size):
    """ST-09: another program cuts the file short, or makes it longer."""
    path, read = tmp_path / "file", files._read_into
    path.write_bytes(bytes(1_000))

    def change(memory, file):
        os.truncate(path, size)
        return read(memory, file)

    monkeypatch.setattr(files, "_read_into", change)
    with path.open("rb") as file, pytest.raises(WeightsFileError, match="it was changed while it was read"):
        files.copy_privately(path, file)


def test_memory_that_is_too_small_is_an_error(tmp_path, monkeypatch):
    def too_small(*_):
        raise OSError(12, "Cannot allocate memory")

    path = tmp_path / "file"
    path.write_bytes(b"x")
    monkeypatch.setattr(files.mmap, "mmap", too_small)
    with path.open("rb") as file, pytest.raises(WeightsFileError, match="Cannot allocate memory"):
        files.copy_privately(path, file)
