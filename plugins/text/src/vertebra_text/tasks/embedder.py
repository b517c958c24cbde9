"""`TextEmbedder`: one vector for each text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np

from vertebra.errors import ArgumentError
from vertebra_text.layers.pooling import Pooling, UnitLength, checked_modes
from vertebra_text.layers.projection import Projection
from vertebra_text.preprocessor import POOLING_MASK, TextPreprocessor, with_prompt
from vertebra_text.tasks.inference import listed
from vertebra_text.tasks.task import Task

SIMILARITIES = ("cosine", "dot", "euclidean", "manhattan")


@keras.saving.register_keras_serializable("vertebra_text")
class TextEmbedder(Task):
    """Embeds texts as vectors, for search, clustering and comparison (Reimers & Gurevych 2019, arXiv:1908.10084).

    The output has shape (batch, dimension), in the dtype of the backbone.

    Args:
        backbone: The backbone.
        preprocessor: As in `Task`.
        pooling_mode: How the hidden states of a text become one vector: `cls`, `max`, `mean`, `mean_sqrt_len_tokens`,
            `weightedmean`, `lasttoken`, or a list of them, whose vectors are concatenated.
        normalize: Whether vectors are divided by their Euclidean length.
        dense: Dense layers after pooling: a list of dicts with `units`, `activation` (None, or one of
            `vertebra_text.layers.projection.ACTIVATIONS`), `use_bias` and `use_residual` (whether the inputs of the
            layer are added to its outputs, through a matrix if their widths differ).
        include_prompt: Whether the tokens of a prompt count in pooling, as in Sentence Transformers. If not, the model
            has the further input `pooling_mask`: int32, shape (batch, length), 1 for tokens that count.
        prompts: Texts that are put before a text, by name, such as `{"query": "query: "}`.
        default_prompt_name: The name of the prompt for calls that name none, or None for no prompt.
        truncate_dim: Number of leading values of a vector that are kept, for models that were trained so (Kusupati et
            al. 2022, arXiv:2205.13147), or None for all. As in Sentence Transformers, they are not normalised again.
        similarity_fn_name: `cosine`, `dot`, `euclidean` or `manhattan`; the last two are negative distances.
        **kwargs: `compile` and `name`, as in `Task`.

    Raises:
        ArgumentError: an argument is out of range.
    """

    _dense: list[Projection]

    def __init__(
        self,
        backbone: Any,
        preprocessor: Any = None,
        pooling_mode: str | Sequence[str] = "mean",
        normalize: bool = True,
        *,
        dense: Sequence[Mapping[str, Any]] = (),
        include_prompt: bool = True,
        prompts: Mapping[str, str] | None = None,
        default_prompt_name: str | None = None,
        truncate_dim: int | None = None,
        similarity_fn_name: str = "cosine",
        **kwargs: Any,
    ) -> None:
        modes = checked_modes(pooling_mode)
        dense = _checked_dense(dense)
        prompts = _checked_prompts(prompts, default_prompt_name)
        _check_flags(normalize=normalize, include_prompt=include_prompt)
        if similarity_fn_name not in SIMILARITIES:
            raise ArgumentError("TextEmbedder", "similarity_fn_name", similarity_fn_name, ", ".join(SIMILARITIES))
        inputs = dict(backbone.input)
        if not include_prompt:
            inputs[POOLING_MASK] = keras.Input((None,), dtype="int32", name=POOLING_MASK)
        pooling = Pooling(modes, dtype=backbone.dtype_policy, name="pooling")
        states = _states(backbone(backbone.input))
        x = pooling(states, inputs["padding_mask"], inputs.get(POOLING_MASK))
        x, self.__dict__["_dense"] = _projected(x, dense, backbone.dtype_policy)
        if normalize:
            x = UnitLength(dtype=backbone.dtype_policy, name="normalize")(x)
        if truncate_dim is not None:
            _check_dimension(truncate_dim, x.shape[-1])
            x = x[:, :truncate_dim]
        arguments = {
            "pooling_mode": modes[0] if len(modes) == 1 else list(modes),
            "normalize": normalize,
            "dense": dense,
            "include_prompt": include_prompt,
            "prompts": prompts,
            "default_prompt_name": default_prompt_name,
            "truncate_dim": truncate_dim,
            "similarity_fn_name": similarity_fn_name,
        }
        super().__init__(backbone, x, preprocessor, arguments, inputs=inputs, **kwargs)

    def head_weights(self) -> dict[str, Any]:
        return {name: weight for layer in self._dense for name, weight in layer.weights().items()}

    # === Vectors ===

    def embed(
        self,
        texts: str | Sequence[str],
        *,
        prompt_name: str | None = None,
        prompt: str | None = None,
        adapters: Any = None,
        batch_size: int = 32,
    ) -> Any:
        """Returns the vectors of texts: an array of shape (texts, dimension), or (dimension,) for one text.

        Args:
            texts: A text or a list of texts.
            prompt_name: The name of a prompt of `prompts`; None means `default_prompt_name`.
            prompt: A prompt itself, instead of a name.
            adapters: The name of a LoRA adapter, or a list with one for each text, or None for the active ones.
            batch_size: The number of texts in a batch.

        Raises:
            ArgumentError: a text is not a string, or a prompt is unknown.
        """
        if prompt is None:
            name = prompt_name or self.default_prompt_name
            prompt = _prompt(self.prompts, name) if name else ""
        items = listed(texts)
        if prompt and not self.include_prompt:
            vectors = self._pooled_without(prompt, items, batch_size, adapters)
        else:
            vectors = self.predict(with_prompt(prompt, items), batch_size=batch_size, adapters=adapters)
        return vectors[0] if isinstance(texts, str) else vectors

    def _pooled_without(self, prompt: str, texts: Sequence[Any], batch_size: int, adapters: Any) -> Any:
        """Returns the vectors of texts after a prompt whose tokens do not count in pooling."""
        if not isinstance(self.preprocessor, TextPreprocessor):
            expected = "a TextPreprocessor, since include_prompt is False"
            raise ArgumentError("TextEmbedder", "preprocessor", self.preprocessor, expected)
        return self.inference.outputs(texts, batch_size, adapters, prompt=prompt)

    def answers(self, texts: Any, **options: Any) -> Any:
        """Returns what `embed` returns for a list of texts; for `stream`."""
        return self.embed(texts, **options)

    def encode_text(self, text: Any, **kwargs: Any) -> Any:
        """Returns the vectors of texts, of shape (texts, dimension), as KerasHub's method."""
        return self.embed([text] if isinstance(text, str) else text, **kwargs)

    def encode_query(self, query: Any, **kwargs: Any) -> Any:
        """Returns the vectors of queries, with the prompt `query` if there is one, as in Sentence Transformers."""
        return self.encode_text(query, **self._prompt_for(("query",), kwargs))

    def encode_documents(self, documents: Any, **kwargs: Any) -> Any:
        """Returns the vectors of documents, with the first prompt of `document`, `passage` and `corpus` there is."""
        return self.encode_text(documents, **self._prompt_for(("document", "passage", "corpus"), kwargs))

    encode_document = encode_documents

    def _prompt_for(self, names: Sequence[str], kwargs: dict[str, Any]) -> dict[str, Any]:
        name = next((name for name in names if name in self.prompts), None)
        return kwargs if {"prompt", "prompt_name"} & kwargs.keys() else kwargs | {"prompt_name": name}

    def similarity(self, first: Any, second: Any) -> Any:
        """Returns the similarity of each vector of `first` to each of `second`, of shape (first, second).

        Computed in float32, as `similarity_fn_name` says.
        """
        first, second = (np.atleast_2d(np.asarray(vectors, "float32")) for vectors in (first, second))
        if self.similarity_fn_name == "cosine":
            first, second = (v / np.maximum(np.linalg.norm(v, axis=1, keepdims=True), 1e-12) for v in (first, second))
        if self.similarity_fn_name in ("cosine", "dot"):
            return first @ second.T
        order = 2 if self.similarity_fn_name == "euclidean" else 1
        return -np.stack([np.linalg.norm(second - vector, ord=order, axis=1) for vector in first])


