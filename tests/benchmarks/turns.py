"""Processes that wait between their calls: libraries take turns call by call, so that each meets the same machine."""

import json
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from measure import ENVIRONMENT


class Waiting:
    """A process that answers each line on its stdin with a line of JSON, and waits for the next one.

    Used in a `with` statement, which ends the process.

    Args:
        command: Its command line.
    """

    def __init__(self, command: Sequence[str]) -> None:
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 (open as long as the process)
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(
            command, stdin=pipe, stdout=pipe, stderr=self._errors, text=True, env=ENVIRONMENT
        )

    def __enter__(self) -> "Waiting":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        self._process.stdin.close()
        self._process.stdout.close()
        self._errors.close()

    def ask(self, request: str = "") -> Any:
        """Returns the answer to one line.

        Raises:
            RuntimeError: the process ended instead; the message has the end of its stderr.
        """
        try:
            self._process.stdin.write(f"{request}\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # the process has ended, as its answer will say
        return self._answer()

    def end(self) -> Any:
        """Returns the answer to the end of stdin: the figures of the whole process."""
        self._process.stdin.close()
        answer = self._answer()
        self._process.wait()
        return answer

    def _answer(self) -> Any:
        answer = self._process.stdout.readline()
        if not answer:
            self._errors.seek(0)
            raise RuntimeError(f"{self._process.args} ended:\n{self._errors.read().decode()[-2000:]}")
        return json.loads(answer)


@contextmanager
def waiting(commands: Mapping[str, Sequence[str]]) -> Iterator[dict[str, Waiting]]:
    """Starts a process for each command, by name, and ends all of them with the block."""
    with ExitStack() as stack:
        yield {name: stack.enter_context(Waiting(command)) for name, command in commands.items()}
