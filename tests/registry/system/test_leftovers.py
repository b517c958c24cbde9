"""What a killed save leaves is removed by the next one, and nothing else is (V14)."""

import contextlib
import os
import signal
import threading
import time

import pytest

from vertebra._system import ownership
from vertebra._system.atomic_save import replacing_file, replacing_files, replacing_folder
from vertebra.errors import PresetSaveError

pytestmark = pytest.mark.skipif(os.name != "posix", reason="kills forks")
every = pytest.mark.parametrize("replacing", [replacing_folder, replacing_files, replacing_file])


def write(replacing, target, text="new"):
    with replacing(target) as stage:
        (stage / "file" if stage.is_dir() else stage).write_text(text)


def killed_in(replacing, target, meanwhile=lambda saver: None):
    """Begins a save in a fork, which is killed before its end."""
    reading, writing = os.pipe()
    saver = os.fork()
    if not saver:
        with contextlib.suppress(BaseException), replacing(target) as stage:
            (stage / "file" if stage.is_dir() else stage).write_text("half")
            os.write(writing, b"x")
            signal.pause()
        os._exit(0)
    os.read(reading, 1)
    meanwhile(saver)
    os.kill(saver, signal.SIGKILL)
    os.waitpid(saver, 0)
    os.close(reading), os.close(writing)


def left(target):
    return [path for path in target.parent.iterdir() if path.suffix == ".tmp"]


@pytest.fixture(params=["target", "v1.2.left-0.x", "n" * 250])
def target(request, tmp_path):
    """A folder of a preset; names may have dots, and as many bytes as the file system allows."""
    return tmp_path / request.param


@every
def test_the_next_save_removes_what_a_killed_one_left(replacing, target):
    """V14: 26 folders with 49 MB were left after 40 kills, and stayed."""
    if replacing is replacing_files:
        target.mkdir()
    for count in range(2):
        killed_in(replacing, target)
        assert len(left(target)) == 1, count
    write(replacing, target)
    assert left(target) == []


@every
def test_a_save_that_is_running_keeps_its_files(replacing, tmp_path):
    """V14: other processes, and other threads of this one, may save to the same path."""
    target = tmp_path / "target"
    if replacing is replacing_files:
        target.mkdir()

    def save_meanwhile(saver):
        write(replacing, target)
        assert len(left(target)) == 1

    killed_in(replacing, target, save_meanwhile)
    assert len(left(target)) == 1
    with replacing(target) as stage:
        (stage / "file" if stage.is_dir() else stage).write_text("first")
        thread = threading.Thread(target=write, args=(replacing, target, "second"))
        thread.start()
        thread.join()
    text = (target / "file" if target.is_dir() else target).read_text()
    assert (text, left(target)) == ("first", [])


def test_files_of_other_names_stay(tmp_path):
    """V14: the user's own files, what another save left, and the old folder in a swap that was cut short."""
    target = tmp_path / "target"
    killed_in(replacing_folder, target)
    (stage,) = left(target)
    kept = [stage.with_name(stage.name + ".old"), tmp_path / ".target.backup.tmp", tmp_path / ".target.tmp"]
    kept += [tmp_path / stage.name.replace("target", name) for name in ("target2", "x.target", "other")]
    for path in kept:
        path.mkdir()
    write(replacing_folder, target)
    assert sorted(tmp_path.iterdir()) == sorted([*kept, target])


def test_what_another_machine_left_is_removed_after_its_lease(tmp_path):
    """V14: as after a power failure: whether the process still runs cannot be seen."""
    target, other = tmp_path / "target", tmp_path / ".target.0123456789ab-1.01234567.tmp"
    other.mkdir()
    write(replacing_folder, target)
    assert other.exists()
    days_ago = time.time() - 8 * 86_400
    os.utime(other, (days_ago, days_ago))
    write(replacing_folder, target)
    assert not other.exists()


def test_a_leftover_that_is_a_link_is_removed_and_not_followed(tmp_path):
    """V7: in a folder that others may write to, a name of a dead process may be planted."""
    pid = os.fork()
    if not pid:
        os._exit(0)
    os.waitpid(pid, 0)
    documents = tmp_path / "documents"
    documents.mkdir()
    (documents / "file").write_text("mine")
    planted = tmp_path / f".target.{ownership.owner_tag().rpartition('-')[0]}-{pid}.01234567.tmp"
    planted.symlink_to(documents)
    write(replacing_folder, tmp_path / "target")
    assert not planted.is_symlink()
    assert (documents / "file").read_text() == "mine"


def test_a_save_whose_stage_was_removed_is_an_error(tmp_path):
    write(replacing_folder, tmp_path / "target", "old")
    with pytest.raises(PresetSaveError), replacing_folder(tmp_path / "target") as stage:
        stage.rmdir()
    assert (tmp_path / "target" / "file").read_text() == "old"
