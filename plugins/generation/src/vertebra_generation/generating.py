"""`TextGeneration`: the methods of `CausalLM` that generate text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from vertebra.errors import ArgumentError
from vertebra_generation.answers import Answer, Piece
from vertebra_generation.decoding.generator import Generator, Request
from vertebra_generation.decoding.prefix import Prefix
from vertebra_generation.prompts import ARRAYS, CHATS, IDS, Prompts, prompts_of
from vertebra_generation.sampling.options import GenerationOptions
from vertebra_text import TextError

_AUTO = "auto"


@dataclass(frozen=True, slots=True)
class CachedPrompt:
    """What many prompts begin with, computed once; `CausalLM.cache_prompt` makes it, and `generate` takes it."""

    ids: list[int]
    """Its token ids."""
    prefix: Prefix | None
    """Its keys and values; None if the architecture has no cache, and computes it again each time."""
    adapter: str | None
    """The LoRA adapter that it was computed with, or None for the active ones."""


class TextGeneration:
    """Generates text with a task that has `logits_of`."""

    tokenizer: Any
    backbone: Any
    lora_rows: Any
    generation_options: GenerationOptions
    start_token_id: int | None
    _generator: Generator | None

    def generate(
        self,
        inputs: Any,
        max_length: int | None = None,
        stop_token_ids: Any = _AUTO,
        strip_prompt: bool = False,
        *,
        details: bool = False,
        adapters: Any = None,
        cached_prompt: CachedPrompt | None = None,
        batch_size: int = 32,
        numbers: Sequence[int] | None = None,
        **options: Any,
    ) -> Any:
        """Returns answers to prompts.

        Args:
            inputs: A text, a chat (a list of messages: dicts with `role` and `content`) or a list of token ids; a list
                of these; or a dict of `token_ids` and `padding_mask`, of shape (prompts, length), with padding on
                either side.
            max_length: The most tokens of a prompt and its answer together; `max_new_tokens` overrides it.
            stop_token_ids: Ids of the tokens that end an answer; `"auto"` means those of `generation_options`, and None
                means none.
            strip_prompt: Whether the texts, or token ids, are returned without the prompt. Answers to chats always are.
            details: Whether each answer is returned as an `Answer`.
            adapters: The name of a LoRA adapter, or a list with one for each prompt, or None for the active ones.
            cached_prompt: What each prompt begins with, as `cache_prompt` returned it; `inputs` are what follows.
            batch_size: The most prompts that are computed at once.
            numbers: The number of each prompt, from 0, or None for its index. With a seed, draws depend on it and on no
                other prompt, so that a list in parts gets the answers of the whole.
            **options: The fields of `GenerationOptions`, such as `max_new_tokens`, `do_sample` and `temperature`.

        Returns:
            For each prompt its answer as a text; as token ids for token ids; a dict of arrays for a dict. With `n`
            above 1, a list of answers for each prompt. For one prompt that is in no list, its answer alone.

        Raises:
            ArgumentError: an option is unknown, out of range or contradicts another one.
            TextError: an item is no prompt, or leaves no position for an answer.
        """
        if isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size < 1:
            raise ArgumentError("generate", "batch_size", batch_size, "an int of at least 1")
        prompts, request = self._request(inputs, max_length, stop_token_ids, adapters, cached_prompt, options)
        if numbers is not None:
            request = replace(request, numbers=_checked_numbers(numbers, len(prompts.ids)))
        answers = self._own_generator().answers(request, batch_size) if prompts.ids else []
        before = [] if cached_prompt is None else cached_prompt.ids
        texts = _Texts(prompts, before, self.tokenizer, strip_prompt or prompts.kind == CHATS)
        found = [[one if details else texts.shown(index, one) for one in row] for index, row in enumerate(answers)]
        if prompts.kind == ARRAYS and not details:
            return _as_arrays([ids for row in found for ids in row], prompts.is_single and request.options.n == 1)
        listed = [row[0] if request.options.n == 1 else row for row in found]
        return listed[0] if prompts.is_single else listed

    def generate_stream(
        self,
        inputs: Any,
        max_length: int | None = None,
        stop_token_ids: Any = _AUTO,
        *,
        adapters: Any = None,
        cached_prompt: CachedPrompt | None = None,
        **options: Any,
    ) -> Iterator[Piece]:
        """Returns an iterator over the pieces of the answers, as `Piece`, each as soon as it is known.

        The pieces of an answer are together its text, without the prompt. The iterator may be dropped at any time.
        Beam search knows its answer at the end, and is an error.

        Args:
            inputs: As in `generate`; several prompts are one batch, whose pieces say their prompt.
            max_length: As in `generate`.
            stop_token_ids: As in `generate`.
            adapters: As in `generate`.
            cached_prompt: As in `generate`.
            **options: As in `generate`.

        Raises:
            ArgumentError: as in `generate`, at once; or `num_beams` is above 1.
            TextError: an item is no prompt.
        """
        prompts, request = self._request(inputs, max_length, stop_token_ids, adapters, cached_prompt, options)
        if request.options.num_beams > 1:
            raise ArgumentError(
                "generate_stream", "num_beams", request.options.num_beams, "1: beams are known at the end"
            )
        return self._own_generator().pieces(request) if prompts.ids else iter(())

    def cache_prompt(self, prompt: Any, *, adapter: str | None = None) -> CachedPrompt:
        """Computes what many prompts begin with, such as instructions, once.

        Its tokens and those of what follows are tokenized apart. It is right for the weights, and the active adapters,
        that the model has now.

        Args:
            prompt: A text, a chat or a list of token ids.
            adapter: The name of a LoRA adapter, or None for the active ones.
        """
        prompts = self._prompts(prompt)
        if not prompts.is_single:
            raise ArgumentError("cache_prompt", "prompt", prompt, "one prompt")
        ids = prompts.ids[0]
        self._check_ids([ids])
        self._check_length([ids])
        return CachedPrompt(ids, self._own_generator().prefix(ids, adapter), adapter)

    def prompt_ids(self, prompt: Any) -> list[int]:
        """Returns the token ids of a prompt, as `generate` computes it.

        Args:
            prompt: A text, a chat or a list of token ids.

        Raises:
            TextError: it is none of these, has no token, or more than the backbone has positions.
        """
        found = self._prompts([prompt]).ids
        self._check_ids(found)
        self._check_length(found)
        return found[0]

    def answers(self, texts: Any, **options: Any) -> Any:
        """Returns what `generate` returns for a list of prompts, without the prompts; for `stream`."""
        return self.generate(texts, strip_prompt=True, **options)

    # === One call ===

    def _own_generator(self) -> Generator:
        if self._generator is None:
            self.__dict__["_generator"] = Generator(self)
        generator: Any = self._generator
        return generator

    def _request(
        self,
        inputs: Any,
        max_length: Any,
        stop: Any,
        adapters: Any,
        cached: CachedPrompt | None,
        options: dict[str, Any],
    ) -> tuple[Prompts, Request]:
        chosen = self._options(max_length, stop, options)
        prompts = self._prompts(inputs, is_continued=cached is not None)
        if cached is not None:
            if adapters is not None:
                raise ArgumentError("generate", "adapters", adapters, "None with cached_prompt, which has its adapter")
            adapters = cached.adapter
        if isinstance(adapters, list | tuple) and len(adapters) != len(prompts.ids):
            expected = f"one for each of {len(prompts.ids)} prompts"
            raise ArgumentError("generate", "adapters", f"{len(adapters)} names", expected)
        before = [] if cached is None else cached.ids
        self._check_ids(prompts.ids)
        self._check_length([before + ids for ids in prompts.ids])
        for ids in prompts.ids:
            chosen.most_new_tokens(len(before) + len(ids))  # an error is raised before anything is computed
        if chosen.stop_strings and self.tokenizer is None:
            raise ArgumentError("generate", "stop_strings", chosen.stop_strings, "none, as the task has no tokenizer")
        if cached is not None and cached.prefix is None:
            return prompts, Request([before + ids for ids in prompts.ids], chosen, adapters)
        return prompts, Request(prompts.ids, chosen, adapters, None if cached is None else cached.prefix)

    def _options(self, max_length: Any, stop: Any, options: dict[str, Any]) -> GenerationOptions:
        given = dict(options) if max_length is None else {"max_length": max_length, **options}
        defaults = self.generation_options
        if max_length is not None and "max_new_tokens" not in options:
            defaults = replace(defaults, max_new_tokens=None)
        if not isinstance(stop, str) or stop != _AUTO:
            given["stop_tokens"] = () if stop is None else stop
        return GenerationOptions.of(given, defaults)

    def _prompts(self, inputs: Any, *, is_continued: bool = False) -> Prompts:
        tokenizer = self.tokenizer
        start = None if is_continued else self.start_token_id
        return prompts_of(inputs, tokenizer, self.render_chat, start)

    def _check_ids(self, prompts: Sequence[Sequence[int]]) -> None:
        size = self.backbone.token_embedding.input_dim
        for number, ids in enumerate(prompts):
            wrong = next((token for token in ids if not 0 <= token < size), None)
            if wrong is not None:
                expected = f"token ids from 0 to {size - 1:,}, the vocabulary of {type(self.backbone).__name__}"
                raise TextError("generate", f"inputs[{number}]", wrong, expected)

    def _check_length(self, prompts: Sequence[Sequence[int]]) -> None:
        limit = getattr(self.backbone, "max_sequence_length", None)
        for number, ids in enumerate(prompts):
            if limit is not None and len(ids) > limit:
                expected = f"at most {limit:,} tokens, the positions of {type(self.backbone).__name__}"
                raise TextError("generate", f"inputs[{number}]", f"{len(ids):,} tokens", expected)

    def render_chat(self, messages: Sequence[Mapping[str, Any]]) -> str:
        """Returns the prompt for a chat: its text, after which the assistant's answer follows."""
        raise ArgumentError("generate", "inputs", messages, "a tokenizer with a chat template")


