"""Editing TOML: one setting changes, and every other line stays."""

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vertebra._configuration.editing import toml, with_setting, without_setting

FILE = """\
# Settings of Ada
cache = "/data/cache"   # a fast disk
block = [  # never these
    "a",
    "b#c",
]          # for now

# the rules of this machine
[enforced]
offline = true
"""


@pytest.mark.parametrize(
    ("table", "name", "value", "old", "new"),
    [
        ("", "cache", "/x", 'cache = "/data/cache"   #', 'cache = "/x"   #'),
        ("", "block", ("d",), FILE[FILE.index("block") : FILE.index("]   ") + 1], 'block = ["d"]'),
        ("", "runtime", "jax", "# for now\n", '# for now\nruntime = "jax"\n'),
        ("", "offline", False, "# for now\n", "# for now\noffline = false\n"),
        ("enforced", "offline", False, "offline = true", "offline = false"),
        ("enforced", "locked", True, "[enforced]\n", "[enforced]\nlocked = true\n"),
    ],
)
def test_only_the_setting_changes(table, name, value, old, new):
    assert FILE.count(old) == 1
    assert with_setting(FILE, table, name, value) == FILE.replace(old, new)


def test_a_removed_setting_takes_its_lines_along():
    start, end = FILE.index("block"), FILE.index("\n# the rules")
    assert without_setting(FILE, "", "block") == FILE[:start] + FILE[end:]
    assert without_setting(FILE, "enforced", "offline") == FILE.replace("offline = true\n", "")


def test_a_new_table_and_an_empty_file():
    assert with_setting("", "", "offline", True) == "offline = true\n"
    assert with_setting("a = 1", "enforced", "offline", True) == "a = 1\n\n[enforced]\noffline = true\n"


def test_windows_ends_of_lines_stay():
    assert with_setting("a = 1\r\n[t]\r\n", "", "b", "x") == 'a = 1\r\nb = "x"\r\n[t]\r\n'


def test_a_text_that_looks_like_the_setting_is_not_touched():
    text = 'a = """\ncache = 1\n"""\n'
    assert with_setting(text, "", "cache", "x") == f'{text}cache = "x"\n'


@pytest.mark.parametrize("text", ["enforced = { offline = true }\n", "enforced.offline = true\n"])
def test_an_unusual_layout_is_not_changed(text):
    assert with_setting(text, "enforced", "locked", True) is None
    assert without_setting(text, "enforced", "offline") is None


@given(
    st.text(st.characters(exclude_categories=["Cs"])) | st.booleans() | st.lists(st.text("ab,#'\"\\[]=\n")).map(tuple)
)
def test_every_value_is_read_again(value):
    expected = list(value) if isinstance(value, tuple) else value
    assert tomllib.loads(f"x = {toml(value)}") == {"x": expected}
    text = with_setting(FILE, "", "block", value)
    assert tomllib.loads(text)["block"] == expected
    assert with_setting(text, "", "block", ("a", "b#c")) == with_setting(FILE, "", "block", ("a", "b#c"))
