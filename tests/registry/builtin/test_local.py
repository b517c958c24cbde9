"""The local source reads paths and file:// handles, and no file outside the folder that they name."""

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
    """A folder with one preset file, and entries that must not be listed as files of the preset."""
    folder = tmp_path / "preset"
    (folder / "inside").mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (folder / "inside" / "deep.json").write_text("{}")
    (folder / ".git").mkdir()
    (folder / ".git" / "HEAD").write_text("")
    (tmp_path / "secret").write_text("secret")
    (folder / "inside" / "deep_leads_out").symlink_to(tmp_path / "secret")
    (folder / "folder_leads_out").symlink_to(tmp_path)
    (folder / "circle").symlink_to(folder)
    (folder / "leads_out").symlink_to(tmp_path / "secret")
    (folder / "leads_out_by_two").symlink_to("leads_out")
    (folder / "dangling").symlink_to("nowhere")
    (folder / "loop").symlink_to("loop")
    os.mkfifo(folder / "pipe")
    return folder


def handle(folder):
    return PresetHandle("file", str(folder))


def test_lists_the_files_of_the_folder_and_of_those_inside_it(folder):
    files = {file.name: file.size for file in FolderSource().files(handle(folder))}
    assert files["config.json"] == files["inside/deep.json"] == 2
    assert files.keys() == {"config.json", *("inside/" + name for name in ("deep.json", "deep_leads_out"))} | {
        "leads_out",
        "leads_out_by_two",
    }


def test_a_folder_without_a_config_is_not_walked(folder):
    (folder / "config.json").unlink()
    assert not any("/" in file.name for file in FolderSource().files(handle(folder)))


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
        *("inside/../config.json", "/config.json", "inside/deep_leads_out", "folder_leads_out/secret"),
        *("leads_out", "leads_out_by_two", "dangling", "loop", "pipe"),
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


def test_a_link_that_leads_out_is_named_with_what_to_do(folder):
    assert "leads_out" in {file.name for file in FolderSource().files(handle(folder))}
    with pytest.raises(PresetNotFoundError) as caught:
        FolderSource().fetch(handle(folder), "leads_out")
    assert "leads_out" in caught.value.problem
    assert "copy" in caught.value.problem
