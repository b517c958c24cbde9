"""`vertebra embed | classify | tag | rerank`: a task over the texts of files."""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vertebra_text.engines.batch_task import BatchTask
from vertebra_text.engines.kinds import KINDS
from vertebra_text.engines.loading import load_trained
from vertebra_text.errors import ItemError
from vertebra_text.long_runs.command import add_record_options, answer_records
from vertebra_text.long_runs.run import WINDOW

if TYPE_CHECKING:
    from vertebra_text.engines.engine import EngineSession


def embed(parser: Any) -> None:
    """Adds the arguments of `vertebra embed`."""
    _add_arguments(parser, "TextEmbedder", "a file that ends with .npy, .jsonl, .parquet or .csv")
    parser.add_argument("--prompt-name", metavar="NAME", help="put this prompt of the preset before each text")
    parser.add_argument("--truncate-dim", type=int, metavar="N", help="keep the first N values of a vector")


def classify(parser: Any) -> None:
    """Adds the arguments of `vertebra classify`."""
    _add_arguments(parser, "TextClassifier")
    parser.add_argument("--top-k", type=int, default=1, metavar="K", help="write the K likeliest classes (default: 1)")


def tag(parser: Any) -> None:
    """Adds the arguments of `vertebra tag`."""
    _add_arguments(parser, "TokenClassifier")
    ways = ("none", "simple", "first", "average", "max")
    parser.add_argument("--aggregation", choices=ways, default="simple", help="how tokens become entities")


def rerank(parser: Any) -> None:
    """Adds the arguments of `vertebra rerank`."""
    _add_arguments(parser, "Reranker")
    parser.add_argument("--query-column", default="query", metavar="NAME", help="field with the query (default: query)")
    column = "field with the document (default: document)"
    parser.add_argument("--document-column", default="document", metavar="NAME", help=column)
    parser.set_defaults(settings=("query_column", "document_column"))


def _add_arguments(parser: Any, task: str, out: str = "") -> None:
    out = out or "a file that ends with .jsonl, .csv or .parquet"
    parser.add_argument("input", nargs="+", metavar="INPUT", help="text, JSONL, CSV or Parquet files, or - for stdin")
    parser.add_argument("-o", "--output", required=True, type=Path, metavar="OUT", help=out)
    parser.add_argument("--preset", required=True, help="a preset id, a handle or a path")
    add_record_options(parser)
    parser.add_argument("--adapter", help="LoRA adapter to load: a path or a handle")
    parser.add_argument("--runtime", help="the runtime, such as torch or jax")
    parser.add_argument("--dtype", help="dtype or dtype policy of the backbone (default: float32)")
    parser.add_argument("--json", action="store_true", help="print a summary as JSON")
    kind = KINDS[task]
    parser.set_defaults(run=_run, task=task, pairs=kind.is_paired, of_task=kind.of_task, of_answers=kind.of_answers)
    parser.set_defaults(settings=(*kind.of_answers, *kind.of_task), engine=None)


def _run(args: argparse.Namespace) -> int:
    columns = (args.query_column, args.document_column) if args.pairs else (args.text_column,)
    job = {"task": args.task, "preset": args.preset, "adapter": args.adapter, "dtype": args.dtype, "input": args.input}
    job |= {"columns": list(columns)} | {name: getattr(args, name) for name in args.settings}
    if args.engine is not None:
        with args.engine.session(_batch_task(args), args) as session:
            return answer_records(args, columns, lambda texts, _: _of_workers(session, texts), job, width=session.width)
    of_task = {name: getattr(args, name) for name in args.of_task}
    loading = {"runtime": args.runtime, "adapter": args.adapter, "dtype": args.dtype, "options": of_task}
    task = load_trained(args.task, args.preset, **loading)
    width = task.output_shape[-1] if args.task == "TextEmbedder" else 0
    return answer_records(args, columns, lambda texts, _: _stream(task, texts, args), job, width=width)


def _batch_task(args: argparse.Namespace) -> BatchTask:
    """Returns the task for the workers of an engine, whose working folder may be another one."""
    path = Path(args.preset)
    return BatchTask(
        path.resolve() if path.exists() else args.preset,
        args.task,
        runtime=args.runtime,
        adapter=args.adapter and str(Path(args.adapter).resolve() if Path(args.adapter).exists() else args.adapter),
        dtype=args.dtype,
        batch_size=args.batch_size,
        on_error="skip",
        **{name: getattr(args, name) for name in (*args.of_task, *args.of_answers)},
    )


def _of_workers(session: EngineSession, texts: Iterable[Any]) -> Iterator[Any]:
    """Yields the answers of an engine's workers, which get the windows that one process answers at once."""
    remaining = iter(texts)
    windows = iter(lambda: list(itertools.islice(remaining, WINDOW)), [])
    return itertools.chain.from_iterable(session.answers(windows))


def _stream(task: Any, texts: Iterable[Any], args: argparse.Namespace) -> Iterator[Any]:
    """Yields the fields of each answer, or an `ItemError`."""
    options = {name: getattr(args, name) for name in args.of_answers}
    answers = task.stream(texts, batch_size=args.batch_size, window=WINDOW, on_error="skip", **options)
    fields = KINDS[args.task].fields
    return (answer if isinstance(answer, ItemError) else fields(answer) for answer in answers)
