"""SentencePiece's model files: read and written as the library does, and any bytes are refused or read."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vertebra_text.tokenizers.files import protobuf
from vertebra_text.tokenizers.files.sentencepiece import (
    BPE,
    BYTE,
    Normalizer,
    Piece,
    SentencePieceModel,
    Trainer,
    dump_model,
    parse_model,
)

pieces = st.builds(Piece, st.text(max_size=6), st.floats(width=32, allow_nan=False), st.integers(1, 6))
trainers = st.builds(
    Trainer, model_type=st.integers(1, 4), byte_fallback=st.booleans(), pad_id=st.integers(-1, 2**31 - 1)
)
models = st.builds(
    SentencePieceModel,
    st.lists(pieces, min_size=1, max_size=20).map(tuple),
    trainers,
    st.builds(Normalizer, st.text(max_size=4), st.binary(max_size=20), st.booleans(), st.booleans(), st.booleans()),
)


@given(models)
def test_a_written_model_is_read_as_before(model):
    assert parse_model(dump_model(model)) == model


def test_fields_that_are_left_out_have_the_defaults_of_the_format():
    model = parse_model(protobuf.field(1, protobuf.field(1, "a")))
    assert model == SentencePieceModel((Piece("a"),))
    assert (model.trainer.unk_id, model.trainer.bos_id, model.trainer.eos_id, model.trainer.pad_id) == (0, 1, 2, -1)


def test_unknown_fields_are_skipped():
    model = SentencePieceModel((Piece("a", -1.5, BYTE),), Trainer(BPE, pad_id=-1))
    extra = (
        protobuf.field(5, b"denormalizer") + protobuf.field(90, 7) + protobuf.field(91, 2.5) + b"\xe1\x05" + bytes(8)
    )
    assert parse_model(dump_model(model) + extra) == model


@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_refused(data):
    with contextlib.suppress(ValueError):
        parse_model(data)


@given(models, st.integers(0, 200), st.integers(0, 255))
def test_damaged_models_are_read_or_refused(model, position, byte):
    data = bytearray(dump_model(model))
    data[position % len(data)] = byte
    for damaged in (bytes(data), bytes(data[: position % len(data)])):
        with contextlib.suppress(ValueError):
            parse_model(damaged)


@pytest.mark.parametrize(
    "data",
    [b"", b"\x0a\xff\xff\xff\xff\x0f", b"\xff" * 11, b"\x00\x01", b"\x0b", b"version https://git-lfs", b"<html>"],
)
def test_bytes_that_are_no_model_are_refused(data):
    with pytest.raises(ValueError):
        parse_model(data)
