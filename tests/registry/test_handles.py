"""Handles: `parse` and `str` are exact inverses, and a handle has only one spelling."""

import dataclasses

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from vertebra import PresetHandle
from vertebra.errors import HandleError

SCHEMES = st.sampled_from(["hf", "s3", "file", "a", "git+ssh", "x-1.y"])
SEGMENTS = st.text("ab1%@?#\\:. +~\n\x1f\x7f\x80é模\U0001f9b4", min_size=1, max_size=8).filter(
    lambda segment: segment not in (".", "..")
)
RELATIVE = st.lists(SEGMENTS, min_size=1, max_size=4).map("/".join)
PATHS = st.one_of(RELATIVE, RELATIVE.map("/{}".format))
HANDLES = st.builds(PresetHandle, SCHEMES, PATHS, st.none() | RELATIVE)
# Texts near the border between what parses and what does not.
TEXTS = st.tuples(
    st.sampled_from(["hf", "s3", "file", "HF", "h%66", ""]),
    st.sampled_from(["://", ":/", "://@", ":///"]),
    st.text("ab/@%2F4.0?#\\é\ud800\0 "),
).map("".join)


@given(HANDLES)
def test_every_handle_survives_its_text(handle):
    assert PresetHandle.parse(str(handle)) == handle


@given(TEXTS | HANDLES.map(str))
@example("hf://a@b@c")
def test_every_text_is_refused_or_survives_as_it_is(text):
    try:
        handle = PresetHandle.parse(text)
    except HandleError:
        return
    assert str(handle) == text


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("hf://google/bert", ("hf", "google/bert", None)),
        ("hf://google/bert@main", ("hf", "google/bert", "main")),
        ("hf://google/bert@refs/pr/1", ("hf", "google/bert", "refs/pr/1")),
        ("hf://a%40b/c@v%401", ("hf", "a@b/c", "v@1")),
        ("s3://bucket/%23 x/%3F", ("s3", "bucket/# x/?", None)),
        ("file:///data/my preset", ("file", "/data/my preset", None)),
        ("file:///c%5Cd", ("file", "/c\\d", None)),
        ("file:///50%25", ("file", "/50%", None)),
        ("git+ssh://host.example:22/x.git", ("git+ssh", "host.example:22/x.git", None)),
        ("hf://größe/模型", ("hf", "größe/模型", None)),
    ],
)
def test_reads_the_parts(text, parts):
    assert dataclasses.astuple(PresetHandle.parse(text)) == parts


@pytest.mark.parametrize(
    "text",
    [
        *("", "bert_base_en", "hf:/a", "hf//a", "://a"),  # no scheme
        *("HF://a", "hF://a", "1hf://a", "h f://a", "hé://a", "hf\n://a", "%68f://a"),  # scheme
        *("hf://", "hf:///", "hf://a//b", "hf://a/", "hf:////a"),  # empty segments
        *("hf://.", "hf://..", "hf://a/../b", "hf://a/.", "file:///../etc", "hf://a/%2e%2e/b", "hf://a/.%2E"),  # dots
        *("hf://a@", "hf://a@/b", "hf://a@b/", "hf://a@..", "hf://a@b//c", "hf://@b"),  # revision
        *("hf://a@b@c", "hf://a?b", "hf://a#b", "hf://a\\b", "hf://a\nb"),  # must be encoded
        *("hf://a%2fb", "hf://a%2Fb", "hf://%61", "hf://a%5cb", "hf://a%", "hf://a%zz", "hf://a%4"),  # other spelling
        *("hf://a\0b", "hf://a%00b", "hf://\ud800", "hf://a%ED%A0%80", "hf://a%FF"),  # no text
    ],
)
def test_refuses(text):
    with pytest.raises(HandleError) as caught:
        PresetHandle.parse(text)
    assert caught.value.text == text or caught.value.text.startswith(("hf://", "file://"))


@pytest.mark.parametrize(
    "parts",
    [
        ("", "a"),
        ("HF", "a"),
        ("hf", ""),
        ("hf", "../a"),
        ("hf", "a//b"),
        ("hf", "a\0"),
        ("hf", "\udfff"),
        ("hf", "a", ""),
        ("hf", "a", "/b"),
        ("hf", "a", "b/"),
        ("hf", "a", "b/../c"),
    ],
)
def test_cannot_be_built_from_unsound_parts(parts):
    with pytest.raises(HandleError):
        PresetHandle(*parts)


def test_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        PresetHandle("hf", "a").path = "b"


@pytest.mark.parametrize(
    ("text", "hint"),
    [("HF://acme/bert", "Write hf://acme/bert."), ("s3://bucket/bert/", "Remove the '/' at its end")],
)
def test_the_likeliest_mistakes_come_with_what_to_write(text, hint):
    with pytest.raises(HandleError, match=hint):
        PresetHandle.parse(text)
