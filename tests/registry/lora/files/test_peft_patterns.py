"""PEFT's patterns: the first key that PEFT would match, without Python's `re`, or a refusal by name."""

import re
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vertebra._lora.files.peft_patterns import PatternTable
from vertebra.errors import LoraConfigError

QUERY = "encoder.layer.1.attention.self.query"


def table(*keys):
    """Patterns with values 1, 2, 3 and so on."""
    return PatternTable("adapter_config.json", "alpha_pattern", {key: i for i, key in enumerate(keys, 1)})


def of_peft(keys, module):
    """Returns the number of the key that PEFT 0.21.2 matches (`get_pattern_key` in peft/utils/other.py), 0 for none."""
    values = {key: i for i, key in enumerate(keys, 1)}
    first = next((key for key in keys if re.match(rf"(.*\.)?({key})$", module)), module)
    return values.get(first, 0)


@pytest.mark.parametrize(
    ("key", "matches"),
    [
        ("query", True),
        ("self.query", True),
        (QUERY, True),
        (f"^{QUERY}", True),
        ("^query", False),
        ("uery", False),
        ("quer", False),
        (f"x.{QUERY}", False),
        ("self_query", False),
        ("layer.1.attention.self.query", True),
        ("layer.1.attention.sel..query", True),
        ("layer.2.attention.self.query", False),
        ("attention-self.query", False),
        ("", False),
        ("query$", True),
        (r"\bquery", True),
        (r"layer\.\d\.attention\.self\.(query|value)", True),
        (r".*layer\.1\..*query", True),
        (r"layer\.[02-9]\..*", False),
        (r"(?:encoder|decoder)\.layer\.\d{1,2}\..*", True),
        (r"encoder\.layer\.(?:\d+)\.[^.]+\.self\.query", True),
        ("encoder)|(key", True),  # PEFT puts keys into a longer expression as text
        ("?:query", True),
        ("quer[^y]", False),
        (r"[\w.]+", True),
        (r"\Aencoder.*", True),
    ],
)
def test_a_key_matches_where_pefts_does(key, matches):
    assert table(key).get(QUERY, 0) == int(matches) == of_peft([key], QUERY)


def test_the_first_key_that_matches_counts():
    assert table("value", ".*query", "query").get(QUERY, 0) == 2
    assert table("query", ".*query").get(QUERY, 0) == 1
    assert table().get(QUERY, "default") == "default"
    assert PatternTable("path", "rank_pattern", None).get(QUERY, 4) == 4
    assert PatternTable("path", "rank_pattern", {"a(1)": 7}).get("a(1)", 4) == 7  # matched as a name, as in PEFT


_PIECES = [*"aab1_.^$*+?(){}[]|-,", r"\d", r"\w", r"\.", r"\b", r"\S", "(?:", ".*", "{2}", "{1,}", "[^", "[a-b]"]
_NAMES = st.text(st.sampled_from("aab1_.-"), min_size=1, max_size=8)
_KEYS = st.lists(st.sampled_from(_PIECES), max_size=7).map("".join) | st.text("ab1._^-", max_size=6)


@given(keys=st.lists(_KEYS, min_size=1, max_size=3, unique=True), module=_NAMES)
def test_any_keys_mean_what_they_mean_in_peft_or_are_refused(keys, module):
    try:
        found = table(*keys).get(module, 0)
    except LoraConfigError as error:
        assert error.value in keys  # noqa: PT017 (most keys are refused, and a few are not)
        return
    try:
        expected = of_peft(keys, module)
    except re.error:
        return  # PEFT could not load the adapter
    assert found == expected


_SOUND = st.recursive(
    st.sampled_from(["a", "b", "1", "_", ".", r"\.", r"\d", r"\w", "[ab]", "[^a]", "[^.]", r"\b"]),
    lambda inner: st.one_of(
        st.tuples(inner, inner).map("".join),
        st.tuples(inner, inner).map("|".join).map("({})".format),
        inner.map("(?:{})*".format),
        inner.map("(?:{})+?".format),
        inner.map("({})?".format),
        inner.map("(?:{}){{1,2}}".format),
    ),
    max_leaves=5,
)


@given(keys=st.lists(_SOUND, min_size=1, max_size=2, unique=True), module=_NAMES)
def test_sound_expressions_mean_what_they_mean_in_peft(keys, module):
    assert table(*keys).get(module, 0) == of_peft(keys, module)


@pytest.mark.parametrize(
    ("key", "told"),
    [
        ("(?=query)query", "lookaround"),
        ("(?!value).*", "lookaround"),
        (r".*(?<=self\.)query", "lookaround"),
        ("(?i:QUERY)", "flags"),
        ("(?P<name>query)", "groups other than"),
        (r"(q)uer\2", "backreference"),
        (r"query\Z", r"\Z"),
        (r"\x71uery", r"\x"),
        (r"\pL+", r"\p"),
        ("query\\", "not supported"),
        ("(query", None),
        ("query{,2}", "{0,n}"),
        ("[[:alpha:]]+", "a set within a set"),
        ("a{2000}", None),
        ("(?:a?){900}" * 20, None),
        ("q" * 1001 + "*", "1002 characters"),
        ("größe*", "ASCII"),
        ("query*\n", "ASCII"),
        ("query*\ud800", "ASCII"),
    ],
    ids=lambda text: str(text)[:20].encode("ascii", "replace").decode(),
)
def test_what_has_no_linear_time_or_another_meaning_is_refused_by_name(key, told, capfd):
    with pytest.raises(LoraConfigError) as caught:
        table("value", key)
    assert (caught.value.field, caught.value.value) == ("alpha_pattern", key)
    assert (told or "") in caught.value.expected
    assert "List the modules by name" in str(caught.value)
    assert capfd.readouterr() == ("", "")  # RE2 would report it on stderr, too


@pytest.mark.parametrize(
    "value",
    [["query"], "query", 3, {f"n{i}": 1 for i in range(10_001)}, {f"n{i}*": 1 for i in range(33)}],
    ids=lambda value: f"{type(value).__name__} of {len(value) if hasattr(value, '__len__') else 1}",
)
def test_what_is_no_table_of_a_sensible_size_is_refused(value):
    with pytest.raises(LoraConfigError):
        PatternTable("path", "rank_pattern", value)


def test_a_module_that_is_not_ascii_has_no_expressions():
    """Python and RE2 disagree on which characters are letters; names are compared character by character."""
    assert table("größe").get("schicht.größe", 0) == 1
    with pytest.raises(LoraConfigError) as caught:
        table("value", r"\w+").get("schicht.größe", 0)
    assert caught.value.value == r"\w+"
    assert "größe" in str(caught.value)


def test_names_alone_import_nothing():
    code = f"""
import sys
from vertebra._lora.files.peft_patterns import PatternTable
assert PatternTable("path", "rank_pattern", {{"query": 2, "^{QUERY}": 3}}).get("{QUERY}", 1) == 2
print("re2" in sys.modules, "keras" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]
