"""The local source reads paths and file:// handles: the files of a folder, and those that its links lead to."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from vertebra import PresetHandle
from vertebra.builtin.local import FolderSource
from vertebra.errors import HandleError, PresetNotFoundError


@pytest.fixture
def folder(tmp_path):
    """A folder with the files of a preset, links in it to files outside, and what is no file."""
    folder, store = tmp_path / "preset", tmp_path / "store"
    (folder / "inside").mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (folder / "inside" / "deep.json").write_text("{}")
    (folder / ".git").mkdir()
    (folder / ".git" / "HEAD").write_text("")
    (store / "files" / "deep").mkdir(parents=True)
    (store / "blob").write_text("blob")
    (store / "files" / "deep" / "vocab.txt").write_text("word")
    (store / "files" / "again").symlink_to(folder)
    (folder / "inside" / "deep_leads_out").symlink_to("../../store/blob")
    (folder / "folder_leads_out").symlink_to(store / "files")
    (folder / "parent").symlink_to(tmp_path)
    (folder / "circle").symlink_to(folder)
    (folder / "latest").symlink_to("inside")
    (folder / "leads_out").symlink_to(store / "blob")
    (folder / "leads_out_by_two").symlink_to("leads_out")
    (folder / "dangling").symlink_to("nowhere")
    (folder / "loop").symlink_to("loop")
    (folder / ".#lock").symlink_to("user@host.123")
    (folder / "zero").symlink_to("/dev/zero")
    os.mkfifo(folder / "pipe")
    return folder


def handle(folder):
    return PresetHandle("file", str(folder))


LINKED = {"leads_out": 4, "leads_out_by_two": 4, "inside/deep_leads_out": 4, "folder_leads_out/deep/vocab.txt": 4}
NO_FILES = {
    "dangling": "is a link to nowhere, which does not exist",
    "loop": "is a link to loop, which cannot be read",
    "pipe": "is a pipe, a socket or a device",
    "zero": "is a pipe, a socket or a device",
}


def test_lists_the_files_of_the_folder_and_of_those_inside_it(folder):
    files = FolderSource().files(handle(folder))
    sizes = {file.name: file.size for file in files if file.problem is None}
    assert sizes == {"config.json": 2, "inside/deep.json": 2} | LINKED


def test_what_cannot_be_read_is_listed_with_the_problem(folder):
    problems = {file.name: file.problem for file in FolderSource().files(handle(folder)) if file.problem}
    assert problems.keys() == NO_FILES.keys()
    assert all(problem in problems[name] for name, problem in NO_FILES.items())


@pytest.mark.parametrize("name", NO_FILES)
def test_an_error_names_what_cannot_be_read(folder, name):
    with pytest.raises(PresetNotFoundError) as caught:
        FolderSource().fetch(handle(folder), name)
    assert name in caught.value.problem
    assert NO_FILES[name] in caught.value.problem


@pytest.mark.parametrize(("name", "size"), LINKED.items())
def test_links_are_followed_wherever_they_lead(folder, name, size):
    path = FolderSource().fetch(handle(folder), name)
    assert path == folder / name
    assert path.stat().st_size == size


def test_a_link_to_a_folder_with_very_many_files_is_not_followed(folder, monkeypatch):
    monkeypatch.setattr("vertebra.builtin.folders._MOST_LINKED", 3)
    for number in range(4):
        (folder.parent / "store" / "files" / str(number)).touch()
    files = {file.name: file.problem for file in FolderSource().files(handle(folder))}
    assert not [name for name in files if name.startswith("folder_leads_out/")]
    assert files["folder_leads_out"] == "is a folder whose files are not read"


def test_a_change_behind_a_link_is_a_change_of_the_file(folder):
    def identity():
        return next(file.identity for file in FolderSource().files(handle(folder)) if file.name == "leads_out")

    before = identity()
    (folder.parent / "new").write_text("blob")
    (folder.parent / "new").replace(folder.parent / "store" / "blob")
    assert identity() != before


def test_of_a_folder_without_a_config_the_configs_of_subfolders_are_listed(folder):
    (folder / "config.json").unlink()
    for name in ("checkpoint-500", "a/b", "a/b/c", ".hidden"):
        (folder / name).mkdir(parents=True)
        (folder / name / "config.json").write_text("{}")
        (folder / name / "vocab.txt").write_text("")
    below = {file.name for file in FolderSource().files(handle(folder)) if "/" in file.name}
    assert below == {"checkpoint-500/config.json", "a/b/config.json"}


def test_a_link_that_stays_inside_is_a_file(folder):
    (folder / "link").symlink_to(folder / "inside" / "deep.json")
    assert "link" in {file.name for file in FolderSource().files(handle(folder))}
    assert FolderSource().fetch(handle(folder), "link").read_text() == "{}"


def test_the_folder_may_be_a_link_itself(folder, tmp_path):
    (tmp_path / "link").symlink_to(folder)
    assert "config.json" in {file.name for file in FolderSource().files(handle(tmp_path / "link"))}


@pytest.mark.parametrize("name", ["config.json", "inside/deep.json"])
def test_fetches_without_a_copy(folder, name):
    assert FolderSource().fetch(handle(folder), name) == folder / name


@pytest.mark.parametrize(
    "name",
    [
        *("", ".", "..", "../secret", "inside", "inside//deep.json", "./config.json", "/etc/passwd"),
        *("inside/../config.json", "/config.json", "parent/store/blob", "circle/config.json", "folder_leads_out"),
        *("nothing", "config.json/", "config.json\0", "CONFIG.JSON"),
    ],
)
def test_fetches_nothing_else(name, folder):
    with pytest.raises(PresetNotFoundError):
        FolderSource().fetch(handle(folder), name)


@pytest.mark.parametrize("path", ["nothing", "preset/loop", "preset/config.json/below"])
def test_a_preset_is_a_folder(path, folder):
    with pytest.raises(PresetNotFoundError) as caught:
        FolderSource().files(handle(folder.parent / path))
    assert caught.value.handle == handle(folder.parent / path)


def test_a_path_may_lead_to_one_file(folder):
    """An adapter may be a single file."""
    (file,) = FolderSource().files(handle(folder / "config.json"))
    assert (file.name, file.path) == ("config.json", folder / "config.json")
    assert FolderSource().fetch(handle(folder / "config.json"), "config.json") == file.path
    for name in ("other", "config.json/config.json", ""):
        with pytest.raises(PresetNotFoundError):
            FolderSource().fetch(handle(folder / "config.json"), name)


def test_a_handle_holds_an_absolute_path():
    with pytest.raises(HandleError):
        FolderSource().files(PresetHandle("file", "data/preset"))


UNREADABLE_INSIDE = """
import os, sys
from vertebra import PresetHandle
from vertebra.builtin.local import FolderSource
if os.geteuid() == 0:
    os.setuid(65534)
