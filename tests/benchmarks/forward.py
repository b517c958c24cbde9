"""Compiled forward passes: on torch against transformers, on JAX against KerasHub, and against the machine's limit."""

import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import median

import machine
from loading import RUNTIMES, preset_of
from measure import Row, in_turn, quartiles, ratio, read_through, verdict
from models import MODELS, model_of
from products import layer_sizes, operations
from turns import Waiting, waiting

HERE = Path(__file__).parent
Shape = tuple[int, int]
"""Texts, and tokens in each."""
TURNS: dict[Shape, tuple[int, int]] = {(1, 8): (5, 5), (1, 128): (4, 3), (8, 128): (3, 1)}
"""For each shape, the turns of each process, and the most calls in a row that are a turn."""
MOST_SECONDS = 30
"""A call that would take longer is left out: some processors compute bfloat16 a hundred times as slowly as float32."""
MOST_OF_TRANSFORMERS = {
    "float32": {(1, 8): 0.65, (1, 128): 0.75, (8, 128): 0.78},
    "bfloat16": {(1, 8): 0.8, (1, 128): 0.75, (8, 128): 0.65},
}
LEAST_OF_LIMIT = {("float32", (8, 128)): 0.85}
LIMIT = "limit"
WAYS = {
    "torch": {"Vertebra, compiled": ("vertebra", "compiled"), "Vertebra, packed": ("vertebra", "packed")},
    "jax": {"Vertebra, compiled": ("vertebra", "compiled")},
}
PEERS = {
    "torch": ("transformers, eager", ("transformers", "eager")),
    "jax": ("KerasHub, jitted", ("kerashub", "jitted")),
}
KERNELS = {
    ("torch", "float32"): ("linear", "packed"),
    ("torch", "bfloat16"): ("linear", "packed", "widened"),
    ("jax", "float32"): ("matmul",),
    ("jax", "bfloat16"): ("matmul",),
}
"""The kernels of `products.py` of which the fastest is the limit, by runtime and dtype."""
FORMATS = {"vertebra": "native", "kerashub": "kerashub", "transformers": "transformers"}
Times = dict[Shape, dict[str, list[float]]]
"""The seconds of each turn, by shape and by what was called."""


@dataclass(frozen=True)
class Match:
    """A model in one dtype on one runtime: the processes, and how they are called."""

    model: str
    runtime: str
    dtype: str
    presets: Mapping[str, Path]
    """The preset of each library."""
    python: Mapping[str, str]
    """The interpreter of each library."""
    ways: Mapping[str, tuple[str, str]]
    """By title, the library and the way in which it is called."""
    peer: str | None
    """The title of the way with which the others are compared, if there is one."""
    turns: Mapping[Shape, tuple[int, int]] = field(default_factory=lambda: TURNS)
    on_processor: bool = True
    """Whether the passes run on a processor: the bars are for these."""

    def commands(self) -> dict[str, list[str]]:
        """Returns the command line of each process, by library, and that of the limit."""
        lines = {
            library: [
                self.python[library],
                str(HERE / "forward_pass.py"),
                *(library, self.runtime, self.model, self.dtype, str(self.presets[library])),
            ]
            for library, _ in self.ways.values()
        }
        products = [self.python["vertebra"], str(HERE / "products.py"), self.runtime, self.dtype]
        return lines | {LIMIT: [*products, str(self.presets["vertebra"])]}

    def kernels(self) -> dict[str, tuple[str, str]]:
        """Returns the kernels of the limit, by title, as `ways` has those of the libraries."""
        kernels = KERNELS[self.runtime, self.dtype]
        return {f"{LIMIT}: {kernel}": (LIMIT, kernel) for kernel in kernels}


def measure_forward(
    dtype: str,
    runs: int,
    peers: Path,
    work: Path,
    models: Sequence[str] = tuple(MODELS),
    runtimes: Sequence[str] = RUNTIMES,
) -> list[Row]:
    """Measures forward passes for each of three shapes.

    Args:
        dtype: The dtype of weights and computation.
        runs: How many groups of processes there are, one after the other.
        peers: The interpreter of the environment with KerasHub and transformers.
        work: A folder for the presets.
        models: Names in `MODELS`.
        runtimes: The runtimes.
    """
    matches = [match_of(name, runtime, dtype, peers, work) for name in models for runtime in runtimes]
    return [row for match in matches for row in rows(match, together(times_of(match) for _ in range(runs)))]


