"""What the tests of system calls run: fetches of a preset in forks whose calls fail, or are the last that they make.

usage: system_calls.py

Reads cases from standard input, each a line of JSON, and prints what came of each as another. The folder that
`VERTEBRA_CACHE` names is emptied before each. Everything is imported before the first, so that the calls that strace
sees in a fork are those of a fetch.
"""

import contextlib
import hashlib
import json
import os
import re
import shutil
import signal
import sys
import tempfile
import traceback
from collections import Counter
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import downloading
import tracing

from vertebra import add_plugin
from vertebra._cache import cached_source
from vertebra._cache.layout import key_of
from vertebra._cache.store import Store
from vertebra._cache.transfer import download
from vertebra._cache.transfer import fetch as fetching
from vertebra._cache.verify import verify_store
from vertebra._configuration.settings import settings
from vertebra._resolve.open import open_folder
from vertebra._system.ownership import ABANDONED
from vertebra.errors import VertebraError

EXPECTED = {name: hashlib.sha256(content).hexdigest() for name, content in downloading.CONTENTS.items()}
ROOT = Path(os.environ["VERTEBRA_CACHE"])
BEGUN_BY_OTHERS = f".{ABANDONED}.0.tmp"


@dataclass(frozen=True, slots=True)
class Case:
    """One fetch."""

    calls: str
    """Which calls are looked at, as strace has it."""
    fault: str = ""
    """What happens to them, such as `error=EIO:when=3`, or nothing; each thread counts for itself."""
    begun: bool = False
    """Whether others have begun the preset before, and given it up."""
    threads: bool = False
    """Whether threads share the work; else one does it all, always in the same order."""


def main() -> None:
    """Answers cases."""
    add_plugin(downloading.Toys(), "toys")
    shutil.rmtree(ROOT, ignore_errors=True)
    fetch()
    cached_source._listed.clear()
    for line in sys.stdin:
        print(json.dumps(outcome_of(Case(**json.loads(line)))), flush=True)


def outcome_of(case: Case) -> dict[str, Any]:
    """Fetches as a case says, then without a network, then as usual; returns what came of all that."""
    shutil.rmtree(ROOT, ignore_errors=True)
    if case.begun:
        begin()
    with tempfile.NamedTemporaryFile("r") as log:
        first = in_a_fork(case, log.name)
        lines = log.readlines()
    damages = [f"{damage.path.name}: {damage.problem}" for damage in verify_store(Store(ROOT))[0]]
    return {
        "first": first,
        "calls": count_calls(lines),
        "struck": first == "ended by SIGKILL" or any("(INJECTED)" in line for line in lines),
        "damages": damages,
        "offline": in_a_fork(case, offline=True),
        "again": in_a_fork(case),
        "left": [path.name for path in ROOT.glob("partial/*") if not path.name.endswith(BEGUN_BY_OTHERS)],
    }


def begin() -> None:
    """Leaves beginnings of a file and of a note in the cache."""
    partial = ROOT / "partial"
    partial.mkdir(parents=True)
    key = key_of("", str(downloading.PINNED), "model.safetensors")
    (partial / f"{key}{BEGUN_BY_OTHERS}").write_bytes(downloading.CONTENTS["model.safetensors"][:100_000])
    (partial / f"note{BEGUN_BY_OTHERS}").write_bytes(b'{"han')


def count_calls(lines: list[str]) -> dict[str, int]:
    """Returns how many calls of each name the thread made that made the most of them."""
    most: dict[str, int] = {}
    for (_, name), count in Counter(re.findall(r"^(\d+) +(\w+)\(", "".join(lines), re.MULTILINE)).items():
        most[name] = max(count, most.get(name, 0))
    return most


# === Forks ===


def in_a_fork(case: Case, log: str | None = None, offline: bool = False) -> str:
    """Fetches in a process of its own; returns "fetched", an error, or what went wrong.

    Args:
        case: How it fetches, and what goes wrong if there is a log.
        log: Where strace writes the calls, or None to have nothing go wrong.
        offline: Whether the network must not be used.
    """
    (awaited, begin_now), (found, told) = os.pipe(), os.pipe()
    child = os.fork()
    if not child:
        os.close(begin_now)
        be_a_child(case, offline, awaited, told)
    os.close(awaited)
    os.close(told)
    with os.fdopen(found) as answers:
        answers.readline()
        with tracing.watching(child, case.calls, case.fault, log) if log else contextlib.nullcontext():
            os.close(begin_now)
            answer = answers.readline()
            status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return f"ended by {signal.Signals(-status).name}" if status < 0 else judgement(json.loads(answer))


def be_a_child(case: Case, offline: bool, awaited: int, told: int) -> NoReturn:
    """Says that it is ready, fetches when told to, and says what came of it; by calls that are never made to fail."""
    signal.alarm(tracing.LONGEST)
    try:
        prepare(case, offline)
        os.writev(told, [b"ready\n"])
        os.readv(awaited, [bytearray(1)])
        os.writev(told, [json.dumps(fetch()).encode()])
    finally:
        os._exit(0)


def prepare(case: Case, offline: bool) -> None:
    """Makes this process the one that a case is about."""
    tracing.let_others_trace()
    if offline:
        os.environ["VERTEBRA_OFFLINE"] = "1"
        settings.cache_clear()
        settings()
    if case.threads:
        downloading.ToySource.streams, download.RANGE = 2, 65_536
    else:
        fetching.ThreadPoolExecutor = AtOnce


class AtOnce:
    """An executor whose only thread is the caller's."""

    def __init__(self, *_: object, **__: object) -> None:
        """There is nothing to start."""

    def __enter__(self) -> "AtOnce":
        return self

    def __exit__(self, *exception: object) -> None:
        """There is nothing to end."""

    def submit(self, function: Any, *arguments: Any) -> "Future[Any]":
        """Calls a function."""
        future: Future[Any] = Future()
        try:
            future.set_result(function(*arguments))
        except BaseException as error:
            future.set_exception(error)
        return future

    def shutdown(self, **_: object) -> None:
        """There is nothing to wait for."""


def fetch() -> dict[str, Any]:
    """Fetches all files of the preset; returns their folder, or the error."""
    try:
        folder = open_folder("toy://team/model")
        names = sorted(folder.names)
        return {"paths": dict(zip(names, map(str, folder.fetch_all(names)), strict=True))}
    except VertebraError as error:
        return {"problem": f"{type(error).__name__}: {error}"}
    except BaseException as error:
        frames = traceback.extract_tb(error.__traceback__)[-5:]
        return {
            "problem": f"untyped {error!r} at {[f'{Path(frame.filename).name}:{frame.lineno}' for frame in frames]}"
        }


def judgement(found: dict[str, Any]) -> str:
    """Says in a word what a fetch has found, if that is in order."""
    if "problem" in found:
        return str(found["problem"])
    hashes = {name: hashlib.sha256(Path(path).read_bytes()).hexdigest() for name, path in found["paths"].items()}
    return "fetched" if hashes == EXPECTED else f"wrong: {hashes}"


if __name__ == "__main__":
    main()
