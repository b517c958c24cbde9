"""Assembles a batch: special tokens, texts and padding at their positions, as arrays."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vertebra_text.tokenizers.encoding.flat import Array, FlatTokens
from vertebra_text.tokenizers.encoding.template import Template


@dataclass(frozen=True, slots=True)
class Layout:
    """The size of a batch, and how it is padded."""

    fixed: int | None = None
    """The number of tokens of each row, or None for that of the longest row."""
    multiple: int | None = None
    """The number of tokens of each row is a multiple of this one."""
    side: str = "right"
    """The side at which rows are padded."""
    pad_id: int = 0
    pad_segment: int = 0

    def width(self, longest: int) -> int:
        """Returns the number of columns."""
        width = longest if self.fixed is None else self.fixed
        return width if self.multiple is None else -(-width // self.multiple) * self.multiple


class Assembly:
    """The positions of all parts of a batch; each array is filled by one assignment for each part.

    Args:
        template: The special tokens.
        texts: The first texts, and for pairs the second ones.
        layout: Size and padding.
    """

    def __init__(self, template: Template, texts: list[FlatTokens], layout: Layout) -> None:
        self._template, self._texts, self._layout = template, texts, layout
        lengths = sum((text.lengths for text in texts), np.zeros(len(texts[0].lengths), "int64"))
        totals = lengths + template.num_special_tokens
        self._shape = (len(totals), layout.width(int(totals.max())))
        self._columns = np.arange(self._shape[1])
        begins = self._shape[1] - totals if layout.side == "left" else np.zeros_like(totals)
        self._is_token = self._between(begins, begins + totals)
        self._starts = self._slot_starts(begins)

    def _slot_starts(self, begins: Array) -> list[Array]:
        """Returns the column at which each slot begins, for each row: arrays of shape (batch,)."""
        starts = [begins]
        for slot, text in zip(self._template.slots, self._texts, strict=False):
            starts.append(starts[-1] + len(slot.ids) + text.lengths)
        return starts

    def _between(self, begins: Array, ends: Array) -> Array:
        """Returns a mask of the columns from `begins` to `ends`: bool, shape (batch, width)."""
        return (self._columns >= begins[:, None]) & (self._columns < ends[:, None])

    def _text_masks(self) -> list[Array]:
        masks = []
        for slot, start, text in zip(self._template.slots, self._starts, self._texts, strict=False):
            begins = start + len(slot.ids)
            masks.append(self._between(begins, begins + text.lengths))
        return masks

    def token_ids(self) -> Array:
        """Returns the token ids: int32, shape (batch, width)."""
        array = np.full(self._shape, self._layout.pad_id, "int32")
        for text, mask in zip(self._texts, self._text_masks(), strict=True):
            array[mask] = text.ids
        return self._with_slots(array, [slot.ids for slot in self._template.slots])

    def padding_mask(self) -> Array:
        """Returns 1 for each token and 0 for padding: int32, shape (batch, width)."""
        return self._is_token.astype("int32")

    def segment_ids(self) -> Array:
        """Returns the segment of each token: int32, shape (batch, width)."""
        array = np.full(self._shape, self._layout.pad_segment, "int32")
        for segment, mask in zip(self._template.segments, self._text_masks(), strict=True):
            if segment != self._layout.pad_segment:
                array[mask] = segment
        return self._with_slots(array, [slot.segments for slot in self._template.slots])

    def special_tokens_mask(self) -> Array:
        """Returns 0 for tokens of texts, and 1 for special tokens and padding: int32, shape (batch, width)."""
        array = np.ones(self._shape, "int32")
        for mask in self._text_masks():
            array[mask] = 0
        return array

    def offsets(self) -> Array:
        """Returns begin and end of each token in its text, 0 for others: int32, shape (batch, width, 2)."""
        array = np.zeros((*self._shape, 2), "int32")
        for text, mask in zip(self._texts, self._text_masks(), strict=True):
            array[mask] = text.offsets
        return array

    def words(self) -> Array:
        """Returns the word of each token in its text, -1 for none: int32, shape (batch, width)."""
        array = np.full(self._shape, -1, "int32")
        for text, mask in zip(self._texts, self._text_masks(), strict=True):
            array[mask] = text.words
        return array

    def _with_slots(self, array: Array, values: list[tuple[int, ...]]) -> Array:
        """Writes the values of all special tokens into an array."""
        rows = np.arange(self._shape[0])
        for index, row_values in enumerate(values):
            for number, value in enumerate(row_values):
                array[rows, self._starts[index] + number] = value
        return array
