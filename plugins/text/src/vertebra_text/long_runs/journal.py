"""The journal of a run: the answers so far, and a note of how many are complete, so that a killed run is continued.

`OUT.partial` holds the answers, and `OUT.state` a JSON object that is replaced after each chunk, once the answers are
on disk. Answers that were written after the last note is cut off when the run is continued.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vertebra_text.long_runs.errors import OutputError

_AGAIN = "Pass --restart to begin again, or write to another file"


class Journal:
    """The answers of a run that is not complete.

    Args:
        out: The path of the output.
        job: What the run computes; a journal of another job is refused.
        restart: Whether an earlier journal is discarded.

    Raises:
        OutputError: the journal is of another job, or cannot be read.
    """

    def __init__(self, out: Path, job: Mapping[str, Any], restart: bool = False) -> None:
        self.out = out
        self.partial, self._state = (out.with_name(out.name + suffix) for suffix in (".partial", ".state"))
        self._job = json.loads(json.dumps(job))
        self._digest = hashlib.sha256()
        self.records, self._bytes, self._expected = 0, 0, ""
        is_complete = out.exists() and self._state.exists() and not self.partial.exists()
        if restart or is_complete:  # a complete run was killed before it removed its note
            self.remove()
        elif self._state.exists():
            self._continue()
        self._file = self.partial.open("r+b" if self._bytes else "wb")
        self._file.truncate(self._bytes)
        self._file.seek(self._bytes)

    def _continue(self) -> None:
        try:
            state = json.loads(self._state.read_bytes())
            self.records, self._bytes, self._expected = state["records"], state["bytes"], state["digest"]
            complete = self.partial.stat().st_size >= self._bytes
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise OutputError(self._state, f"it is not the note of a run ({error})", _AGAIN) from error
        if state.get("job") != self._job:
            raise OutputError(self._state, f"it is of another run: {_difference(state.get('job'), self._job)}", _AGAIN)
        if not complete:
            raise OutputError(self.partial, f"it has fewer than {self._bytes:,} bytes", _AGAIN)

    def skip(self, text: Any) -> None:
        """Passes over a record whose answer is in the journal."""
        self._add(text)

    def check_skipped(self) -> None:
        """Compares the records that were passed over with those of the answers.

        Raises:
            OutputError: the input has changed.
        """
        if self._expected and self._digest.hexdigest() != self._expected:
            raise OutputError(self.out, "the input has changed since the run was interrupted", _AGAIN)

    def write(self, texts: list[Any], data: bytes) -> None:
        """Adds the answers for some records, and returns when they are on disk."""
        self._file.write(data)
        self._file.flush()
        os.fsync(self._file.fileno())
        for text in texts:
            self._add(text)
        self.records += len(texts)
        self._bytes += len(data)
        self._note()

    def _add(self, text: Any) -> None:
        self._digest.update(json.dumps(text).encode() + b"\n")

    def _note(self) -> None:
        state = {
            "job": self._job,
            "records": self.records,
            "bytes": self._bytes,
            "digest": self._digest.hexdigest(),
        }
        new = self._state.with_name(self._state.name + ".new")
        with new.open("w", encoding="utf-8") as file:
            json.dump(state, file)
            file.flush()
            os.fsync(file.fileno())
        new.replace(self._state)

    def close(self) -> None:
        """Closes the file; the run can be continued."""
        self._file.close()

    def remove(self) -> None:
        """Removes the files of the journal."""
        for path in (self._state, self.partial):
            path.unlink(missing_ok=True)


def _difference(old: Any, new: Mapping[str, Any]) -> str:
    """Returns the first setting in which two jobs differ."""
    known = old if isinstance(old, Mapping) else {}
    name = next(name for name in [*new, *known] if known.get(name) != new.get(name))
    return f"{name} was {known.get(name)!r} and is {new.get(name)!r}"
