"""How costs grow: memory over loads and swaps of adapters, discovery with plugins, compiling with layers."""

import sys
import tempfile
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from loading import RUNTIMES, preset_of
from many_plugins import install_all
from measure import Row, figures, in_turn, interleaved, quartiles, verdict, wall_seconds

GROW = Path(__file__).with_name("grow.py")
COUNTS = (100, 250, 500, 1000)
MOST_GROWTH_MB = 10
"""From the first of the counts to the last."""
PLUGINS = (0, 100, 300, 1000)
MOST_A_PLUGIN_MS = 1.0
LAYERS = (2, 4, 8, 16, 32)
MOST_OF_HALF = 2.5
"""Of the time for half as many layers, for the largest number: linear costs double, and quadratic ones quadruple."""
REPEATED = {"loads": "a small BERT is loaded", "swaps": "one of two adapters is activated"}
LIST = "import sys; sys.path.insert(0, sys.argv[1]); from vertebra.cli import main; main(['presets'])"


def measure_memory(runs: int, work: Path, runtimes: Sequence[str] = RUNTIMES) -> list[Row]:
    """Measures the memory of processes that load, or swap adapters, a thousand times.

    Args:
        runs: How many processes there are of each kind, in turn.
        work: A folder for the preset.
        runtimes: The runtimes.
    """
    folder = preset_of(work, Path(sys.executable), "tiny", "native")
    rows = []
    for action in REPEATED:
        for runtime in runtimes:
            line = [sys.executable, str(GROW), runtime, action, str(folder), *map(str, COUNTS)]
            rows.append(memory_row(action, runtime, in_turn(runs, found=partial(figures, line))["found"]))
    return rows


def memory_row(action: str, runtime: str, found: Sequence[Mapping[str, Any]]) -> Row:
    """Returns the row of one kind of process; the growth is the median of their growths."""
    memory = {count: median(each["memory"][number] for each in found) for number, count in enumerate(COUNTS)}
    growths = [each["memory"][-1] - each["memory"][0] for each in found]
    return {
        "again and again": f"{REPEATED[action]}, {runtime}",
        "each, ms": 1000 * median(each["seconds"] for each in found),
        **{f"after {count:,}, MB": megabytes for count, megabytes in memory.items()},
        "growth, MB": median(growths),
        "quartiles, MB": quartiles(growths),
        "bar, MB": MOST_GROWTH_MB,
        "bars": verdict({"growth": median(growths) <= MOST_GROWTH_MB}),
    }


def measure_discovery(runs: int) -> list[Row]:
    """Times `vertebra presets` as a whole process, with more and more plugins of `vertebra new`."""
    with tempfile.TemporaryDirectory() as folder:
        sites = {count: Path(folder, str(count)) for count in PLUGINS}
        for count, site in sites.items():
            site.mkdir()
            install_all(site, healthy=count, broken=0)
        lines = {str(count): [sys.executable, "-c", LIST, str(site)] for count, site in sites.items()}
        in_turn(1, **{count: partial(wall_seconds, line) for count, line in lines.items()})
        times = in_turn(runs, **{count: partial(wall_seconds, line) for count, line in lines.items()})
    return [discovery_row(count, times) for count in PLUGINS]


def discovery_row(count: int, times: Mapping[str, Sequence[float]]) -> Row:
    """Returns the row of one number of plugins, compared with none in the same turn."""
    more = (
        [1000 * (own - none) / count for own, none in zip(times[str(count)], times["0"], strict=True)] if count else []
    )
    return {
        "more plugins": f"{count:,}",
        "vertebra presets, s": median(times[str(count)]),
        "quartiles, s": quartiles(times[str(count)]),
        "a plugin, ms": median(more) if more else None,
        "bar, ms": MOST_A_PLUGIN_MS if more else None,
        "bars": verdict({"time": median(more) <= MOST_A_PLUGIN_MS} if more else {}),
    }


def measure_compiling(runs: int, runtimes: Sequence[str] = RUNTIMES) -> list[Row]:
    """Times the first call of a compiled BERT, 64 wide, by its number of layers.

    Args:
        runs: How many processes there are for each runtime, in turn.
        runtimes: The runtimes.
    """
    lines = {runtime: [sys.executable, str(GROW), runtime, "compiling", *map(str, LAYERS)] for runtime in runtimes}
    found = interleaved(runs, **{runtime: partial(figures, line) for runtime, line in lines.items()})
    return [row for runtime, seconds in found.items() for row in compiling_rows(runtime, seconds)]


def compiling_rows(runtime: str, seconds: Mapping[str, float]) -> list[Row]:
    """Returns a row for each number of layers; the last one has the bar."""
    rows: list[Row] = []
    for number, layers in enumerate(LAYERS):
        half = seconds[str(LAYERS[number - 1])] if number else None
        share = half and seconds[str(layers)] / half
        rows.append(
            {
                "runtime": runtime,
                "layers": f"{layers}",
                "first call, s": seconds[str(layers)],
                "of half the layers', %": share,
                "bars": verdict({"linear": share <= MOST_OF_HALF}) if layers == LAYERS[-1] else None,
            }
        )
    return rows
