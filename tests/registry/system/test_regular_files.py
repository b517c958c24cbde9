"""Files that others may have written: no read waits for a pipe or takes more memory than its limit (V10)."""

import os
import socket
import sys
from pathlib import Path

import pytest

from vertebra._system.regular_files import NOT_REGULAR, UnfitFileError, open_regular, problem_of, read_limited


def pipe(path):
    os.mkfifo(path)


def device(path):
    path.symlink_to("/dev/zero")


def folder(path):
    path.mkdir()


def local_socket(path):
    with socket.socket(socket.AF_UNIX) as own:
        here = os.open(path.parent, os.O_RDONLY)  # the path itself may be too long for a socket
        own.bind(f"/proc/self/fd/{here}/{path.name}")
        os.close(here)


@pytest.mark.skipif(os.name != "posix", reason="needs the special files of POSIX")
@pytest.mark.parametrize("make", [pipe, device, folder, *([local_socket] if sys.platform == "linux" else [])])
def test_only_a_regular_file_is_opened(tmp_path, make):
    """V10: a pipe is not waited for, and a link to a device without an end is not read."""
    make(tmp_path / "file")
    for read in (open_regular, lambda path: read_limited(path, 10)):
        with pytest.raises(UnfitFileError) as caught:
            read(tmp_path / "file")
        assert problem_of(caught.value) == NOT_REGULAR


def test_a_file_that_is_too_large_is_not_read(tmp_path):
    """V10: the size comes first."""
    with (tmp_path / "file").open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(UnfitFileError, match="1,099,511,627,776 bytes; at most 10 are read"):
        read_limited(tmp_path / "file", 10)


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="needs Linux's /proc")
def test_a_file_that_has_more_bytes_than_it_says_is_not_read(tmp_path):
    """V10: a link may lead to a file of the system, whose size is 0."""
    (tmp_path / "file").symlink_to("/proc/self/maps")
    with pytest.raises(UnfitFileError):
        read_limited(tmp_path / "file", 0)


def test_a_link_to_a_regular_file_is_followed(tmp_path):
    (tmp_path / "file").write_bytes(b"bytes")
    (tmp_path / "link").symlink_to(tmp_path / "file")
    assert read_limited(tmp_path / "link", 5) == b"bytes"


def test_a_missing_file_stays_an_error_of_the_system(tmp_path):
    with pytest.raises(FileNotFoundError) as caught:
        read_limited(tmp_path / "file", 5)
    assert problem_of(caught.value) == "it cannot be read (No such file or directory)"