@dataclass(frozen=True, slots=True)
class _Texts:
    """Shows answers as the prompts were given."""

    prompts: Prompts
    before: list[int]
    tokenizer: Any
    strips: bool

    def shown(self, index: int, answer: Answer) -> Any:
        prompt = [] if self.strips else self.before + self.prompts.ids[index]
        if self.prompts.kind in (IDS, ARRAYS):
            return prompt + answer.token_ids
        if not prompt:
            return answer.text
        return self.tokenizer.detokenize(prompt, skip_special_tokens=True) + (answer.text or "")


def _checked_numbers(numbers: Any, count: int) -> list[int]:
    found = list(numbers) if isinstance(numbers, Sequence | np.ndarray) else []
    if len(found) != count or not all(isinstance(one, int | np.integer) and one >= 0 for one in found):
        raise ArgumentError("generate", "numbers", numbers, f"an int from 0 for each of {count} prompts")
    return [int(one) for one in found]


def _as_arrays(rows: list[list[int]], is_single: bool) -> dict[str, Any]:
    """Returns token ids as KerasHub: arrays with padding at the end."""
    shape = (len(rows), max(map(len, rows), default=0))
    ids, mask = np.zeros(shape, "int32"), np.zeros(shape, "int32")
    for row, found in enumerate(rows):
        ids[row, : len(found)], mask[row, : len(found)] = found, 1
    arrays = {"token_ids": ids, "padding_mask": mask}
    return {name: array[0] for name, array in arrays.items()} if is_single else arrays
