"""`vertebra generate`: the answers of a model to a prompt, or to the prompts of files."""

from __future__ import annotations

import argparse
import functools
import itertools
import math
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from vertebra.errors import ArgumentError
from vertebra_generation.commands.loading import load
from vertebra_generation.commands.options import (
    add_generation_options,
    add_model_options,
    chosen_options,
    completed,
    names_of_options,
)
from vertebra_generation.commands.texts import harmless, print_document, read_stdin, write
from vertebra_text import ItemError, TextError, add_record_options, answer_records

_BATCHES = 4
"""The number of batches after which the journal of a long run is written; their prompts are sorted by length."""
_EMPTY = "a text; a prompt without a token has no answer of its own"


def add_arguments(parser: Any) -> None:
    """Adds the arguments of `vertebra generate`."""
    parser.add_argument("preset", metavar="PRESET", help="a preset id, a handle or a path")
    prompt = "the text to go on with; - or nothing reads it from standard input"
    parser.add_argument("prompt", nargs="?", metavar="PROMPT", help=prompt)
    parser.add_argument("--stream", action="store_true", help="print the answer while it is generated")
    parser.add_argument(
        "--chat", action="store_true", help="ask the prompt as a message, by the preset's chat template"
    )
    parser.add_argument("--system", metavar="TEXT", help="instructions before the message; implies --chat")
    parser.add_argument("-n", type=int, metavar="N", help="number of answers to each prompt")
    parser.add_argument("--json", action="store_true", help="print the answers, or the summary of files, as JSON")
    add_model_options(parser)
    add_generation_options(parser)
    files = parser.add_argument_group("answers to the prompts of files")
    what = "text, JSONL, CSV or Parquet files, or - for stdin: a prompt in each line or record"
    files.add_argument("--input", nargs="+", metavar="FILE", help=what)
    out = "a file that ends with .jsonl, .csv or .parquet"
    files.add_argument("-o", "--output", type=Path, metavar="OUT", help=out)
    add_record_options(files)
    parser.set_defaults(run=functools.partial(_run, parser))


def _run(parser: Any, args: argparse.Namespace) -> int:
    _check_usage(parser, args)
    given = chosen_options(args)
    if args.input is not None:
        return _answer_files(args, given)
    prompt = _prompt(parser, args)
    task = load(args, "generate")
    ids = task.prompt_ids(_as_asked(prompt, args))
    options = completed(given, task.generation_options)
    with names_of_options():
        if args.stream:
            _stream(task, ids, options)
            return 0
        answers = _listed(task.generate(ids, details=True, **options))
    if args.json:
        document = {"preset": args.preset, "prompt": prompt, "prompt_tokens": len(ids)}
        print_document(document | {"answers": [_details(answer) for answer in answers]})
        return 0
    print("\n---\n".join(harmless(answer.text) for answer in answers))
    return 0


def _check_usage(parser: Any, args: argparse.Namespace) -> None:
    if args.input is None:
        if args.output is not None:
            parser.error("-o is for the answers to files: name them with --input")
    elif args.output is None:
        parser.error("--input needs -o OUT, the file with the answers")
    elif args.prompt is not None:
        parser.error("a prompt and --input cannot be combined")
    elif args.batch_size < 1:
        parser.error(f"--batch-size {args.batch_size}: expected a number of at least 1")
    if args.stream:
        others = {"--input": args.input, "--json": args.json, "-n": (args.n or 1) > 1}
        others["--num-beams"] = (args.num_beams or 1) > 1
        for name in (name for name, is_given in others.items() if is_given):
            parser.error(f"--stream and {name} cannot be combined: a stream is one answer, as it is generated")


def _prompt(parser: Any, args: argparse.Namespace) -> str:
    if args.prompt not in (None, "-"):
        text: str = args.prompt
    elif args.prompt is None and sys.stdin is not None and sys.stdin.isatty():
        parser.error("there is no prompt: name one, or pass - to type it and end it with Ctrl-D")
    else:
        text = read_stdin()
    if not text:
        raise ArgumentError("vertebra generate", "PROMPT", text, _EMPTY)
    return text


def _as_asked(prompt: str, args: argparse.Namespace) -> Any:
    """Returns a prompt as the task takes it: a text, or a chat."""
    if not args.chat and args.system is None:
        return prompt
    before = [] if args.system is None else [{"role": "system", "content": args.system}]
    return [*before, {"role": "user", "content": prompt}]


def _stream(task: Any, ids: list[int], options: dict[str, Any]) -> None:
    try:
        for piece in task.generate_stream(ids, **options):
            write(piece.text)
    finally:
        write("\n")


def _listed(answers: Any) -> list[Any]:
    return answers if isinstance(answers, list) else [answers]


def _details(answer: Any) -> dict[str, Any]:
    """Returns an answer as JSON has it."""
    return _fields(answer) | {"token_ids": answer.token_ids}


def _fields(answer: Any) -> dict[str, Any]:
    score = float(answer.score)
    return {
        "text": answer.text,
        "finish_reason": answer.finish_reason,
        "tokens": len(answer.token_ids),
        "score": score if math.isfinite(score) else None,
    }


# === Files ===


def _answer_files(args: argparse.Namespace, given: dict[str, Any]) -> int:
    task = load(args, "generate")
    options = completed(given, task.generation_options)
    job = {"task": "CausalLM", "preset": args.preset, "adapter": args.adapter, "dtype": args.dtype}
    job |= {"input": args.input, "columns": [args.text_column], "chat": args.chat, "system": args.system}
    window = _BATCHES * args.batch_size

    def answers(texts: Iterable[Any], first: int) -> Iterator[Any]:
        return _answers(task, texts, first, window, args, options)

    with names_of_options():
        return answer_records(args, [args.text_column], answers, job | options, window=window)


def _answers(
    task: Any, texts: Iterable[Any], first: int, window: int, args: argparse.Namespace, options: dict[str, Any]
) -> Iterator[Any]:
    """Yields the fields of the answers to each prompt, or an `ItemError`.

    The number of a record decides its draws, so that an interrupted run with a seed has the answers of a whole one.
    """
    numbered = enumerate(texts, first)
    while items := list(itertools.islice(numbered, window)):
        prompts = {number: _ids(task, text, number, args) for number, text in items}
        good = {number: ids for number, ids in prompts.items() if not isinstance(ids, ItemError)}
        found = task.generate(
            list(good.values()), details=True, batch_size=args.batch_size, numbers=list(good), **options
        )
        answered = dict(zip(good, found, strict=True))
        for number, prompt in prompts.items():
            yield prompt if number not in good else _row(answered[number])


def _ids(task: Any, text: Any, number: int, args: argparse.Namespace) -> Any:
    """Returns the token ids of a prompt, or an `ItemError`."""
    if isinstance(text, Exception):
        return ItemError(number, str(text))
    if not text:
        return ItemError(number, f"its prompt is empty, expected {_EMPTY}")
    try:
        return task.prompt_ids(_as_asked(text, args))
    except TextError as error:
        return ItemError(number, f"{error.value!r}, expected {error.expected}")


def _row(answers: Any) -> dict[str, Any]:
    if isinstance(answers, list):
        return {"answers": [_fields(answer) for answer in answers]}
    return _fields(answers)
