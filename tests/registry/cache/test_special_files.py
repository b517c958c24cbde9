"""Pipes, devices and huge files, where other users may put them: an error, at once (V10)."""

import os

import pytest

from vertebra import PresetHandle
from vertebra._cache.default_store import cache_folder
from vertebra._cache.layout import blob_path, file_path, preset_path, ref_path
from vertebra._cache.manifest import read_entry
from vertebra._cache.scan import scan_cache
from vertebra._presets.bundle import read_bundle, write_bundle
from vertebra._resolve.lockfile import read_lockfile
from vertebra._resolve.open import open_folder
from vertebra.errors import IntegrityError, LockError

pytestmark = pytest.mark.skipif(os.name != "posix", reason="needs the special files of POSIX")

SPECIAL = {"a pipe": os.mkfifo, "a device": lambda path: path.symlink_to("/dev/zero"), "too large": None}


@pytest.fixture(params=SPECIAL)
def spoil(request):
    """Replaces a file by one that must not be read to its end."""

    def replace(path):
        path.unlink(missing_ok=True)
        if SPECIAL[request.param] is not None:
            SPECIAL[request.param](path)
        else:
            with path.open("wb") as file:
                file.truncate(2**40)

    return replace


def test_as_a_lockfile(tmp_path, spoil):
    """V10: a checkout of git can hold a link to a device."""
    spoil(tmp_path / "vertebra.lock")
    with pytest.raises(LockError, match=r"expected a regular file|at most"):
        read_lockfile(tmp_path / "vertebra.lock")


@pytest.mark.parametrize("path_of", [preset_path, ref_path, lambda root, handle: file_path(root, handle, "model.bin")])
def test_as_an_entry_of_a_cache_or_tier(toy, tmp_path, path_of, spoil):
    """V10: an entry that cannot be read counts as missing."""
    folder = open_folder("toy://bert")
    folder.fetch_all(sorted(folder.names))
    root = cache_folder()
    path = path_of(root, folder.handle if path_of is not ref_path else PresetHandle("toy", "bert"))
    assert path.is_file()
    spoil(path)
    assert read_entry(path) is None
    assert path in scan_cache(root).unreadable
    assert open_folder("toy://bert").fetch("model.bin").is_file()


def test_as_a_blob_of_a_bundle(toy, tmp_path, configure, spoil):
    """V10: a blob that is no file of the listed size is refused before a byte of it is copied."""
    write_bundle(["toy://bert"], tmp_path / "bundle")
    configure(VERTEBRA_CACHE=str(tmp_path / "another"))
    scan = scan_cache(tmp_path / "bundle")
    (preset,) = scan.presets.values()
    for _, sha256, _ in preset.blobs():
        spoil(blob_path(scan.root, sha256))
    with pytest.raises(IntegrityError, match=r"expected a regular file|bytes, expected"):
        read_bundle([], tmp_path / "bundle")
    assert not list((tmp_path / "another").rglob("*.tmp"))
