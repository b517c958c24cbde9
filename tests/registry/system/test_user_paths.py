"""Paths as users write them."""

import pytest

from vertebra._system.user_paths import full_path, similar_folders
from vertebra.cli import main


@pytest.mark.parametrize("name", ["~nobody-has-this-name", "~\0", "~a\0b", "~\ud800"])
def test_names_that_are_no_user_s_are_kept(name, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert full_path(f"{name}/x") == tmp_path / name / "x"


@pytest.fixture
def models(tmp_path, monkeypatch):
    """The working directory, with two folders and a file."""
    for name in ("checkpoint", "models/bert", ".chekpoint"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "chekpoint.txt").write_text("")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("text", "similar"),
    [
        ("./chekpoint", ["./checkpoint"]),
        ("./chekpoint/", ["./checkpoint"]),
        ("chekpoint", ["checkpoint"]),
        ("models/brt", ["models/bert"]),
        ("./models/../chekpoint", ["./models/../checkpoint"]),
        ("checkpoint", []),
        ("no/such/folder", []),
        ("./zzz", []),
        ("", []),
        (".", []),
        ("/", []),
        ("check\0point", ["checkpoint"]),
        ("~\0", []),
        ("x" * 9_999, []),
    ],
)
@pytest.mark.usefixtures("models")
def test_similar_folders_are_written_as_the_user_writes_paths(text, similar):
    assert similar_folders(text) == similar


def test_an_absolute_path_has_absolute_ones(models):
    assert similar_folders(str(models / "chekpoint")) == [str(models / "checkpoint")]


@pytest.mark.usefixtures("models")
@pytest.mark.parametrize("text", ["./chekpoint", "chekpoint"])
def test_a_misspelled_folder_is_suggested(text, capsys):
    assert main(["inspect", text]) == 1
    similar = text.replace("chek", "check")
    assert f"Did you mean '{similar}'? Check the path" in capsys.readouterr().err
