"""`TextTraining`: the methods of `CausalLM` that train it on texts, completions and chats."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import keras

import vertebra
from vertebra import layers
from vertebra_generation.sampling.samplers import options_of
from vertebra_generation.training.batches import packed_or_not, packed_rows, with_next_tokens
from vertebra_generation.training.encoding import Encoded, arrays, cut, encoded
from vertebra_generation.training.examples import Example, example_of, require_text, rows_of_table
from vertebra_generation.training.metrics import Perplexity

log = logging.getLogger("vertebra")


class TextTraining:
    """Trains a task whose outputs are the logits of the next tokens."""

    preprocessor: Any
    tokenizer: Any
    input: Any
    require_tokenizer: Any
    chat_templates: Any
    generation_options: Any
    _packs: bool
    _has_told: bool

    # === Texts ===

    @property
    def longest(self) -> int | None:
        """The most tokens that the model takes in a row, or None for no limit."""
        length: int | None = getattr(self.preprocessor, "sequence_length", None)
        return length

    @property
    def pad_id(self) -> int:
        """The id of padding; the padding mask says which tokens count."""
        return getattr(self.tokenizer, "pad_token_id", None) or 0

    def examples(self, items: Sequence[Any]) -> list[Example]:
        """Returns items as `fit` takes them with the parts that count.

        Raises:
            TextError: an item is none.
        """
        return [example_of(item, self._rendered, f"texts[{number}]") for number, item in enumerate(items)]

    def _rendered(self, messages: Sequence[Any], fields: Mapping[str, Any]) -> Example:
        """Returns the text of a chat, in which the assistant's messages count; `fields` are its variables."""
        found = self.chat_templates.render_with_spans(messages, **fields)
        return Example(found.text, tuple(found.spans), is_rendered=True)

    def columns(self, x: Any, y: Any) -> Any:
        names = getattr(x, "column_names", None) or (list(x) if isinstance(x, Mapping) else ())
        rows = rows_of_table(x, names)
        return super().columns(x, y) if rows is None else (rows, y)

    # === Training ===

    def fit(
        self,
        x: Any = None,
        y: Any = None,
        *,
        batch_size: int = 32,
        shuffle: bool = True,
        packing: bool = False,
        **kwargs: Any,
    ) -> Any:
        """Trains the model to predict the next tokens: of texts, of completions after prompts, or of answers in chats.

        Only tokens of completions count in the loss, and those of the assistant's messages; of a text without a prompt,
        all count. The tokenizer's end token follows each completion and text. Rows are padded at the end, whatever the
        side of the tokenizer, and cut there if they are too long; a warning says so.

        Args:
            x: Texts; or prompts, with their completions in `y`; or a list of pairs, or of dicts: `{"prompt",
                "completion"}`, `{"text"}`, or `{"messages"}`; or a table with columns of these names; or batches of
                these, as in `Task.fit`; or a dict with `token_ids` and `padding_mask`.
            y: The completion of each prompt. With `token_ids`, the labels, or None for the next tokens.
            batch_size: The number of rows in a batch.
            shuffle: Whether rows are in another order in each epoch.
            packing: Whether several texts share a row of the longest length that the model takes. A token attends to
                its own text only, so the loss of each token is the same as without packing.
            **kwargs: As in `Task.fit`.

        Raises:
            ArgumentError: prompts and completions differ in number; or the architecture, or the data, cannot be packed.
            TextError: an item is none of these.
        """
        x, y, kwargs = with_next_tokens(x, y, kwargs)
        if packing:
            x, y, kwargs = packed_rows(self, x, y, kwargs)
        self.__dict__["_has_told"] = False
        with self._packing(packing):
            return super().fit(x, y, batch_size=batch_size, shuffle=shuffle, **kwargs)

    def evaluate(self, x: Any = None, y: Any = None, **kwargs: Any) -> Any:
        """Computes loss and perplexity as `keras.Model.evaluate`, of texts or completions as in `fit`."""
        x, y, kwargs = with_next_tokens(x, y, kwargs)
        self.__dict__["_has_told"] = False
        return super().evaluate(x, y, **kwargs)

    @contextlib.contextmanager
    def _packing(self, packs: bool) -> Iterator[None]:
        """Keeps the texts of rows apart within the block; Keras compiles its steps again."""
        if not packs:
            yield
            return
        self.__dict__["_packs"], self.train_function, self.test_function = True, None, None
        try:
            yield
        finally:
            self.__dict__["_packs"], self.train_function, self.test_function = False, None, None

    def call(self, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        with layers.packed(inputs["padding_mask"] if self._packs else None):
            return super().call(inputs, *args, **kwargs)

    def check_labels(self, y: Any) -> Any:
        """Returns completions as a list of texts; raises TextError if one is none."""
        completions = [y] if isinstance(y, str) else list(y)
        require_text(completions, "y")
        return completions

    def prepare(self, texts: Any, labels: Any = None, sample_weight: Any = None) -> Any:
        """Returns one batch: inputs, the next token for each, and how much it counts.

        Args:
            texts: Items as in `fit`, or rows of packed texts.
            labels: The completion of each, if they are prompts.
            sample_weight: A weight for each item.
        """
        self.require_tokenizer()
        rows = packed_or_not(self, texts, labels, sample_weight)
        multiple = 16 if vertebra.use().compiles_each_shape else 1
        made = arrays(rows, pad_id=self.pad_id, multiple=multiple, most=self.longest)
        inputs = {name: made.get(name, 0 * made["token_ids"]) for name in self.input}
        return inputs, made["labels"], made["weights"]

    def encode_examples(self, items: Sequence[Any]) -> list[Encoded]:
        """Returns the token ids of items, cut to the length that the model takes; a warning says how many were cut."""
        most = None if self.longest is None else self.longest + 1  # as the last token is no input
        refuse = self.preprocessor.truncation == "error"
        rows, count = cut(encoded(self.tokenizer, self.examples(items), ends=True), most, refuse=refuse)
        if count and not self._has_told:
            self.__dict__["_has_told"] = True
            log.warning("Texts of more than %s tokens are cut: %d of the first %d", most, count, len(rows))
        return rows

    def default_loss(self) -> Any:
        # The mean of the tokens that count, and not of all, as padding and prompts have the weight 0.
        return keras.losses.SparseCategoricalCrossentropy(from_logits=True, reduction="mean_with_sample_weight")

    def compile(
        self,
        optimizer: Any = "auto",
        loss: Any = "auto",
        *,
        weighted_metrics: Any = "auto",
        sampler: Any = None,
        **kwargs: Any,
    ) -> None:
        """Configures training as `Task.compile`, and the method of `generate`.

        Args:
            optimizer: As in `Task.compile`.
            loss: As in `Task.compile`.
            weighted_metrics: As in `keras.Model.compile`; `"auto"` is `Perplexity`.
            sampler: A `GenerationOptions`, which `generation_options` becomes; or the name of one of KerasHub's
                samplers, `"greedy"`, `"random"`, `"top_k"`, `"top_p"`, `"beam"` or `"contrastive"`, with its defaults,
                which replaces the method in `generation_options`; or None, which changes nothing.
            **kwargs: As in `keras.Model.compile`.

        Raises:
            ArgumentError: the sampler is unknown.
        """
        if sampler is not None:
            self.generation_options = options_of(sampler, self.generation_options)
        is_auto = isinstance(weighted_metrics, str) and weighted_metrics == "auto"
        metrics = [Perplexity()] if is_auto else weighted_metrics
        super().compile(optimizer, loss, weighted_metrics=metrics, **kwargs)
