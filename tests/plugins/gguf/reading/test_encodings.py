"""The table of types is that of the `gguf` package."""

import pytest

from vertebra_gguf.reading.encodings import BY_NAME, ENCODINGS


def test_sizes_are_those_of_the_package():
    gguf = pytest.importorskip("gguf")
    for number, encoding in ENCODINGS.items():
        kind = gguf.GGMLQuantizationType(number)
        assert (kind.name, gguf.GGML_QUANT_SIZES[kind]) == (encoding.name, (encoding.block, encoding.size))
    assert len(BY_NAME) == len(ENCODINGS)
