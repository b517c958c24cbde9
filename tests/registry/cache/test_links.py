"""Links in place of a cache's folders, as others may plant them: nothing outside the cache is touched (V7)."""

import contextlib
import hashlib
import logging
import os
import shutil
import stat
import time

import pytest

from vertebra import PresetHandle
from vertebra._cache import folders
from vertebra._cache.default_store import default_store
from vertebra._cache.layout import blob_path
from vertebra._cache.prune import MARGIN, prune
from vertebra._cache.scan import scan_cache
from vertebra._cache.verify import verify_store
from vertebra._presets.bundle import write_bundle
from vertebra._resolve.open import open_folder
from vertebra._system.removal import remove_below
from vertebra.errors import CacheError

pytestmark = pytest.mark.skipif(os.name != "posix", reason="plants links")
FOLDERS = ("partial", "blobs", "presets", "refs", "locks")
DATA = b"a letter"
SHA256 = hashlib.sha256(b"other bytes").hexdigest()
LONG_AGO = time.time() - 30 * 86_400


@pytest.fixture
def documents(tmp_path):
    """Private files and folders, with every name that a cache removes, and old enough."""
    root = tmp_path / "documents"
    names = ["letter.txt", "note.left-0.0.tmp", "poetry.lock", "a.json", "deep/deeper/letter.txt"]
    names += [SHA256, f"{SHA256[:2]}/{SHA256}", "KEY/preset.json", "KEY/files/a.json"]
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(DATA)
    (root / "empty" / "files").mkdir(parents=True)
    for path in (*root.rglob("*"), root):
        os.utime(path, (LONG_AGO, LONG_AGO))
    return root


@pytest.fixture
def untouched(documents):
    """Checks that nothing of the private files was removed, added or written to."""
    before = {path: path.lstat()[:2] for path in documents.rglob("*")}
    yield
    assert {path: path.lstat()[:2] for path in documents.rglob("*")} == before


@pytest.fixture(params=[*FOLDERS, f"blobs/{SHA256[:2]}", "presets/KEY", "presets/KEY/files"])
def planted(request, full, documents):
    """A cache, one of whose folders is a link to the private files."""
    link = full.root / request.param
    shutil.rmtree(link, ignore_errors=True)
    link.parent.mkdir(exist_ok=True)
    link.symlink_to(documents)
    return link


@pytest.fixture
def later(monkeypatch):
    """Sets the clock to a time when everything in the cache is old."""
    monkeypatch.setattr(time, "time", lambda now=time.time: now() + 40 * 86_400 + MARGIN)


def test_prune_follows_no_link(planted, full, later, untouched):
    """V7: `partial -> ~/documents` lost every file and folder there that was older than an hour."""
    prune(full.root, older_than=0)
    prune(full.root, dry_run=True)


def test_repair_follows_no_link_and_removes_it(planted, full, untouched):
    """V7: files behind `blobs/ab`, `presets` or `refs` with the names of a cache were removed."""
    found, _ = verify_store(full, repair=True)
    is_folder = planted.relative_to(full.root).parts[0] != "presets" or planted.name == "presets"
    assert [entry.path for entry in found if "it is a link" in entry.problem] == ([planted] if is_folder else [])
    assert not is_folder or not planted.is_symlink()


@pytest.mark.parametrize("planted", FOLDERS, indirect=True)
def test_a_fetch_writes_through_no_link(toy, planted, full, untouched):
    """V7: a fetch wrote through each of them. Without its locks, it goes on."""
    toy.revision = "r2"
    shutil.rmtree(full.root / "presets") if planted.name not in ("presets", "refs") else None
    if planted.name != "blobs":
        shutil.rmtree(full.root / "blobs")
    refused = planted.name not in ("locks", "refs")
    expected = rf"{planted.name!r} is a link.*VERTEBRA_CACHE"
    with pytest.raises(CacheError, match=expected) if refused else contextlib.nullcontext():
        folder = open_folder("toy://bert")
        folder.fetch_all(sorted(folder.names))


@pytest.mark.parametrize("level", [0, 1, 2])
def test_what_is_below_a_link_is_not_removed(tmp_path, documents, untouched, level):
    """V7: not even if the link is planted between the look and the removal."""
    root = tmp_path / "root"
    (root / "a").mkdir(parents=True)
    link = [root / "a", root / "b", root / "a" / "c"][level]
    if level == 0:
        link.rmdir()
    link.symlink_to(documents)
    assert not remove_below(root, link / "letter.txt")
    assert not remove_below(root, link / "deep" / "deeper")
    assert remove_below(root, link)  # the link itself
    assert not link.is_symlink()


def test_what_is_below_folders_is_removed(tmp_path):
    (tmp_path / "a" / "b" / "c").mkdir(parents=True)
    (tmp_path / "a" / "file").write_bytes(DATA)
    assert remove_below(tmp_path, tmp_path / "a" / "file")
    assert remove_below(tmp_path, tmp_path / "a" / "b")
    assert remove_below(tmp_path, tmp_path / "a" / "missing")
    assert list((tmp_path / "a").iterdir()) == []


def test_folders_of_a_tier_may_be_links(toy, tmp_path):
    """V7: of a tier nothing is removed, and stores such as Nix's are made of links."""
    write_bundle(["toy://bert"], tmp_path / "bundle")
    (tmp_path / "tier").mkdir()
    for path in (tmp_path / "bundle").iterdir():
        (tmp_path / "tier" / path.name).symlink_to(path)
    assert list(scan_cache(tmp_path / "tier", follow=True).presets) == [PresetHandle("toy", "bert", "r1")]


def test_no_umask_lets_every_user_write(toy, tmp_path, configure):
    """V7: with a umask of 000, the cache had mode 0777."""
    configure(VERTEBRA_CACHE=str(tmp_path / "new" / "cache"))
    before = os.umask(0)
    try:
        folder = open_folder("toy://bert")
        folder.fetch_all(sorted(folder.names))
    finally:
        os.umask(before)
    paths = [path for path in (tmp_path / "new").rglob("*") if not path.is_symlink()] + [tmp_path / "new"]
    assert blob_path(tmp_path / "new" / "cache", "ab").parent.parent in paths
    assert [path for path in paths if stat.S_IMODE(path.stat().st_mode) & stat.S_IWOTH] == []


def test_a_cache_that_every_user_may_write_to_is_named_once(toy, tmp_path, configure, caplog):
    """V7: what others may write is not to be believed."""
    folders.warn_if_open.cache_clear()
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    configure(VERTEBRA_CACHE=str(tmp_path / "open"))
    with caplog.at_level(logging.WARNING, "vertebra"):
        default_store(), default_store()
    (warning,) = [record.getMessage() for record in caplog.records]
    assert f"chmod -R o-w {tmp_path / 'open'}" in warning
