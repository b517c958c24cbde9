"""`vertebra embed | classify | tag | rerank`: a task over the texts of files."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from vertebra.errors import WeightsMismatchError
from vertebra_text.errors import ItemError
from vertebra_text.long_runs.command import add_record_options, answer_records
from vertebra_text.long_runs.run import WINDOW

_TRAIN = "Train the task with `fit` and save it with `save_to_preset`, or take a preset that has the head"
Fields = Callable[[Any], Mapping[str, Any]]
"""Returns the fields of the output for one answer of a task."""


def embed(parser: Any) -> None:
    """Adds the arguments of `vertebra embed`."""
    _add_arguments(parser, "TextEmbedder", _fields_of_embed, "a file that ends with .npy, .jsonl, .parquet or .csv")
    parser.add_argument("--prompt-name", metavar="NAME", help="put this prompt of the preset before each text")
    parser.add_argument("--truncate-dim", type=int, metavar="N", help="keep the first N values of a vector")
    parser.set_defaults(
        settings=("prompt_name", "truncate_dim"), of_task=("truncate_dim",), of_answers=("prompt_name",)
    )


def classify(parser: Any) -> None:
    """Adds the arguments of `vertebra classify`."""
    _add_arguments(parser, "TextClassifier", _fields_of_classify)
    parser.add_argument("--top-k", type=int, default=1, metavar="K", help="write the K likeliest classes (default: 1)")
    parser.set_defaults(settings=("top_k",), of_answers=("top_k",))


def tag(parser: Any) -> None:
    """Adds the arguments of `vertebra tag`."""
    _add_arguments(parser, "TokenClassifier", _fields_of_tag)
    ways = ("none", "simple", "first", "average", "max")
    parser.add_argument("--aggregation", choices=ways, default="simple", help="how tokens become entities")
    parser.set_defaults(settings=("aggregation",), of_answers=("aggregation",))


def rerank(parser: Any) -> None:
    """Adds the arguments of `vertebra rerank`."""
    _add_arguments(parser, "Reranker", _fields_of_rerank)
    parser.add_argument("--query-column", default="query", metavar="NAME", help="field with the query (default: query)")
    column = "field with the document (default: document)"
    parser.add_argument("--document-column", default="document", metavar="NAME", help=column)
    parser.set_defaults(pairs=True, settings=("query_column", "document_column"))


def _add_arguments(parser: Any, task: str, fields: Fields, out: str = "") -> None:
    out = out or "a file that ends with .jsonl, .csv or .parquet"
    parser.add_argument("input", nargs="+", metavar="INPUT", help="text, JSONL, CSV or Parquet files, or - for stdin")
    parser.add_argument("-o", "--output", required=True, type=Path, metavar="OUT", help=out)
    parser.add_argument("--preset", required=True, help="a preset id, a handle or a path")
    add_record_options(parser)
    parser.add_argument("--adapter", help="LoRA adapter to load: a path or a handle")
    parser.add_argument("--runtime", help="the runtime, such as torch or jax")
    parser.add_argument("--dtype", help="dtype or dtype policy of the backbone (default: float32)")
    parser.add_argument("--json", action="store_true", help="print a summary as JSON")
    parser.set_defaults(run=_run, task=task, fields=fields, pairs=False, settings=(), of_task=(), of_answers=())


def _run(args: argparse.Namespace) -> int:
    columns = (args.query_column, args.document_column) if args.pairs else (args.text_column,)
    task = _load(args)
    job = {"task": args.task, "preset": args.preset, "adapter": args.adapter, "dtype": args.dtype, "input": args.input}
    job |= {"columns": list(columns)} | {name: getattr(args, name) for name in args.settings}
    width = task.output_shape[-1] if args.task == "TextEmbedder" else 0
    return answer_records(args, columns, lambda texts, _: _stream(task, texts, args), job, width=width)


def _stream(task: Any, texts: Iterable[Any], args: argparse.Namespace) -> Iterator[Any]:
    """Yields the fields of each answer, or an `ItemError`."""
    options = {name: getattr(args, name) for name in args.of_answers}
    answers = task.stream(texts, batch_size=args.batch_size, window=WINDOW, on_error="skip", **options)
    return (answer if isinstance(answer, ItemError) else args.fields(answer) for answer in answers)


def _load(args: argparse.Namespace) -> Any:
    import vertebra

    options = {name: getattr(args, name) for name in args.of_task if getattr(args, name) is not None}
    options |= {"dtype": args.dtype} if args.dtype else {}
    task = getattr(vertebra.models, args.task).from_preset(args.preset, runtime=args.runtime, **options)
    if task.random_weights:
        problem = f"it has no trained head for {args.task}, so the answers would be random"
        raise WeightsMismatchError(args.preset, missing=task.random_weights, cause=problem, remedy=_TRAIN)
    if args.adapter:
        task.load_lora_weights(args.adapter)
    return task


def _fields_of_embed(vector: Any) -> dict[str, Any]:
    return {"embedding": vector.tolist()}


def _fields_of_classify(answer: Any) -> dict[str, Any]:
    return answer if isinstance(answer, dict) else {"labels": answer}


def _fields_of_tag(answer: Any) -> dict[str, Any]:
    return {"entities": answer}


def _fields_of_rerank(score: Any) -> dict[str, Any]:
    return {"score": float(score)}