for file in FolderSource().files(PresetHandle("file", sys.argv[1])):
    print(file.name, file.problem)
"""


def test_a_subfolder_or_store_that_may_not_be_read_does_not_keep_from_the_others():
    with tempfile.TemporaryDirectory() as parent:  # all folders above tmp_path are the user's alone
        Path(parent).chmod(0o755)
        for name in ("preset/lost+found", "store"):
            Path(parent, name).mkdir(parents=True)
        Path(parent, "store", "blob").touch()
        Path(parent, "preset", "config.json").write_text("{}")
        Path(parent, "preset", "link").symlink_to("../store/blob")
        Path(parent, "preset", "listed").mkdir()
        Path(parent, "preset", "listed", "x").touch()
        Path(parent, "preset", "listed").chmod(0o444)  # without the x bit, files can be listed but not opened
        for name in ("preset/lost+found", "store"):
            Path(parent, name).chmod(0o000)
        command = [sys.executable, "-c", UNREADABLE_INSIDE, Path(parent, "preset")]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        for name in ("preset/lost+found", "preset/listed", "store"):
            Path(parent, name).chmod(0o755)
    assert done.stdout.splitlines() == [
        "config.json None",
        "link is a link to ../store/blob, which cannot be read (Permission denied)",
        "listed/x is in a folder that may not be read",
        "lost+found is a folder whose files are not read",
    ], done.stderr


UNPRIVILEGED = """
import os, sys
from vertebra import PresetHandle
from vertebra.builtin.local import FolderSource
from vertebra.errors import PresetNotFoundError
if os.geteuid() == 0:
    os.setuid(65534)
try:
    FolderSource().files(PresetHandle("file", sys.argv[1]))
except PresetNotFoundError as error:
    print(type(error.__cause__).__name__)
"""


@pytest.mark.parametrize("mode", [0o000, 0o444])  # without the x bit, files can be listed but not opened
def test_a_folder_that_may_not_be_read_says_so(mode):
    with tempfile.TemporaryDirectory() as parent:  # all folders above tmp_path are the user's alone
        Path(parent).chmod(0o755)
        folder = Path(parent, "preset")
        folder.mkdir()
        (folder / "config.json").write_text("{}")
        folder.chmod(mode)
        done = subprocess.run([sys.executable, "-c", UNPRIVILEGED, folder], capture_output=True, text=True, timeout=60)
        folder.chmod(0o755)
    assert done.stdout == "PermissionError\n", done.stderr


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("./x", "{cwd}/x"),
        (".", "{cwd}"),
        ("..", "{parent}"),
        ("../x", "{parent}/x"),
        ("a/b", "{cwd}/a/b"),
        ("a//b/./c/../d/", "{cwd}/a/b/d"),
        ("/a/b", "/a/b"),
        ("~/x", "{cwd}/x"),
        ("~nobody_of_that_name/x", "{cwd}/~nobody_of_that_name/x"),
        ("here", "{cwd}/here"),
        ("file", "{cwd}/file"),
        ("./a@b#c", "{cwd}/a@b#c"),
    ],
)
def test_what_is_a_path(text, path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "here").mkdir()
    (tmp_path / "file").write_text("")
    expected = PresetHandle("file", path.format(cwd=tmp_path, parent=tmp_path.parent))
    assert FolderSource().handle_for(text) == expected


@pytest.mark.parametrize("text", ["", "bert_base_en", "x" * 5000, "a\0b"])
def test_what_is_no_path(text, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert FolderSource().handle_for(text) is None
