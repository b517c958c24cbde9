"""PT-01: names of files that lead nowhere but below the preset's folder, on every system."""

import pytest

from vertebra._presets.names import LONGEST, MOST_FILES, problem_with


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


def test_there_are_not_too_many_or_too_long():
    assert f"{MOST_FILES + 1:,}" in problem_with([str(number) for number in range(MOST_FILES + 1)])
    assert len(problem_with(["x/" * LONGEST])) < 400
