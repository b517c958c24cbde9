"""`BatchTask`: a task as a callable class, which engines run in their worker processes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from vertebra.errors import ArgumentError
from vertebra_text.engines.kinds import KINDS, kind_of
from vertebra_text.engines.tables import table_of
from vertebra_text.errors import ItemError

_COLUMNS = {False: ("text",), True: ("query", "document")}
"""The columns of texts by default, by whether items are pairs."""
_ON_ERROR = ("raise", "skip")


class BatchTask:
    """A task of a preset as one callable for engines that hand over batches, such as Ray Data, Spark and Daft.

    The constructor takes plain values and loads nothing, so an instance can be pickled before its first call. The first
    call, in the process of a worker, chooses the runtime and loads the preset. All workers of a machine share one
    download, and on torch the memory pages of the weights in float32.

    Args:
        preset: A preset id, a handle or a path that each worker can read.
        task: `TextEmbedder`, `TextClassifier`, `TokenClassifier` or `Reranker`.
        runtime: Name of the runtime, or None for the default one of the worker.
        adapter: A LoRA adapter to load: a path or a handle, or None.
        dtype: dtype or dtype policy of the backbone, or None for float32.
        batch_size: The number of texts that the model computes at once.
        columns: The column of texts, or the two of pairs; None for `text`, or `query` and `document` of a `Reranker`.
        output: A name before the name of each column that is added, such as `title_` for `title_embedding`.
        on_error: What happens at a text without an answer, such as null: `"raise"`, or `"skip"`, which leaves its
            answer empty (NaN in a vector) and says why in the column `error`.
        share_weights: Whether dense layers use the weights as the file has them. If not, a worker may make copies in
            the layout of the processor's fastest kernels, as other calls of a task do: faster, with more memory.
        **options: Options of the task: `prompt_name` and `truncate_dim`, `top_k`, or `aggregation`.

    Raises:
        ArgumentError: an argument is out of range.
    """

    def __init__(
        self,
        preset: str | Path,
        task: str = "TextEmbedder",
        *,
        runtime: str | None = None,
        adapter: str | None = None,
        dtype: str | None = None,
        batch_size: int = 32,
        columns: str | Sequence[str] | None = None,
        output: str = "",
        on_error: str = "raise",
        share_weights: bool = True,
        **options: Any,
    ) -> None:
        self._kind = kind_of(task, options)
        if on_error not in _ON_ERROR:
            raise ArgumentError("BatchTask", "on_error", on_error, " or ".join(map(repr, _ON_ERROR)))
        if isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size < 1:
            raise ArgumentError("BatchTask", "batch_size", batch_size, "an int of at least 1")
        names = _COLUMNS[self._kind.is_paired] if columns is None else columns
        self._columns = (names,) if isinstance(names, str) else tuple(names)
        if len(self._columns) != len(_COLUMNS[self._kind.is_paired]) and (
            self._kind.is_paired or task != "TextClassifier"
        ):
            expected = "the names of two columns" if self._kind.is_paired else "the name of a column"
            raise ArgumentError("BatchTask", "columns", columns, expected)
        self._name, self._preset, self._options = task, str(preset), options
        self._loading = {"runtime": runtime, "adapter": adapter, "dtype": dtype}
        self._batch_size, self._output, self._skips = batch_size, output, on_error == "skip"
        self._shares_weights, self._task = share_weights, None

    def __getstate__(self) -> dict[str, Any]:
        """Returns the arguments without the loaded task, which another process loads for itself."""
        return self.__dict__ | {"_task": None, "_kind": None}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        self.__dict__.update(state)
        self._kind = KINDS[self._name]

    @property
    def task(self) -> Any:
        """The task itself, which the first use loads in this process.

        Raises:
            VertebraError: the preset or the adapter cannot be loaded, or has no trained head for the task.
        """
        if self._task is None:
            from vertebra_text.engines.loading import load_trained

            options = {name: self._options.get(name) for name in self._kind.of_task}
            task = load_trained(self._name, self._preset, options=options, **self._loading)
            task.inference.packs_weights = not self._shares_weights
            self._task = task
        return self._task

    @property
    def width(self) -> int:
        """The number of values in a vector of a `TextEmbedder`, or 0 for answers that are not vectors."""
        return int(self.task.output_shape[-1]) if self._name == "TextEmbedder" else 0

    def __call__(self, batch: Any) -> Any:
        """Returns a batch with columns for the answers.

        A `TextEmbedder` adds `embedding`: float32, shape (rows, width), in Arrow lists of fixed size. A
        `TextClassifier` adds `label` and `score` (float64), or `labels` with the classes of each row as dicts; a
        `TokenClassifier` adds `entities`, a list of dicts for each row; a `Reranker` adds `score`.

        Args:
            batch: A dict of NumPy arrays (or of lists), a pandas DataFrame, or a pyarrow Table or RecordBatch. The
                result is of the same class.

        Raises:
            ArgumentError: the batch is of another class, or lacks a column of texts.
            ItemError: a text has no answer, and `on_error` is `"raise"`; `index` is the row in the batch.
            VertebraError: the first call cannot load the task.
        """
        table = table_of(batch)
        for name in self._columns:
            if name not in table.names:
                expected = f"the name of a column of the batch: {', '.join(map(str, table.names)) or 'it has none'}"
                raise ArgumentError("BatchTask", "columns", name, expected)
        texts = [table.values(name) for name in self._columns]
        answers = list(self._answers(texts[0] if len(texts) == 1 else list(zip(*texts, strict=True))))
        added = self._added(answers)
        if self._skips:
            added["error"] = [answer.problem if isinstance(answer, ItemError) else None for answer in answers]
        return table.with_columns({self._output + name: column for name, column in added.items()})

    def _added(self, answers: Sequence[Any]) -> dict[str, Any]:
        """Returns the columns for answers of the task."""
        if self._name == "TextEmbedder":
            return {"embedding": _vectors(answers, self.width)}
        found = [{} if isinstance(answer, ItemError) else self._kind.fields(answer) for answer in answers]
        names = list(dict.fromkeys(name for answer in found for name in answer)) or self._names_without_answers()
        return {name: [answer.get(name) for answer in found] for name in names}

    def answers(self, texts: Sequence[Any]) -> list[Any]:
        """Returns the fields of the answer to each text as a dict, or an `ItemError` if `on_error` is `"skip"`.

        Args:
            texts: Texts or pairs; an item may be an exception, for a text that could not be read.
        """
        answers = self._answers(texts)
        return [answer if isinstance(answer, ItemError) else self._kind.fields(answer) for answer in answers]

    def _answers(self, texts: Sequence[Any]) -> Iterator[Any]:
        options = {name: self._options[name] for name in self._kind.of_answers if name in self._options}
        window, on_error = max(len(texts), 1), "skip" if self._skips else "raise"
        stream: Iterator[Any] = self.task.stream(
            texts, batch_size=self._batch_size, window=window, on_error=on_error, **options
        )
        return stream

    def predict_function(self) -> Callable[..., Any]:
        """Returns the function of batches that Spark's `predict_batch_udf` asks for; loads the task.

        Use it as `predict_batch_udf(batch_task.predict_function, return_type=ArrayType(FloatType()), batch_size=256)`:
        Spark calls it once in each of its Python workers. The function takes an array of texts, or one for each of two
        columns, and returns float32 vectors, shape (rows, width), or a dict with an array for each field.
        """
        self.task  # noqa: B018 (an error here names the preset, and not the first batch)

        def predict(*texts: Any) -> Any:
            batch = self(dict(zip(self._columns, texts, strict=True)))
            added = {name: column for name, column in batch.items() if name not in self._columns}
            return next(iter(added.values())) if len(added) == 1 else added

        return predict

    def _names_without_answers(self) -> list[str]:
        if self._name == "TextClassifier":
            return ["label", "score"] if self._options.get("top_k", 1) == 1 else ["labels"]
        return ["entities"] if self._name == "TokenClassifier" else ["score"]


def _vectors(answers: Sequence[Any], width: int) -> Any:
    """Returns vectors as one array, float32, shape (rows, width); NaN where there is none."""
    import numpy as np

    vectors = np.full((len(answers), width), np.nan, "float32")
    for row, answer in enumerate(answers):
        if not isinstance(answer, ItemError):
            vectors[row] = answer
    return vectors
