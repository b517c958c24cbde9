"""The types of tensors: how many bytes hold how many values.

Source: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md, and the table in the `gguf` package, with which the
tests compare this one. It is repeated because a header is read without importing the package, and NumPy with it.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Encoding:
    """A type of tensors."""

    name: str
    block: int
    """Values of a block; a row has whole blocks."""
    size: int
    """Bytes of a block."""
    dtype: str = "float32"
    """Keras name of the dtype of the decoded values."""

    @property
    def is_plain(self) -> bool:
        """Whether the bytes are the values."""
        return self.block == 1


ENCODINGS = {
    0: Encoding("F32", 1, 4),
    1: Encoding("F16", 1, 2, "float16"),
    2: Encoding("Q4_0", 32, 18),
    3: Encoding("Q4_1", 32, 20),
    6: Encoding("Q5_0", 32, 22),
    7: Encoding("Q5_1", 32, 24),
    8: Encoding("Q8_0", 32, 34),
    10: Encoding("Q2_K", 256, 84),
    11: Encoding("Q3_K", 256, 110),
    12: Encoding("Q4_K", 256, 144),
    13: Encoding("Q5_K", 256, 176),
    14: Encoding("Q6_K", 256, 210),
    30: Encoding("BF16", 1, 2, "bfloat16"),
}
"""The types that are read, by their numbers in a file."""
BY_NAME = {encoding.name: encoding for encoding in ENCODINGS.values()}
