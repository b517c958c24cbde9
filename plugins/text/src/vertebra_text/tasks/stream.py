"""`TaskStream`: the answers of a task for texts that arrive one after the other, in bounded memory."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from vertebra.errors import ArgumentError, LoraConfigError, LoraStateError
from vertebra_text.errors import ItemError, TextError
from vertebra_text.tasks.cut_texts import CutTexts, collecting
from vertebra_text.tasks.inference import listed

_ON_ERROR = ("raise", "skip")
_OF_ITEMS = {False: (TextError,), True: (TextError, LoraConfigError, LoraStateError)}
"""The errors that are of single items, by whether each item has an adapter of its own."""


class TaskStream:
    """The method `stream` of `Task`."""

    def answers(self, texts: Any, **options: Any) -> Sequence[Any]:
        """Returns the task's answer for each text, as `stream` yields them: here the outputs of `predict`.

        Args:
            texts: A list of texts or of pairs.
            **options: `adapters` and `batch_size`, as in `predict`, and options of the task's own method.
        """
        outputs: Sequence[Any] = self.predict(texts, **options)  # type: ignore[attr-defined]
        return outputs

    def stream(
        self,
        texts: Iterable[Any],
        *,
        adapters: Any = None,
        batch_size: int = 32,
        window: int = 2048,
        on_error: str = "raise",
        **options: Any,
    ) -> Iterator[Any]:
        """Returns an iterator over the answers for texts, in their order, such as for more texts than fit in memory.

        Reads a window of texts, sorts it by length, and yields its answers before it reads on, so `texts` need not end.

        Args:
            texts: An iterable of texts or of pairs. An item may be an exception, for a text that could not be read.
            adapters: The name of a LoRA adapter, an iterable with one for each text, or None for the active ones.
            batch_size: The number of texts in a batch.
            window: The number of texts that are read before the first of them is answered.
            on_error: What happens at a text that cannot be answered: `"raise"`, or `"skip"`, which yields an
                `ItemError` instead of its answer.
            **options: Options of the task's own method, such as `top_k` of `TextClassifier.classify`.

        Raises:
            ArgumentError: an argument is out of range.
            ItemError: a text cannot be answered, such as one that is no string, and `on_error` is `"raise"`. It is
                raised by the iterator, after the answers for the texts before that one.
        """
        if isinstance(texts, str | bytes | Mapping) or not isinstance(texts, Iterable):
            raise ArgumentError("stream", "texts", type(texts).__name__, "an iterable of texts or of pairs")
        if on_error not in _ON_ERROR:
            raise ArgumentError("stream", "on_error", on_error, " or ".join(map(repr, _ON_ERROR)))
        for name, count in (("batch_size", batch_size), ("window", window)):
            if isinstance(count, bool) or not isinstance(count, int) or count < 1:
                raise ArgumentError("stream", name, count, "an int of at least 1")
        options["batch_size"] = batch_size
        items = listed(texts) if isinstance(texts, tuple) else texts
        return _Stream(self, on_error == "raise", options).run(items, adapters, window)


class _Stream:
    """One run over texts.

    Args:
        task: The task.
        raises: Whether a text that cannot be answered ends the run.
        options: Options of `answers`.
    """

    def __init__(self, task: Any, raises: bool, options: Mapping[str, Any]) -> None:
        self._task, self._raises, self._options = task, raises, options
        self._cut_texts = CutTexts()
        self._is_paired: bool | None = None

    def run(self, texts: Iterable[Any], adapters: Any, window: int) -> Iterator[Any]:
        """Yields the answers, a window after the other."""
        remaining, index = iter(texts), 0
        names = None if adapters is None or isinstance(adapters, str | Mapping) else iter(adapters)
        try:
            failure = None
            while failure is None:
                items, failure = _read(remaining, window)
                if not items:
                    break
                chosen = adapters if names is None else _next_names(names, index, len(items))
                with collecting(self._cut_texts):
                    answers = self._answers([self._checked(item) for item in items], chosen, index)
                if not self._cut_texts.is_told:
                    self._cut_texts.tell()
                for answer in answers:
                    if self._raises and isinstance(answer, ItemError):
                        raise answer
                    yield answer
                index += len(items)
            if failure is not None:
                raise failure
        finally:
            self._cut_texts.tell()

    def _checked(self, item: Any) -> Any:
        """Returns an item, or an exception in place of one that is a text among pairs, or a pair among texts."""
        is_pair = isinstance(item, list | tuple)
        if not is_pair and not isinstance(item, str):
            return item
        if self._is_paired is None:
            self._is_paired = is_pair
        if is_pair == self._is_paired:
            return item
        kinds = ("a text", "a pair of texts")
        return ValueError(f"it is {kinds[is_pair]}, and the first is {kinds[self._is_paired]}")

    def _answers(self, items: Sequence[Any], adapters: Any, index: int) -> list[Any]:
        """Returns the answer for each item, or an `ItemError`; after the first error only if errors are passed over.

        If a text cannot be answered, the items are halved, until it is found.

        Args:
            items: Texts, pairs, or exceptions.
            adapters: As in `predict`.
            index: The position of the first item in the stream.
        """
        by_item = isinstance(adapters, list)
        good = [number for number, item in enumerate(items) if not isinstance(item, Exception)]
        names = [adapters[number] for number in good] if by_item else adapters
        try:
            found = iter(
                self._task.answers([items[number] for number in good], adapters=names, **self._options) if good else ()
            )
        except _OF_ITEMS[by_item] as error:
            return self._halves(items, adapters, index) if len(items) > 1 else [ItemError(index, _problem(error))]
        return [
            ItemError(index + number, str(item)) if isinstance(item, Exception) else next(found)
            for number, item in enumerate(items)
        ]

    def _halves(self, items: Sequence[Any], adapters: Any, index: int) -> list[Any]:
        half = len(items) // 2
        first, second = (adapters[:half], adapters[half:]) if isinstance(adapters, list) else (adapters, adapters)
        answers = self._answers(items[:half], first, index)
        if self._raises and any(isinstance(answer, ItemError) for answer in answers):
            return answers
        return answers + self._answers(items[half:], second, index + half)


def _read(texts: Iterator[Any], count: int) -> tuple[list[Any], Exception | None]:
    """Returns the next items, and the error that ends them early."""
    items: list[Any] = []
    try:
        items.extend(itertools.islice(texts, count))  # keeps those before an error
    except Exception as error:
        return items, error
    return items, None


def _next_names(names: Iterator[Any], index: int, count: int) -> list[Any]:
    """Returns the adapters for the next items."""
    found = list(itertools.islice(names, count))
    if len(found) < count:
        raise ArgumentError("stream", "adapters", f"{index + len(found):,} names", "one for each text")
    return found


def _problem(error: Exception) -> str:
    return f"{error.value!r}, expected {error.expected}" if isinstance(error, TextError) else str(error)
