"""Strict JSON: what the standard parser lets through silently is refused, in little time."""

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vertebra._system.strict_json import MOST_BYTES, dump_json, parse_json, read_json
from vertebra.errors import PresetConfigError

TEXTS = st.text('ab"\\/ \n\0\x1f\x7fé\u2028\ufeff\U0001f9b4', max_size=5)
NUMBERS = st.integers(-(10**28), 10**28) | st.floats(allow_nan=False, allow_infinity=False)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**28), 10**28)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=5,
)
OBJECTS = st.dictionaries(TEXTS, VALUES, max_size=3)


class RefusedError(Exception):
    """Has the problem, as the errors of the callers of the parser do."""


UNSOUND = {
    "nothing": b"",
    "spaces": b"  ",
    "twice the same key": b'{"a": 1, "a": 1}',
    "twice the same key, deep": b'{"a": [{"b": 1, "b": 2}]}',
    "NaN": b'{"a": NaN}',
    "infinity": b'{"a": -Infinity}',
    "overflow": b'{"a": 1e400}',
    "5,000 digits": b'{"a": ' + b"9" * 5000 + b"}",
    "31 digits": b'{"a": ' + b"9" * 31 + b"}",
    "deep list": b'{"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "deep object": b'{"a": ' * 100_000 + b"1" + b"}" * 100_000,
    "byte order mark": b'\xef\xbb\xbf{"a": 1}',
    "UTF-16": '{"a": 1}'.encode("utf-16"),
    "no UTF-8": b'{"a": "\xff"}',
    "encoded surrogate": b'{"a": "\xed\xa0\x80"}',
    "lone surrogate": b'{"a": "\\ud800"}',
    "lone surrogate in a key": b'{"a": [{"\\uDFFF": 1}]}',
    "two documents": b"{} {}",
    "bytes after the end": b'{"a": 1}\0',
    "single quotes": b"{'a': 1}",
    "comment": b'{"a": 1} // one',
    "list": b"[]",
    "text": b'"a"',
    "null": b"null",
    "five million objects": b'{"a": [' + b"{}," * 2_500_000 + b"{}]}",
    "four million numbers": b'{"a": [' + b"1," * 4_000_000 + b"1]}",
}


@pytest.mark.parametrize("data", UNSOUND.values(), ids=UNSOUND)
def test_refuses(data, tmp_path):
    path = tmp_path / "config.json"
    path.write_bytes(data)
    start = time.perf_counter()
    with pytest.raises(PresetConfigError) as caught:
        read_json(path)
    assert time.perf_counter() - start < 1
    assert caught.value.subject == path


def test_refuses_a_large_file_unread(tmp_path):
    path = tmp_path / "config.json"
    with path.open("wb") as file:
        file.truncate(MOST_BYTES + 1)
    with pytest.raises(PresetConfigError):
        read_json(path)


@pytest.mark.parametrize("data", [b'{"a": "' + b"x" * 2_000_000 + b'"}', b'{"a": [' + b"1," * 500_000 + b"1]}"])
def test_reads_what_is_merely_large(data):
    assert parse_json(data, RefusedError) == json.loads(data)


@given(OBJECTS)
def test_reads_what_it_and_others_write(value):
    assert parse_json(dump_json(value), RefusedError) == value
    assert parse_json(json.dumps(value).encode(), RefusedError) == value  # with \u escapes, in pairs where needed


@given(OBJECTS, st.integers(0), st.text('{}[]",:019.eE-\\ud8anN', max_size=2))
def test_reads_a_changed_text_as_others_do_or_refuses_it(value, position, inserted):
    text = json.dumps(value)
    position %= len(text)
    changed = text[:position] + inserted + text[position + 1 :]
    try:
        found = parse_json(changed.encode(), RefusedError)
    except RefusedError:
        return
    assert found == json.loads(changed)
    dump_json(found)  # a value that can be read can be written


@pytest.mark.parametrize("value", [{"a": float("nan")}, {"a": float("inf")}, {"a": "\ud800"}, {"a": object()}])
def test_never_writes_what_it_would_not_read(value):
    with pytest.raises((TypeError, ValueError)):
        dump_json(value)


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", "it is empty"),
        (b" \n", "it is empty"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", "a git-lfs pointer"),
        (b"\n<!DOCTYPE html>", "a web page"),
        ("{}".encode("utf-16"), "UTF-16"),
        (b"PK\x03\x04\x14\x00", "a zip archive"),
        (b"\x89PNG\r\n", "not UTF-8 text"),
        (b"model_type: bert", "not valid JSON"),
    ],
)
def test_what_is_found_in_place_of_json_is_named(tmp_path, data, problem):
    (tmp_path / "config.json").write_bytes(data)
    with pytest.raises(PresetConfigError, match=problem) as caught:
        read_json(tmp_path / "config.json")
    assert str(tmp_path / "config.json") in str(caught.value)
