"""Saves appear complete or not at all; kills and full disks are in tests/faults."""

import contextlib
import errno
import os
import stat
import sys
import threading

import pytest

from vertebra._system import atomic_save
from vertebra._system.atomic_save import replacing_file, replacing_folder
from vertebra.errors import PresetSaveError


def write_folder(target, text):
    with replacing_folder(target) as stage:
        (stage / "one").write_text(text)
        (stage / "two").write_text(text)


def write_file(target, text):
    with replacing_file(target) as stage:
        stage.write_text(text)


def contents(target):
    """Returns the set of texts in a folder or file: one text if it is whole."""
    return {path.read_text() for path in target.iterdir()} if target.is_dir() else {target.read_text()}


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def fail_inside(replacing, target, error):
    """Begins to write, and fails."""
    with replacing(target) as stage:
        (stage / "one" if stage.is_dir() else stage).write_text("half")
        raise error


both = pytest.mark.parametrize(("replacing", "write"), [(replacing_folder, write_folder), (replacing_file, write_file)])


@both
def test_creates_the_target_and_its_parents(replacing, write, tmp_path):
    target = tmp_path / "some" / "where" / "target"
    write(target, "new")
    assert contents(target) == {"new"}
    assert names(target.parent) == ["target"]


@both
def test_replaces_what_was_there(replacing, write, tmp_path):
    target = tmp_path / "target"
    write(target, "old")
    write(target, "new")
    assert contents(target) == {"new"}
    assert names(tmp_path) == ["target"]


@pytest.mark.parametrize(
    ("write", "forced"),
    [(write_file, ["stage", "parent"]), (write_folder, ["one", "two", "stage", "parent"])],
)
def test_everything_is_on_disk_before_it_is_in_place(write, forced, monkeypatch, tmp_path):
    target = tmp_path / "target"
    write(target, "old")
    seen = []

    def sync(path):
        name = {tmp_path: "parent"}.get(path, "stage" if path.suffix == ".tmp" else path.name)
        seen.append((name, contents(target)))

    monkeypatch.setattr(atomic_save, "sync", sync)
    write(target, "new")
    assert sorted(name for name, _ in seen[:-2]) + [name for name, _ in seen[-2:]] == forced
    assert [texts for _, texts in seen] == [{"old"}] * (len(forced) - 1) + [{"new"}]


@both
@pytest.mark.parametrize("error", [ValueError("mine"), KeyboardInterrupt()])
def test_an_error_of_the_block_passes_and_changes_nothing(replacing, write, error, tmp_path):
    target = tmp_path / "target"
    write(target, "old")
    with pytest.raises(type(error)) as caught:
        fail_inside(replacing, target, error)
    assert caught.value is error
    assert contents(target) == {"old"}
    assert names(tmp_path) == ["target"]


@both
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EACCES, errno.EROFS, errno.EIO])
def test_an_error_of_the_disk_is_explained_and_changes_nothing(replacing, write, code, tmp_path):
    target = tmp_path / "target"
    write(target, "old")
    with pytest.raises(PresetSaveError) as caught:
        fail_inside(replacing, target, OSError(code, os.strerror(code)))
    assert caught.value.target == target
    assert caught.value.__cause__.errno == code
    assert contents(target) == {"old"}
    assert names(tmp_path) == ["target"]


@both
def test_a_typed_error_of_the_block_is_kept(replacing, write, tmp_path):
    error = PresetSaveError(tmp_path, "a problem of its own", "Do otherwise")
    with pytest.raises(PresetSaveError) as caught:
        fail_inside(replacing, tmp_path / "target", error)
    assert caught.value is error
    assert names(tmp_path) == []


@both
@pytest.mark.parametrize(("umask", "folder_mode", "file_mode"), [(0o022, 0o755, 0o644), (0o077, 0o700, 0o600)])
def test_permissions_follow_the_umask(replacing, write, umask, folder_mode, file_mode, tmp_path):
    before = os.umask(umask)
    try:
        write(tmp_path / "target", "new")
    finally:
        os.umask(before)
    mode = stat.S_IMODE((tmp_path / "target").stat().st_mode)
    assert mode == (folder_mode if replacing is replacing_folder else file_mode)


