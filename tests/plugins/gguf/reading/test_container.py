"""Headers are read as they are written, and those of damaged and hostile files are refused in words."""

import struct
import tracemalloc

import pytest

import gguf_bytes
from gguf_bytes import GPT2, gguf, tensor, text
from vertebra.errors import PresetConfigError, WeightsFileError
from vertebra_gguf.reading.container import MOST_HEADER_BYTES, header_end, read_container

FIELDS = {"general.architecture": "gpt2", "a.number": 7, "a.text": "é", "a.list": [1, -2], "b.texts": ["x", "yz"]}
ONE = [tensor("x", (2, 3))]
HUGE = 2**63


def read(data):
    return read_container("model.gguf", memoryview(data))


def test_fields_and_tensors_are_read():
    container = read(gguf(FIELDS | {"a.flag": True, "a.float": 0.5}, [*ONE, tensor("y", (4,), 1, 32)], bytes(40)))
    fields = container.fields
    assert (fields.count("a.number"), fields.text("a.text"), fields.flag("a.flag"), fields.number("a.float")) == (
        7,
        "é",
        True,
        0.5,
    )
    assert (fields.numbers("a.list"), fields.texts("b.texts")) == ([1, -2], ["x", "yz"])
    first, second = container.tensors.values()
    assert (first.name, first.shape, first.encoding.name, first.size) == ("x", (2, 3), "F32", 24)
    assert (second.shape, second.encoding.name, second.start - first.start) == ((4,), "F16", 32)


def test_files_of_the_package_are_read(tmp_path):
    package = pytest.importorskip("gguf")
    import numpy as np

    writer = package.GGUFWriter(tmp_path / "model.gguf", "llama")
    for number, kind in enumerate(("uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64")):
        getattr(writer, f"add_{kind}")(f"n.{kind}", number)
    writer.add_float64("n.float64", 0.25)
    writer.add_array("n.floats", [0.5, 1.5])
    writer.add_array("n.flags", [True, False])
    writer.add_custom_alignment(64)
    writer.add_tensor("x", np.arange(6, dtype="float32").reshape(2, 3))
    for step in ("write_header_to_file", "write_kv_data_to_file", "write_tensors_to_file", "close"):
        getattr(writer, step)()
    data = (tmp_path / "model.gguf").read_bytes()
    container = read(data)
    kinds = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64")
    assert [container.fields.count(f"n.{kind}") for kind in kinds] == list(range(8))
    assert container.fields.number("n.float64") == 0.25
    assert (container.fields.numbers("n.floats"), container.fields.numbers("n.flags")) == ([0.5, 1.5], [True, False])
    one = container.tensors["x"]
    assert one.start % 64 == 0
    assert np.frombuffer(data, "float32", 6, one.start).tolist() == list(range(6))


def counted(count):
    """Returns a field with an array of which only the number of elements is there."""
    return {"a.list": struct.pack("<IIQ", 9, 8, count)}