def _states(outputs: Any) -> Any:
    return outputs["sequence_output"] if isinstance(outputs, Mapping) else outputs


def _projected(x: Any, dense: Sequence[Mapping[str, Any]], dtype: Any) -> tuple[Any, list[Projection]]:
    """Returns the outputs of dense layers, one after the other, and the layers."""
    layers = []
    for number, spec in enumerate(dense):
        layers.append(Projection(spec, f"dense_{number}", x.shape[-1], dtype))
        x = layers[-1](x)
    return x, layers


def _checked_dense(dense: object) -> list[dict[str, Any]]:
    if not isinstance(dense, Sequence) or not all(isinstance(spec, Mapping) for spec in dense):
        raise ArgumentError("TextEmbedder", "dense", dense, "a list of dicts")
    return [dict(spec) for spec in dense]


def _checked_prompts(prompts: object, default: object) -> dict[str, str]:
    """Returns the prompts by name, which have the default one."""
    prompts = {} if prompts is None else prompts
    if not isinstance(prompts, Mapping) or not all(isinstance(text, str) for pair in prompts.items() for text in pair):
        raise ArgumentError("TextEmbedder", "prompts", prompts, "a dict with a text for each name")
    if default is not None and (not isinstance(default, str) or default not in prompts):
        expected = f"None, or one of {', '.join(prompts)}" if prompts else "None, since there are no prompts"
        raise ArgumentError("TextEmbedder", "default_prompt_name", default, expected)
    return dict(prompts)


def _check_flags(**flags: object) -> None:
    for name, value in flags.items():
        if not isinstance(value, bool | np.bool_ | int):
            raise ArgumentError("TextEmbedder", name, value, "True or False")


def _check_dimension(truncate_dim: object, dimension: int) -> None:
    if type(truncate_dim) is not int or not 0 < truncate_dim <= dimension:
        raise ArgumentError("TextEmbedder", "truncate_dim", truncate_dim, f"None, or an int from 1 to {dimension}")


def _prompt(prompts: Mapping[str, str], name: str) -> str:
    if name not in prompts:
        expected = f"one of {', '.join(prompts)}" if prompts else "None, since there are no prompts"
        raise ArgumentError("TextEmbedder", "prompt_name", name, expected)
    return prompts[name]
