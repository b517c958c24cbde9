"""Values are those of the published layouts of blocks, and in transformers' order."""

import numpy as np
import pytest

from vertebra import FileTensor
from vertebra_gguf.reading.layouts import Layout

gguf = pytest.importorskip("gguf")

from vertebra_gguf.reading import decoding  # noqa: E402 (it needs the package)
from vertebra_gguf.reading.decoding import decode  # noqa: E402


def half(data):
    return float(np.frombuffer(bytes(data), "<f2")[0])


def q8_0(block):
    """A scale, and 32 numbers of 8 bits."""
    return [half(block[:2]) * np.int8(byte) for byte in np.frombuffer(bytes(block[2:]), "int8").astype(int)]


def q4_0(block):
    """A scale, and 16 bytes: the lower halves are the first 16 numbers, less 8."""
    values = [byte & 15 for byte in block[2:]] + [byte >> 4 for byte in block[2:]]
    return [half(block[:2]) * (value - 8) for value in values]


def q4_k(block):
    """Two scales, 12 bytes of scales and minima of 6 bits for 8 groups, and 128 bytes of 4 bits."""
    scale, minimum, packed, numbers = half(block[:2]), half(block[2:4]), block[4:16], block[16:]
    values = []
    for group in range(8):
        if group < 4:
            factor, offset = packed[group] & 63, packed[group + 4] & 63
        else:
            factor = (packed[group + 4] & 15) | (packed[group - 4] >> 6 << 4)
            offset = (packed[group + 4] >> 4) | (packed[group] >> 6 << 4)
        shift = 4 * (group % 2)
        part = numbers[32 * (group // 2) : 32 * (group // 2) + 32]
        values += [scale * factor * (byte >> shift & 15) - minimum * offset for byte in part]
    return values


def q6_k(block):
    """128 bytes of the lower 4 bits, 64 of the upper 2, 16 scales of 8 bits, and a scale."""
    low, high = block[:128], block[128:192]
    scales, scale = np.frombuffer(bytes(block[192:208]), "int8").astype(int), half(block[208:])
    values = []
    for number in range(256):
        part, rest = divmod(number, 128)
        quarter, column = divmod(rest, 32)
        lower = low[64 * part + 32 * (quarter % 2) + column] >> (4 if quarter >= 2 else 0) & 15
        upper = high[32 * part + column] >> (2 * quarter) & 3
        values.append(scale * scales[number // 16] * ((lower | upper << 4) - 32))
    return values


PUBLISHED = {"Q8_0": q8_0, "Q4_0": q4_0, "Q4_K": q4_k, "Q6_K": q6_k}
SCALES = {"Q8_0": (0,), "Q4_0": (0,), "Q4_K": (0, 2), "Q6_K": (208,)}


def blocks(kind, count):
    """Returns random blocks with scales that are no NaN."""
    _, size = gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType[kind]]
    found = np.random.default_rng(7).integers(0, 256, (count, size), "uint8")
    for first in SCALES[kind]:
        found[:, first : first + 2] = np.linspace(-1, 1, count, dtype="float16").view("uint8").reshape(count, 2)
    return found


def described(kind, shape, layout=None, dtype="float32", size=0):
    return FileTensor("x", dtype, shape, 0, size, (kind, layout))


@pytest.mark.parametrize("kind", PUBLISHED)
def test_blocks_are_decoded_by_their_published_layout(kind):
    stored = blocks(kind, 6)
    expected = np.array([PUBLISHED[kind]([int(byte) for byte in block]) for block in stored], "float32")
    values = decode(described(kind, (3, expected.size // 3)), memoryview(stored).cast("B"))
    np.testing.assert_allclose(values.ravel(), expected.ravel(), rtol=1e-6)
    package = gguf.quants.dequantize(stored, gguf.GGMLQuantizationType[kind])
    np.testing.assert_array_equal(values.ravel(), package.ravel())


def test_a_long_tensor_is_decoded_in_parts(monkeypatch):
    stored = blocks("Q4_K", 21)
    whole = decode(described("Q4_K", (21, 256)), memoryview(stored).cast("B"))
    monkeypatch.setattr(decoding, "_AT_ONCE", 4 * 256)
    np.testing.assert_array_equal(decode(described("Q4_K", (21, 256)), memoryview(stored).cast("B")), whole)


def test_scales_that_are_no_numbers_are_decoded_without_a_warning():
    stored = np.full((2, 34), 255, "uint8")  # a scale of NaN
    assert np.isnan(decode(described("Q8_0", (2, 32)), memoryview(stored).cast("B"))).all()


def test_rows_of_heads_are_put_back():
    rows = np.arange(24 * 3, dtype="float32").reshape(24, 3)
    stored = rows.reshape(2, 2, 6, 3).swapaxes(1, 2).reshape(24, 3)  # as llama.cpp's converter does
    tensor = described("F32", (24, 3), Layout(heads=2))
    np.testing.assert_array_equal(decode(tensor, memoryview(stored.tobytes())), rows)
    bias = rows[:, 0]
    stored = bias.reshape(2, 2, 6).swapaxes(1, 2).reshape(24)
    np.testing.assert_array_equal(decode(described("F32", (24,), Layout(heads=2)), memoryview(stored.tobytes())), bias)


def test_a_transposed_tensor_is_put_back():
    kernel = np.arange(6, dtype="float16").reshape(2, 3)
    tensor = described("F16", (2, 3), Layout(transposed=True), "float16")
    found = decode(tensor, memoryview(np.ascontiguousarray(kernel.T).tobytes()))
    assert found.flags.c_contiguous
    np.testing.assert_array_equal(found, kernel)


@pytest.mark.parametrize("kind", ["F32", "F16", "BF16"])
def test_a_number_that_was_added_is_subtracted(kind):
    import ml_dtypes

    dtype = {"F32": "float32", "F16": "float16", "BF16": ml_dtypes.bfloat16}[kind]
    stored = np.array([1, 1.5, 0.5], dtype)
    found = decode(described(kind, (3,), Layout(shift=1.0)), memoryview(stored.view("uint8")).cast("B"))
    np.testing.assert_array_equal(found, np.array([0, 0.5, -0.5], "float32"))
