"""PT-01: names of files that lead nowhere but below the preset's folder, on every system."""

import pytest

from vertebra._resolve.filenames import LONGEST, MOST_FILES, impossible_on_some, problem_with


@pytest.mark.parametrize(
    "name",
    [
        *("", ".", "..", "../x", "a/../../x", "a/..", "./x", "a/./x", "a//x", "/x", "a/"),
        *("a\\x", "..\\x", "\\\\host\\share\\x", "C:\\x", "D:x", "a:stream", "a\0x", "a\nx", "a\x7f", "\ud800"),
        *("CON", "con", "nul.txt", "a/AUX", "Lpt1.json", "COM¹", "conout$", "a.", "a ", "a./x", "a /x"),
        *("x" * 256, "é" * 128, "/".join(["x" * 250] * 5)),
    ],
    ids=lambda name: repr(name[:20]),
)
def test_a_name_that_is_unsafe_somewhere_is_refused_everywhere(name):
    assert "which" in problem_with(["config.json", name])


@pytest.mark.parametrize("name", ["a", "a/b.c", ".hidden", "a..b", "...a", "console.log", "x" * 255, "naïve café"])
def test_other_names_are_taken(name):
    assert problem_with(["config.json", name]) is None


def test_names_that_differ_in_case_alone_are_one():
    assert "'README.md' and 'readme.md'" in problem_with(["README.md", "readme.md"])
    assert problem_with(["a/x", "b/x"]) is None


def test_names_that_differ_in_how_accents_are_written_are_one():
    assert "accents" in problem_with(["caf\u00e9", "cafe\u0301"])
    assert "accents" in problem_with(["CAF\u00c9", "cafe\u0301"])


def test_a_name_is_listed_once():
    assert "'x' 2 times" in problem_with(["x", "y", "x"])


def test_a_file_is_no_folder_too():
    assert "'a/b', which must also be a folder for 'a/B/c'" in problem_with(["a/b", "a/B/c"])
    assert problem_with(["a/b", "a/bc", "a.b"]) is None


def test_what_some_systems_cannot_have_is_read_and_not_published():
    assert problem_with(["what?.txt", "a*"]) is None
    assert "what?.txt" in impossible_on_some(["a", "what?.txt"])
    assert impossible_on_some(["config.json", "a/b-c_d.txt"]) is None


def test_there_are_not_too_many_or_too_long():
    assert f"{MOST_FILES + 1:,}" in problem_with([str(number) for number in range(MOST_FILES + 1)])
    assert len(problem_with(["x/" * LONGEST])) < 400