@both
def test_permissions_of_what_is_replaced_are_kept(replacing, write, tmp_path):
    target = tmp_path / "target"
    write(target, "old")
    target.chmod(0o700)
    write(target, "new")
    assert stat.S_IMODE(target.stat().st_mode) == 0o700


@pytest.mark.parametrize(("first", "second"), [(write_file, write_folder), (write_folder, write_file)])
def test_a_file_is_no_folder(first, second, tmp_path):
    target = tmp_path / "target"
    first(target, "old")
    with pytest.raises(PresetSaveError):
        second(target, "new")
    assert contents(target) == {"old"}
    assert names(tmp_path) == ["target"]


@pytest.mark.parametrize("points_to", ["full", "empty", "nothing", "link"])
def test_a_link_is_not_taken_for_a_folder(points_to, tmp_path):
    write_folder(tmp_path / "full", "old")
    (tmp_path / "empty").mkdir()
    link = tmp_path / "link"  # to itself, in one case
    link.symlink_to(tmp_path / points_to)
    with pytest.raises(PresetSaveError):
        write_folder(link, "new")
    assert link.is_symlink()
    assert contents(tmp_path / "full") == {"old"}
    assert names(tmp_path) == ["empty", "full", "link"]


def test_a_link_to_a_file_is_replaced_and_the_file_stays(tmp_path):
    (tmp_path / "other").write_text("old")
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "other")
    write_file(link, "new")
    assert not link.is_symlink()
    assert contents(link) == {"new"}
    assert contents(tmp_path / "other") == {"old"}


def test_carries_links_and_pipes_without_opening_them(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    held = os.open(pipe, os.O_RDWR)  # so that opening it fails to sync, and does not wait for ever
    with replacing_folder(tmp_path / "target") as stage:
        os.link(pipe, stage / "pipe")
        (stage / "dangling").symlink_to("nowhere")
    os.close(held)
    assert names(tmp_path / "target") == ["dangling", "pipe"]


@pytest.fixture
def no_exchange(monkeypatch):
    """Simulates a system that cannot swap two folders in one step."""
    monkeypatch.setattr(sys, "platform", "unknown")


def test_without_an_exchange_a_folder_is_still_replaced(no_exchange, tmp_path):
    write_folder(tmp_path / "target", "old")
    write_folder(tmp_path / "target", "new")
    assert contents(tmp_path / "target") == {"new"}
    assert names(tmp_path) == ["target"]


def test_without_an_exchange_a_failure_puts_the_old_folder_back(no_exchange, monkeypatch, tmp_path):
    target = tmp_path / "target"
    write_folder(target, "old")
    replace = atomic_save.Path.replace

    def fail_to_put_the_new_one_in_place(self, other):
        if other == target and self.suffix == ".tmp":
            raise OSError(errno.EIO, "the disk failed")
        return replace(self, other)

    monkeypatch.setattr(atomic_save.Path, "replace", fail_to_put_the_new_one_in_place)
    with pytest.raises(PresetSaveError):
        write_folder(target, "new")
    assert contents(target) == {"old"}
    assert names(tmp_path) == ["target"]


@both
def test_of_several_savers_at_once_one_wins_whole(replacing, write, tmp_path):
    target = tmp_path / "target"
    write(target, "old")

    def save(text):
        for _ in range(4):
            with contextlib.suppress(PresetSaveError):
                write(target, text)

    savers = [threading.Thread(target=save, args=(str(number),)) for number in range(3)]
    for saver in savers:
        saver.start()
    for saver in savers:
        saver.join()
    assert len(contents(target)) == 1
    assert contents(target) != {"old"}
    assert names(tmp_path) == ["target"]
