"""What loading a pinned preset from the cache costs over loading the same files from a folder: nobody is asked."""

import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from loading import preset_of
from measure import Row, figures, in_turn, interleaved, median, read_through
from models import MODELS
from storing import environment

CHILD = Path(__file__).with_name("reopen.py")
MODEL, TIMES = "bert", 15
RUNTIMES = {
    "torch": f"{MODELS[MODEL].title}, torch",
    "jax": f"{MODELS[MODEL].title}, jax",
    "none": "its files alone, no framework",
}
BAR_MS = 20


def measure_reopening(runs: int, work: Path) -> list[Row]:
    """Measures loads in new processes, and loads after the first in one process.

    Args:
        runs: How many processes there are of each kind, in turn.
        work: A folder for the preset.
    """
    preset = preset_of(work, Path(sys.executable), MODEL, "native")
    with cached(preset, work / "reopening") as handle:
        return [row(runs, runtime, str(preset), handle) for runtime in RUNTIMES]


@contextmanager
def cached(preset: Path, folder: Path) -> Iterator[str]:
    """Puts a preset into a cache; who asks the hub that it came from gets no answer any more."""
    from servers.hub import HubServer

    shutil.rmtree(folder, ignore_errors=True)
    with HubServer() as hub:
        handle = f"hf://acme/bert@{hub.commit('acme/bert', {path.name: path for path in preset.iterdir()})}"
        settings = {"HF_ENDPOINT": hub.url, "VERTEBRA_CACHE": str(folder)}
        with environment(**settings):
            figures(command("once", "none", handle))
    for place in (preset, folder):
        read_through(place)
    with environment(**settings):
        yield handle
    shutil.rmtree(folder)


def command(*arguments: str) -> list[str]:
    return [sys.executable, str(CHILD), *arguments]


def row(runs: int, runtime: str, preset: str, handle: str) -> Row:
    first = in_turn(
        2 * runs,
        folder=partial(figures, command("once", runtime, preset)),
        cache=partial(figures, command("once", runtime, handle)),
    )
    pairs = zip(first["folder"], first["cache"], strict=True)
    again = interleaved(runs, again=partial(figures, command("again", runtime, preset, handle, str(TIMES))))["again"]
    return {
        "loaded": RUNTIMES[runtime],
        "folder, ms": again["folder"] * 1000,
        "cache, ms": again["cache"] * 1000,
        "more, ms": again["more"] * 1000,
        "first from folder, ms": median(first["folder"])["seconds"] * 1000,
        "first from cache, ms": median(first["cache"])["seconds"] * 1000,
        "first more, ms": median([cache["seconds"] - folder["seconds"] for folder, cache in pairs]) * 1000,
        "modules of clients": max(each["client_modules"] for each in first["cache"]),
        "bar": "holds" if again["more"] * 1000 <= BAR_MS else "missed",
    }