BROKEN = {
    "empty": (b"", "truncated in its magic number"),
    "another file": (b"PK\x03\x04" + bytes(100), "not a GGUF file; it looks like a zip archive"),
    "a page": (b"<html>" + bytes(100), "looks like a web page"),
    "git-lfs": (b"version https://git-lfs.github.com/spec/v1", "git-lfs pointer"),
    "before GGUF": (b"tjgg" + bytes(100), "before GGUF"),
    "version 1": (gguf(FIELDS, version=1), "version 1 of GGUF; versions 2 and 3"),
    "big-endian": (gguf(FIELDS, version=3 << 24), "big-endian"),
    "too many tensors": (gguf(FIELDS, counts=(HUGE, 5)), "it declares 9,223,372,036,854,775,808 tensors"),
    "too many fields": (gguf(FIELDS, counts=(0, HUGE)), "9,223,372,036,854,775,808 fields"),
    "fields that are not there": (gguf(FIELDS, counts=(0, 9)), "truncated in the key of field 6"),
    "a long key": (b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + struct.pack("<Q", HUGE), "the key of field 0 has"),
    "a long text": (gguf({"a": struct.pack("<IQ", 8, HUGE)}), r"the field 'a' has 9,223,372,036,854,775,808 bytes"),
    "a text beyond the end": (gguf({"a": struct.pack("<IQ", 8, 10_000)}), "truncated in the field 'a'"),
    "a long array": (gguf(counted(HUGE)), "at most 1,048,576 are read"),
    "an array beyond the end": (gguf(counted(1_000_000)), "truncated in the field 'a.list'"),
    "numbers beyond the end": (gguf({"a": struct.pack("<IIQ", 9, 12, 1_000_000)}), "truncated in the field 'a'"),
    "an array of arrays": (gguf({"a": struct.pack("<IIQ", 9, 9, 1)}), "an array of type 9"),
    "an unknown type": (gguf({"a": struct.pack("<I", 99)}), "of type 99, which GGUF does not have"),
    "a key that is no text": (gguf([(b"\xff", 1)]), "the key of field 0 is not UTF-8"),
    "a key twice": (gguf([("a", 1), ("a", 2)]), "two fields have the key 'a'"),
    "a tensor twice": (gguf(FIELDS, [*ONE, *ONE], bytes(24)), "two tensors have the name 'x'"),
    "no axes": (gguf(FIELDS, [tensor("x", ())]), "0 axes, expected 1 to 4"),
    "many axes": (gguf(FIELDS, [text("x") + struct.pack("<I", 2**31)]), "2147483648 axes"),
    "an axis of 0": (gguf(FIELDS, [tensor("x", (0, 3))]), r"\[0, 3\], which F32 cannot have"),
    "a huge axis": (gguf(FIELDS, [tensor("x", (HUGE, 3))]), "which F32 cannot have"),
    "a product beyond the file": (gguf(FIELDS, [tensor("x", (2**31 - 1, 2**31 - 1))]), "truncated: tensor 'x'"),
    "half a block": (gguf(FIELDS, [tensor("x", (2, 33), 8)]), "which Q8_0 cannot have"),
    "an unknown type of tensor": (gguf(FIELDS, [tensor("x", (2, 3), 99)]), "of type 99; the types that are read"),
    "a long name": (gguf(FIELDS, [tensor("x" * 65, (2,))]), "the name of tensor 0 has 65 bytes"),
    "a tensor beyond the end": (gguf(FIELDS, ONE, bytes(23)), "truncated: tensor 'x' ends at byte"),
    "an offset beyond the end": (gguf(FIELDS, [tensor("x", (2,), 0, 2**40)], bytes(64)), "truncated"),
    "an odd offset": (gguf(FIELDS, [tensor("x", (2,), 0, 4)], bytes(64)), "begins at 4, which is no multiple of 32"),
    "overlapping tensors": (
        gguf(FIELDS, [tensor("x", (16,), 0, 0), tensor("y", (16,), 0, 32)], bytes(96)),
        "'x' and 'y' overlap",
    ),
    "an alignment of 0": (gguf({"general.alignment": 0}), "general.alignment is 0"),
    "a huge alignment": (gguf({"general.alignment": 2**31}), "general.alignment is 2147483648"),
    "an odd alignment": (gguf({"general.alignment": 12}), "general.alignment is 12"),
    "an alignment in words": (gguf({"general.alignment": "32"}), "general.alignment is '32'"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_an_unsound_file_is_refused(case):
    data, words = BROKEN[case]
    with pytest.raises(WeightsFileError, match=words):
        read(data)


@pytest.mark.parametrize("case", BROKEN)
def test_a_refusal_takes_little_memory(case):
    data, _ = BROKEN[case]
    tracemalloc.start()
    try:
        with pytest.raises(WeightsFileError):
            read(data)
        assert tracemalloc.get_traced_memory()[1] < 200_000
    finally:
        tracemalloc.stop()


def test_each_cut_of_a_file_is_refused():
    data = gguf_bytes.gpt2()
    for end in range(0, len(data), 7):
        with pytest.raises(WeightsFileError):
            read(data[:end])


def test_a_long_vocabulary_takes_no_memory_until_it_is_asked_for():
    data = gguf(FIELDS | {"tokens": ["a token of a few letters"] * 50_000})
    tracemalloc.start()
    try:
        container = read(data)
        assert tracemalloc.get_traced_memory()[1] < 200_000
    finally:
        tracemalloc.stop()
    assert len(container.fields.texts("tokens")) == 50_000


@pytest.mark.parametrize(
    ("ask", "words"),
    [
        (lambda fields: fields.text("none"), "none is missing"),
        (lambda fields: fields.text("a.number"), "a.number is 7, expected a text"),
        (lambda fields: fields.count("a.text"), "a.text is 'é', expected an int"),
        (lambda fields: fields.count("a.list"), "a.list is an array, expected an int"),
        (lambda fields: fields.flag("a.number"), "expected a bool"),
        (lambda fields: fields.number("a.flag"), "expected a number"),
        (lambda fields: fields.numbers("b.texts"), "is not an array of numbers"),
        (lambda fields: fields.texts("a.list"), "is not an array of texts"),
        (lambda fields: fields.texts("none"), "none is missing"),
        (lambda fields: fields.texts("b.bytes"), "b.bytes is not UTF-8"),
    ],
)
def test_a_field_of_another_type_is_refused(ask, words):
    broken = struct.pack("<IIQQ", 9, 8, 1, 1) + b"\xff"
    fields = read(gguf(FIELDS | {"a.flag": True, "b.bytes": broken})).fields
    with pytest.raises(PresetConfigError, match=words):
        ask(fields)


def test_an_array_of_one_value_is_a_count():
    fields = read(gguf({"same": [4, 4, 4], "differ": [4, 2]})).fields
    assert fields.count("same") == 4
    with pytest.raises(PresetConfigError, match="the same for all layers"):
        fields.count("differ")


# === Headers of remote files ===


def test_the_end_of_a_header_is_found_from_its_first_bytes():
    data = gguf_bytes.gpt2()
    end = read(data).fields.end
    assert header_end(data[:8]) > 8
    assert header_end(data) == end
    assert header_end(data[:end]) == end
    assert header_end(b"not this") == len(b"not this")


def test_a_header_that_never_ends_is_read_up_to_a_limit():
    endless = gguf(GPT2, counts=(0, 10_000))
    assert header_end(endless[:8]) < header_end(endless + bytes(2**18)) <= MOST_HEADER_BYTES


def test_small_tensors_of_the_config_are_read_with_the_header():
    data = gguf(GPT2, [tensor("rope_freqs.weight", (4,)), tensor("x", (8,), 0, 32)], bytes(64))
    one = read(data).tensors["rope_freqs.weight"]
    assert header_end(data) == one.start + one.size
