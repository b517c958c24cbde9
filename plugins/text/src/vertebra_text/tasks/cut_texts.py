"""Counts texts that are cut because the model takes no more tokens, and says so in a warning."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from contextvars import ContextVar

log = logging.getLogger("vertebra")
_collecting: ContextVar[CutTexts | None] = ContextVar("vertebra_text_cut_texts", default=None)


class CutTexts:
    """The count of one call, or of a stream of calls."""

    def __init__(self) -> None:
        self.cut, self.texts, self._most, self._told = 0, 0, None, 0

    _most: int | None

    @property
    def is_told(self) -> bool:
        """Whether a warning has said that texts were cut."""
        return self._told > 0

    def add(self, cut: int, texts: int, most: int | None) -> None:
        """Adds some texts, and how many of them were cut to `most` tokens."""
        self.cut, self.texts, self._most = self.cut + cut, self.texts + texts, most

    def tell(self) -> None:
        """Warns of the count, if there are more than were told before."""
        if self.cut > self._told:
            log.warning("%d of %d texts are longer than %s tokens, and were cut", self.cut, self.texts, self._most)
            self._told = self.cut


@contextlib.contextmanager
def collecting(cut_texts: CutTexts) -> Iterator[None]:
    """Adds the counts of the calls in the block, which then do not warn themselves."""
    token = _collecting.set(cut_texts)
    try:
        yield
    finally:
        _collecting.reset(token)


def count(cut: int, texts: int, most: int | None) -> None:
    """Adds the count of one call to that of the block around it; without a block, warns."""
    outer = _collecting.get()
    cut_texts = CutTexts() if outer is None else outer
    cut_texts.add(cut, texts, most)
    if outer is None:
        cut_texts.tell()
