"""Checking a cache: everything that is damaged is found, and can be removed to be fetched again."""

import hashlib
import random
import shutil
import types

import pytest

from vertebra._cache.layout import file_path, preset_path, ref_path
from vertebra._cache.scan import last_used, scan_cache
from vertebra._cache.store import Store
from vertebra._cache.verify import verify_store
from vertebra._resolve.open import open_folder

LARGE = bytes(range(256)) * 20


@pytest.fixture
def blob(full, pinned):
    """The path of the large file's blob."""
    return open_folder(str(pinned)).fetch("model.bin")


def rewrite(path, data):
    path.chmod(0o644)
    path.write_bytes(data)


def replace(path, make):
    path.unlink()
    make(path)


DAMAGES = {
    "flipped": lambda path: rewrite(path, LARGE[:77] + bytes([LARGE[77] ^ 4]) + LARGE[78:]),
    "truncated": lambda path: rewrite(path, LARGE[:-1]),
    "emptied": lambda path: rewrite(path, b""),
    "longer": lambda path: rewrite(path, LARGE + b"x"),
    "zero tail": lambda path: rewrite(path, LARGE[:1000] + bytes(len(LARGE) - 1000)),
    "deleted": lambda path: path.unlink(),
    "a folder": lambda path: replace(path, lambda target: target.mkdir()),
    "a link": lambda path: replace(path, lambda target: target.symlink_to(preset_path(target.parents[2], "x"))),
    "a link to the same": lambda path: replace(
        path.rename(path.with_name("other")).rename(path), lambda target: target.symlink_to("other")
    ),
}


def test_a_sound_cache_is_sound(full):
    assert verify_store(full) == ([], len(LARGE) + 8)
    assert verify_store(Store(full.root / "nothing")) == ([], 0)


@pytest.mark.parametrize("how", DAMAGES)
def test_a_damaged_content_is_found_removed_and_fetched_again(toy, full, blob, how, pinned):
    DAMAGES[how](blob)
    (damage,) = verify_store(full)[0]
    assert (damage.preset, damage.name, damage.repaired) == (pinned, "model.bin", False)
    assert verify_store(full, repair=True)[0][0].repaired
    assert verify_store(full)[0] == []
    assert open_folder("toy://bert").fetch("model.bin").read_bytes() == LARGE
    assert toy.reads() == ["model.bin 0"]


def test_what_was_fetched_again_meanwhile_is_not_removed(full, blob):
    rewrite(blob, b"damaged")
    (damage,) = verify_store(full, repair=True, advance=lambda *_: rewrite(blob, LARGE))[0]
    assert damage.repaired
    assert blob.read_bytes() == LARGE


def test_all_whom_a_damaged_content_belongs_to_are_counted(toy, full, blob):
    toy.add("other", {"weights": LARGE})
    toy.add("third", {"weights": LARGE})
    for name in ("other", "third"):
        open_folder(f"toy://{name}").fetch("weights")
    rewrite(blob, b"damaged")
    (damage,) = verify_store(full)[0]
    assert (damage.preset is not None, damage.others) == (True, 2)


def test_random_flips_are_found(full, blob):
    draw = random.Random(0)
    for _ in range(50):
        position, bit = draw.randrange(len(LARGE)), 1 << draw.randrange(8)
        rewrite(blob, LARGE[:position] + bytes([LARGE[position] ^ bit]) + LARGE[position + 1 :])
        assert len(verify_store(full)[0]) == 1


@pytest.mark.parametrize(
    "text", [b"", b"{}", b'{"handle": "toy://other", "name": "model.bin", "size": 1, "sha256": "1"}']
)
def test_a_damaged_note_is_found_and_removed(full, pinned, text):
    paths = [preset_path(full.root, pinned), file_path(full.root, pinned, "model.bin")]
    paths.append(next((full.root / "refs").iterdir()))
    for path in paths:
        path.write_bytes(text)
    assert {damage.path for damage in verify_store(full, repair=True)[0]} >= set(paths)
    assert verify_store(full)[0] == []
    assert open_folder("toy://bert").fetch("model.bin").read_bytes() == LARGE


def test_a_note_in_another_place_is_found(full, pinned):
    wrong = file_path(full.root, pinned, "model.bin")
    shutil.copy(file_path(full.root, pinned, "config.json"), wrong)
    assert [damage.path for damage in verify_store(full)[0]] == [wrong]


@pytest.mark.parametrize("promises", ["sha256", "git", "md5"])
def test_a_note_of_another_content_is_found_by_what_the_source_promised(toy, full, pinned, promises):
    toy.promises = promises
    full.put_file_list(pinned, toy.resolve_snapshot(pinned).files)
    path = file_path(full.root, pinned, "model.bin")
    other = hashlib.sha256(LARGE[::-1]).hexdigest()
    stage = full.stage("partial", "x")
    stage.write_bytes(LARGE[::-1])
    full.put_blob(stage, other)
    path.write_text(path.read_text().replace(hashlib.sha256(LARGE).hexdigest(), other))
    assert [damage.path for damage in verify_store(full)[0]] == [path]


def test_tiers_are_checked_and_left_alone(full, blob, tmp_path):
    full.root.rename(tmp_path / "tier")
    both = Store(full.root, [tmp_path / "tier"])
    rewrite(tmp_path / "tier" / blob.relative_to(full.root), b"x")
    (damage,) = verify_store(both, repair=True)[0]
    assert (damage.root, damage.repaired) == (tmp_path / "tier", False)


def test_progress_is_told(full):
    told = []
    verify_store(full, advance=lambda done, total: told.append((done, total)))
    assert told[-1] == (len(LARGE) + 8, len(LARGE) + 8)
    assert len(told) == 2


def test_checking_is_no_use(full, pinned, blob):
    import os

    os.utime(blob, (1, 1))
    verify_store(full)
    assert blob.stat().st_atime == 1


def test_last_use_is_the_newest_of_reading_and_writing(full, pinned, blob):
    held = scan_cache(full.root)
    now = last_used(held.blobs, held.presets[pinned])
    assert now >= blob.stat().st_ctime
    assert last_used({}, types.SimpleNamespace(entries=[], blobs=lambda: iter(()))) == 0


def test_refs_are_read(full, pinned):
    held = scan_cache(full.root)
    assert {str(handle): pin for handle, pin in held.refs.items()} == {"toy://bert": pinned}
    assert ref_path(full.root, next(iter(held.refs))).exists()
