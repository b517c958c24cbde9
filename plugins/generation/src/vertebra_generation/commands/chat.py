"""`vertebra chat`: a conversation with a model in the terminal, or over the lines of standard input."""

from __future__ import annotations

import argparse
import contextlib
import functools
import re
import sys
from collections.abc import Callable, Iterator
from typing import Any

from vertebra.errors import ArgumentError, VertebraError, printable
from vertebra_generation.commands.loading import load
from vertebra_generation.commands.options import (
    add_generation_options,
    add_model_options,
    chosen_options,
    completed,
    names_of_options,
)
from vertebra_generation.commands.texts import print_document, write

_WORDS = {
    "/reset": "forgets the conversation",
    "/exit": "ends the command, as does Ctrl-D",
    "/help": "lists these words",
}
_CUT = {
    "length": "note: the answer has the most tokens that --max-new-tokens allows",
    "context": "note: the answer ends where the context of the model is full; /reset begins a new conversation",
}


def add_arguments(parser: Any) -> None:
    """Adds the arguments of `vertebra chat`."""
    parser.add_argument("preset", metavar="PRESET", help="a preset id, a handle or a path")
    parser.add_argument("--system", metavar="TEXT", help="instructions at the beginning of the conversation")
    parser.add_argument(
        "--json", action="store_true", help="print the conversation as JSON at its end, and nothing else"
    )
    add_model_options(parser)
    add_generation_options(parser)
    parser.set_defaults(run=functools.partial(_run, parser))


def _run(parser: Any, args: argparse.Namespace) -> int:
    if (args.num_beams or 1) > 1:
        parser.error("--num-beams: beam search knows its answer at the end, and cannot be used in a chat")
    given = chosen_options(args)
    task = load(args, "chat")
    with names_of_options():
        conversation = Conversation(task, args.system, completed(given, task.generation_options))
        status = _converse(conversation, _ignore if args.json else write)
    if args.json:
        print_document({"preset": args.preset, "messages": conversation.messages})
    return status


class Conversation:
    """The messages of a user and a model.

    Args:
        task: The causal language model; its tokenizer has a chat template.
        system: The text of the first message, or None.
        options: The options of each answer.

    Raises:
        VertebraError: there is no chat template, or it refuses the conversation.
    """

    def __init__(self, task: Any, system: str | None, options: dict[str, Any]) -> None:
        self._task, self._options = task, options
        self._first = [] if system is None else [{"role": "system", "content": system}]
        self.messages: list[dict[str, str]] = []
        """All messages so far: dicts with `role` and `content`."""
        self.reset()
        task.prompt_ids([*self.messages, {"role": "user", "content": "Hello"}])  # refused before the first question

    def reset(self) -> None:
        """Forgets all messages but that of the system."""
        self.messages = list(self._first)

    def ask(self, text: str, show: Callable[[str], None]) -> str | None:
        """Asks a message; returns why the answer ended.

        An answer that is interrupted stays in the conversation as far as it came; a message without any answer does
        not.

        Args:
            text: The message.
            show: Is called with each part of the answer.

        Raises:
            TextError: the conversation is too long for the model.
        """
        asked = [*self.messages, {"role": "user", "content": text}]
        answer, reason = "", None
        try:
            for piece in self._task.generate_stream(asked, **self._options):
                answer += piece.text
                reason = piece.finish_reason or reason
                show(piece.text)
        finally:
            if answer or reason:
                self.messages = [*asked, {"role": "assistant", "content": answer}]
        return reason


def _converse(conversation: Conversation, show: Callable[[str], None]) -> int:
    is_terminal = sys.stdin is not None and sys.stdin.isatty() and sys.stdout.isatty()
    if is_terminal:
        _say(f"{', '.join(f'{word} {effect}' for word, effect in _WORDS.items())}.")
    status = 0
    for line in _typed() if is_terminal else _piped():
        text = line.strip()
        if text == "/exit":
            break
        if not text:
            continue
        if text == "/reset":
            conversation.reset()
        elif re.fullmatch(r"/\w+", text):
            _say("; ".join(f"{word} {effect}" for word, effect in _WORDS.items()))
        else:
            try:
                status = max(status, _answered(conversation, text, show))
            except KeyboardInterrupt:
                if not is_terminal:
                    raise
    return status


def _answered(conversation: Conversation, text: str, show: Callable[[str], None]) -> int:
    """Shows the answer to a message, or why there is none."""
    try:
        reason = conversation.ask(text, show)
    except VertebraError as error:
        _say(f"error: {error} /reset begins a new conversation.")
        return 1
    finally:
        show("\n")
    if reason in _CUT:
        _say(_CUT[reason])
    return 0


def _typed() -> Iterator[str]:
    """Yields the lines that a user types, until the end of the input."""
    with contextlib.suppress(ImportError):
        import readline  # noqa: F401 (keys for editing)
    while True:
        try:
            yield input("> ")
        except EOFError:
            print()
            return


def _piped() -> Iterator[str]:
    """Yields the lines of standard input, each as soon as it is there."""
    for number, line in enumerate(sys.stdin.buffer if sys.stdin is not None else (), 1):
        try:
            yield line.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError:
            raise ArgumentError("Reading standard input", f"line {number:,}", line[:50], "UTF-8") from None


def _ignore(text: str) -> None:
    """Shows nothing of an answer."""


def _say(line: str) -> None:
    print(printable(line), file=sys.stderr, flush=True)