def match_of(name: str, runtime: str, dtype: str, peers: Path, work: Path) -> Match:
    """Returns one of `MODELS` with its peer; presets in float32 serve both dtypes, as each library casts them."""
    peer, way = PEERS[runtime]
    ways = {**WAYS[runtime], peer: way}
    libraries = {library for library, _ in ways.values()}
    presets = {library: preset_of(work, peers, name, FORMATS[library]) for library in libraries}
    for folder in presets.values():
        read_through(folder)
    python = {library: sys.executable if library == "vertebra" else str(peers) for library in libraries}
    return Match(name, runtime, dtype, presets, python, ways, peer)


def times_of(match: Match) -> Times:
    """Runs one group of processes, in turn for each shape; a way that would take too long has no times."""
    found: Times = {}
    with waiting(match.commands()) as processes:
        ways = match.ways | match.kernels()
        for shape, (turns, calls) in match.turns.items():
            asks = {title: partial(_call, processes[process], way, shape) for title, (process, way) in ways.items()}
            asks = {title: ask for title, ask in asks.items() if expected(found, title, shape) <= MOST_SECONDS}
            in_turn(1, **{title: partial(ask, 2) for title, ask in asks.items()})  # compiles, and warms up
            times = in_turn(turns, **{title: partial(ask, calls) for title, ask in asks.items()})
            found[shape] = {title: times.get(title, []) for title in ways}
    return found


def expected(found: Times, title: str, shape: Shape) -> float:
    """Returns the seconds that a call takes if they grow with the tokens, from the last shape before."""
    if not found:
        return 0
    (batch, length), times = list(found.items())[-1]
    if not is_measured(times[title]):
        return float("inf")
    return median(times[title]) * shape[0] * shape[1] / (batch * length)


def is_measured(times: Sequence[float | None]) -> bool:
    """Says whether there are times: of a way that is too slow there are none, and for a missing kernel each is None."""
    return bool(times) and None not in times


def together(groups: Iterable[Times]) -> Times:
    """Returns the turns of several groups as those of one, without ways that one of them left out."""
    first, *others = groups
    for other in others:
        for shape, times in other.items():
            for title, seconds in times.items():
                known = first[shape][title]
                first[shape][title] = known + seconds if known and seconds else []
    return first


def rows(match: Match, times: Times) -> list[Row]:
    """Returns a row for each shape and way."""
    return [_row(match, shape, title, times[shape]) for shape in times for title in match.ways]


def _call(process: Waiting, way: str, shape: Shape, calls: int) -> float | None:
    return process.ask(f"{way} {shape[0]} {shape[1]} {calls}")


def _row(match: Match, shape: Shape, title: str, times: Mapping[str, list[float]]) -> Row:
    own, peer = times[title], times[match.peer] if match.peer else []
    limit = min((times[kernel] for kernel in match.kernels() if is_measured(times[kernel])), key=median, default=[])
    work = operations(layer_sizes(match.presets["vertebra"]), *shape)
    row = {
        "model": f"{model_of(match.model).title}, {match.runtime}",
        "shape": f"{shape[0]}×{shape[1]}",
        "computed by": f"*{title}*" if title == match.peer else title,
        "time, ms": median(own) * 1000 if own else None,
        "quartiles, ms": [1000 * value for value in quartiles(own)] if own else None,
        "of the peer's, %": ratio(own, peer) if own and peer else None,
        "limit, ms": median(limit) * 1000 if limit else None,
        "limit, GFLOP/s": round(work / median(limit) / 1e9) if limit else None,
        "of the limit, %": ratio(limit, own) if own and limit else None,
    }
    if match.on_processor and match.dtype == "bfloat16":
        row["the processor's products"] = "bfloat16" if machine.has_bfloat16_products() else "float32 alone"
    if not own:
        is_missed = peer and _has_bars(match, shape)
        return row | {"bars": f"{'missed' if is_missed else 'left out'}: over {MOST_SECONDS} s"}
    return row | {"bars": None if title == match.peer else verdict(_bars(match, shape, row))}


def _has_bars(match: Match, shape: Shape) -> bool:
    return match.on_processor and match.runtime == "torch" and shape in MOST_OF_TRANSFORMERS[match.dtype]


def _bars(match: Match, shape: Shape, row: Row) -> dict[str, bool]:
    """Returns whether each bar holds; the bars are of passes on torch."""
    if not _has_bars(match, shape):
        return {}
    share, of_limit = row["of the peer's, %"], row["of the limit, %"]
    least = LEAST_OF_LIMIT.get((match.dtype, shape))
    bars = {}
    if share is not None:
        bars["time"] = share <= MOST_OF_TRANSFORMERS[match.dtype][shape]
    if least is not None and of_limit is not None:
        bars["limit"] = of_limit >= least
    return bars
