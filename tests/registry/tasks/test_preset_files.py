"""Files of tasks and tokenizers replace links in a preset that is written, and no file of the user's."""

import pytest

from vertebra import TaskExport
from vertebra._tasks.preset_files import free_path
from vertebra._tasks.tasks import write_task


@pytest.fixture
def linked(tmp_path):
    """A folder with a link to one of the user's, in which further links are."""
    user, other, stage = tmp_path / "user", tmp_path / "other", tmp_path / "stage"
    for folder in (user / "a", other, stage):
        folder.mkdir(parents=True)
    (other / "f").write_text("mine")
    (user / "a" / "b").symlink_to(other)
    (user / "a" / "f").symlink_to(other / "f")
    (stage / "a").symlink_to(user / "a")
    (stage / "f").symlink_to(other / "f")
    return tmp_path


@pytest.mark.parametrize("name", ["a/b/f", "a/f", "f"])
def test_links_are_replaced_and_what_they_lead_to_is_kept(name, linked):
    free_path(linked / "stage", name).write_text("new")
    assert (linked / "stage" / name).read_text() == "new"
    assert (linked / "user" / "a" / "b").is_symlink()
    assert (linked / "user" / "a" / "f").is_symlink()
    assert (linked / "other" / "f").read_text() == "mine"


def test_a_folder_that_is_a_link_itself_is_kept(linked):
    (linked / "link").symlink_to(linked / "stage")
    free_path(linked / "link", "f").write_text("new")
    assert (linked / "link").is_symlink()
    assert (linked / "stage" / "f").read_text() == "new"


def test_the_files_of_a_task_are_moved(linked):
    written = {}

    def write(folder):
        (folder / "a").mkdir()
        for name in ("f", "a/f"):
            (folder / name).write_text("new")
            written[name] = (folder / name).stat().st_ino

    write_task(TaskExport(write), linked / "stage")
    assert {name: (linked / "stage" / name).stat().st_ino for name in written} == written
    assert sorted(path.name for path in linked.iterdir()) == ["other", "stage", "user"]
