"""PT-01: names of files that lead nowhere but below the preset's folder, on every system."""

import tracemalloc

import pytest

from vertebra._resolve.filenames import LONGEST, impossible_on_some, shown, unsafe_names


@pytest.mark.parametrize(
    "name",
    [
        *("", ".", "..", "../x", "a/../../x", "a/..", "./x", "a/./x", "a//x", "/x", "a/"),
        *("a\\x", "..\\x", "\\\\host\\share\\x", "C:\\x", "D:x", "a:stream", "a\0x", "a\nx", "a\x7f", "\ud800"),
        *("a\x9b2J", "a\x85b", "a\u202egpj.exe", "a\u2066b", "a\u2028b"),  # V6
        *("CON", "con", "nul.txt", "a/AUX", "Lpt1.json", "COM¹", "conout$", "a.", "a ", "a./x", "a /x"),
        *("x" * 256, "é" * 128, "/".join(["x" * 250] * 5), "x/" * LONGEST, "a/" * 65 + "b"),
    ],
    ids=lambda name: repr(name[:20]),
)
def test_a_name_that_is_unsafe_somewhere_is_not_used_anywhere(name):
    assert list(unsafe_names(["config.json", name])) == [name]


@pytest.mark.parametrize(
    "name",
    [
        *("a", "a/b.c", ".hidden", "a..b", "...a", "console.log", "x" * 255, "naïve café", "\u0645\u06cc\u200c\u062e"),
        "a/" * 64 + "b",
    ],
)
def test_other_names_are_used(name):
    assert unsafe_names(["config.json", name]) == {}


def test_a_name_that_is_listed_twice_is_not_used():
    assert unsafe_names(["x", "y", "x"]) == {"x": "is listed 2 times"}


def test_a_file_is_no_folder_too():
    assert unsafe_names(["a/b", "a/B/c", "a/B/d", "e"]) == dict.fromkeys(
        ["a/B/c", "a/B/d"], "is in a folder with the name of the file 'a/b'"
    )
    assert unsafe_names(["a/b", "a/bc", "a.b"]) == {}


@pytest.mark.parametrize(
    "names",
    [("README.md", "readme.md"), ("caf\u00e9", "cafe\u0301"), ("CAF\u00c9", "cafe\u0301")],
    ids=["case", "accents", "both"],
)
def test_names_that_are_one_file_on_some_systems_are_read_and_not_published(names):
    assert unsafe_names(names) == {}
    assert impossible_on_some(names) == {
        names[1]: f"is the same as {names[0]!r} on systems that ignore case or accents"
    }


def test_what_some_systems_cannot_have_is_read_and_not_published():
    assert unsafe_names(["what?.txt", "a*"]) == {}
    assert impossible_on_some(["a", "what?.txt"]) == {"what?.txt": "is not allowed on some systems"}
    assert impossible_on_some(["config.json", "a/b-c_d.txt", "a/x", "b/x"]) == {}


def test_a_name_is_shown_shortened_and_as_text():
    assert len(shown("x" * 1000)) == 201
    assert shown("a\ud800") == r"a\ud800"


def test_very_many_names_in_deep_folders_are_compared_in_little_memory():
    """V11: 100,000 names in deep folders took 8 s, and 49 s in the deepest."""
    names = [f"{'a/' * 60}{number}" for number in range(20_000)]
    tracemalloc.start()
    assert unsafe_names([*names, "a/" * 500 + "b"]) == {"a/" * 500 + "b": "is in more than 64 folders"}
    assert tracemalloc.get_traced_memory()[1] < 50e6
    tracemalloc.stop()
    assert list(unsafe_names([*names, f"{names[7]}/x"])) == [f"{names[7]}/x"]


def test_the_file_that_is_a_folder_is_the_outermost_one():
    assert unsafe_names(["a/b/c", "a/b", "a", "a-b/c"]) == dict.fromkeys(
        ["a/b", "a/b/c"], "is in a folder with the name of the file 'a'"
    )
