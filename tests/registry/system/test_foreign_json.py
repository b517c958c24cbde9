"""JSON of other libraries: what Python reads is read, as long as doubtful values do not matter."""

import json
import math

import pytest

from vertebra._system.foreign_json import is_json, parse_foreign_json, read_foreign_json
from vertebra.errors import PresetConfigError


def parsed(text):
    data = text if isinstance(text, bytes) else text.encode()
    return parse_foreign_json(data, lambda problem: PresetConfigError("the file", problem))


@pytest.mark.parametrize("text", ["{}", '{"a": [1, {"b": null}]}', '\ufeff{"a": 1}', '{"a": 1, "a": 1}', " {}\n"])
def test_what_has_one_reading_has_no_doubts(text):
    document = parsed(text)
    assert document.other is None
    assert document.value == json.loads(text.removeprefix("\ufeff"))
    assert document.read(dict, dict) == document.value


@pytest.mark.parametrize(
    ("text", "doubt"),
    [
        ('{"a": NaN}', "a is nan, which is not a number in JSON"),
        ('{"a": -Infinity}', "a is -inf, which is not a number in JSON"),
        ('{"a": 1e999}', "a is inf, which is not a number in JSON"),
        ('{"a": 1, "a": 2}', "a has two values, 1 and 2"),
        ('{"a": NaN, "a": 2}', "a has two values, NaN and 2"),
        ('{"a": 2, "a": NaN}', "a has two values, 2 and nan"),
        ('{"a": NaN, "a": null}', "a has two values, NaN and None"),
        ('{"a": 1e999, "a": {"b": 1}}', "a has two values, 1e999 and {'b': 1}"),
        ('{"a": [NaN], "a": 2}', "a has two values, [NaN] and 2"),
        ('{"a": NaN, "a": NaN}', "a is nan, which is not a number in JSON"),
        ('{"a": NaN, "a": Infinity}', "a has two values, NaN and inf"),
        ('{"a": {"b": [0, {"c": 1, "c": null}]}}', "a.b[1].c has two values, 1 and None"),
        ('{"a": {"b": 1}, "a": {"c": 1}}', "a has two values, {'b': 1} and {'c': 1}"),
        (f'{{"a": {"9" * 40}}}', f"a is {'9' * 40}, which is not a number in JSON"),
    ],
)
def test_doubtful_values_matter_only_if_they_are_used(text, doubt):
    document = parsed('{"used": 3, ' + text[1:])
    assert document.read(lambda config: config["used"], int) == 3
    assert document.doubts_text == doubt
    with pytest.raises(PresetConfigError) as caught:
        document.read(lambda config: config["a"], lambda value: value)
    assert doubt in caught.value.problem
    with pytest.raises(PresetConfigError, match="not valid JSON"):
        document.require_strict()


def test_a_reader_that_fails_on_the_other_reading_uses_the_value():
    with pytest.raises(PresetConfigError, match="a is nan"):
        parsed('{"a": NaN}').read(lambda config: config["a"] > 0, bool)


def test_the_last_of_repeated_keys_counts_as_for_python():
    assert parsed('{"a": 1, "b": 2, "a": 3}').value == {"a": 3, "b": 2}
    assert list(parsed('{"a": 1, "b": 2, "a": 3}').other.items()) == [("a", 1), ("b", 2)]
    assert math.isnan(parsed('{"a": NaN}').value["a"])


@pytest.mark.parametrize(
    "text",
    [
        *("", "{", "{}{}", '{"a": 1} trailing', "{'a': 1}", "// comment\n{}", '{"a": 1,}', "[]", "1", "NaN", "null"),
        *(
            b"\xff\xfe{\x00}\x00",
            b"\x80\x02pickle",
            "{" + '"a": {' * 100_000,
            '{"a": NaN, "b": "\\ud800"}',
            '{"a": ' + "9" * 5000 + "}",
        ),
    ],
    ids=lambda text: repr(text[:12]),
)
def test_other_texts_are_refused_as_by_python(text):
    with pytest.raises(PresetConfigError):
        parsed(text)


@pytest.mark.parametrize("depth", [300, 480, 900, 990])
@pytest.mark.parametrize("start", ["", '"x": NaN, ', '"x": 1, "x": 2, '])
def test_deep_documents_are_read_or_refused(depth, start):
    text = "{" + start + '"a": ' + "[" * depth + "]" * depth + "}"
    try:
        assert "a" in parsed(text).value
    except PresetConfigError as error:
        assert "not valid JSON" in error.problem  # noqa: PT017


def test_our_own_format_has_no_byte_order_mark():
    with pytest.raises(PresetConfigError, match="byte order mark"):
        parsed("\ufeff{}").require_strict()
    parsed("{}").require_strict()


def test_what_is_no_file_is_not_opened(tmp_path):
    for path in (tmp_path, "/dev/zero"):
        with pytest.raises(PresetConfigError, match="expected a regular file"):
            read_foreign_json(tmp_path / path)


def test_the_limits_are_those_of_strict_json():
    with pytest.raises(PresetConfigError, match="brackets and commas"):
        parsed('{"a": NaN, "b": [' + "[]," * 1_000_000 + "[]]}")


def test_what_can_be_written_is_json():
    assert is_json({"a": [1.5, None]})
    assert not is_json({"a": [math.nan]})
