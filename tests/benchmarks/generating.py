"""Greedy generation of text: Vertebra on both runtimes, transformers' `generate`, and KerasHub's, in turn."""

import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from statistics import median

import machine
from libraries import Views
from loading import RUNTIMES, preset_of
from measure import Row, in_turn, quartiles, ratio, read_through, verdict
from models import DECODERS, Model, model_of
from turns import Waiting, waiting

HERE = Path(__file__).parent
BATCHES, TOKENS = (1, 8), 128
WARM_UPS = {"all": 1, "first": 5}
"""Calls before those that are measured: Vertebra compiles a prompt's pass on torch when there were a few."""
BYTES = {"float32": 4, "bfloat16": 2}
"""Bytes of a number in each dtype."""
OF_TRANSFORMERS, OF_KERASHUB = 1.5, {"torch": 4.0, "jax": 1.2}
MOST_TO_FIRST, LEAST_OF_BANDWIDTH, LEAST_BY_ROWS = 1.0, 0.7, 0.7
OWN, TRANSFORMERS, KERASHUB, BANDWIDTH = "Vertebra", "*transformers*", "*KerasHub*", "bandwidth"
ONE, EACH = "Vertebra, one adapter", "Vertebra, an adapter for each row"
LIBRARIES = {OWN: "vertebra", TRANSFORMERS: "transformers", KERASHUB: "kerashub"}
WITHOUT_FIRST = (KERASHUB,)
"""Libraries whose answers arrive as a whole."""
Times = Mapping[str, Sequence[float]]
"""For each figure, such as `all` or `first`, its values, turn by turn."""


def measure_generating(
    runs: int,
    peers: Path,
    work: Path,
    models: Sequence[str] = tuple(DECODERS),
    runtimes: Sequence[str] = RUNTIMES,
    dtypes: Sequence[str] | None = None,
    tokens: int = TOKENS,
) -> list[Row]:
    """Measures answers to one prompt and to eight, and eight with adapters.

    Args:
        runs: How many turns the processes have.
        peers: The interpreter of the environment with KerasHub and transformers.
        work: A folder for the presets.
        models: Names in `DECODERS`.
        runtimes: The runtimes of Vertebra and KerasHub; transformers computes on torch.
        dtypes: The dtypes; None means float32, and bfloat16 on processors that multiply in it.
        tokens: The number of new tokens for each prompt.
    """
    found: list[Row] = []
    for name in models:
        preset = preset_of(work, peers, name, "transformers")
        read_through(preset)
        for dtype in dtypes or default_dtypes():
            for runtime in runtimes:
                model = f"{model_of(name).title}, {runtime}, {dtype}"
                commands = {title: command(title, peers, runtime, name, dtype, preset) for title in LIBRARIES}
                times = times_of(commands, runs, tokens)
                size = weight_bytes(preset, model_of(name)) // 4 * BYTES[dtype]
                found += [
                    row(model, runtime, title, times[batch], batch, tokens, size)
                    for batch in times
                    for title in LIBRARIES
                ]
                adapted = command("adapters", peers, runtime, name, dtype, preset)
                found += adapter_rows(model, times_of_adapters(adapted, runs, tokens), tokens)
    return found


def default_dtypes() -> Sequence[str]:
    """Returns the dtypes that are measured unless others are asked for."""
    return tuple(BYTES) if machine.has_bfloat16_products() else ("float32",)


def command(title: str, peers: Path, runtime: str, name: str, dtype: str, preset: Path) -> list[str]:
    """Returns the command line of a library's process."""
    python = str(peers) if title in (TRANSFORMERS, KERASHUB) else sys.executable
    library = LIBRARIES.get(title, title)
    return [python, str(HERE / "generate.py"), library, runtime, name, dtype, str(preset)]


def times_of(commands: Mapping[str, Sequence[str]], runs: int, tokens: int) -> dict[int, dict[str, dict[str, list]]]:
    """Runs the processes in turn; returns for each batch, library and figure its values."""
    found: dict[int, dict[str, dict[str, list]]] = {}
    limit = [sys.executable, str(HERE / "bandwidth.py")]
    with waiting({**commands, BANDWIDTH: limit}) as processes:
        for batch in BATCHES:
            asks = {
                (title, way): _asked(processes[title], way, batch, tokens)
                for title in commands
                for way in (("all",) if title in WITHOUT_FIRST else ("all", "first"))
            }
            warm = {key: [ask() for _ in range(WARM_UPS[key[1]])] for key, ask in asks.items()}
            turns = in_turn(
                runs, **{" ".join(key): ask for key, ask in asks.items()}, bandwidth=processes[BANDWIDTH].ask
            )
            found[batch] = {
                title: {way: turns[f"{title} {way}"] for name, way in asks if name == title}
                | {"warm-up": warm[title, "all"], BANDWIDTH: turns[BANDWIDTH]}
                for title in commands
            }
    return found


def _asked(process: Waiting, way: str, batch: int, tokens: int) -> Callable[[], float]:
    return partial(process.ask, f"{way} {batch} {tokens}")


def times_of_adapters(command: Sequence[str], runs: int, tokens: int) -> Times:
    """Runs Vertebra with adapters, one for all rows in turn with one for each."""
    with waiting({"adapters": command}) as processes:
        asks = {way: _asked(processes["adapters"], way, BATCHES[-1], tokens) for way in ("one", "each")}
        warm = {f"{way} warm-up": [ask()] for way, ask in asks.items()}
        return in_turn(runs, **asks) | warm


def weight_bytes(preset: Path, model: Model) -> int:
    """Returns the bytes in float32 of the weights that each new token needs: all but those of positions."""
    views = Views("", model).load(str(preset), {})
    return 4 * sum(view.size for name, view in views.items() if "wpe" not in name)


def row(model: str, runtime: str, title: str, times: Mapping[str, Times], batch: int, tokens: int, size: int) -> Row:
    """Returns the row of a library, compared with the others."""
    own, transformers, kerashub = times[title], times[TRANSFORMERS], times[KERASHUB]
    first = own.get("first")
    # A prompt's pass gives the first token, so that the others take one step each.
    steps = [(whole - one) / (tokens - 1) for whole, one in zip(own["all"], first, strict=True)] if first else None
    limits = [size / rate for rate in own[BANDWIDTH]]
    found = {
        "model": model,
        "rows": batch,
        "generated by": title,
        "tokens/s": round(batch * tokens / median(own["all"]), 1),
        "quartiles, tokens/s": [round(batch * tokens / value, 1) for value in reversed(quartiles(own["all"]))],
        "of transformers', ×": ratio(transformers["all"], own["all"]),
        "of KerasHub's, ×": ratio(kerashub["all"], own["all"]),
        "to the first token, ms": 1000 * median(first) if first else None,
        "of transformers' first token, %": ratio(first, transformers["first"]) if first else None,
        "a further token, ms": 1000 * median(steps) if steps else None,
        "memory, GB/s": round(median(own[BANDWIDTH]) / 1e9, 1),
        "of the bandwidth, %": ratio(limits, steps) if steps and batch == 1 else None,
        "of one adapter's, %": None,
        "first call, s": own["warm-up"][0],
    }
    return found | {"bars": verdict(bars(found, runtime)) if title == OWN else None}


def bars(found: Row, runtime: str) -> dict[str, bool]:
    """Returns whether each bar holds."""
    held = {"KerasHub": found["of KerasHub's, ×"] >= OF_KERASHUB[runtime]}
    if runtime == "torch":
        held["transformers"] = found["of transformers', ×"] >= OF_TRANSFORMERS
    held["first token"] = found["of transformers' first token, %"] <= MOST_TO_FIRST
    if found["of the bandwidth, %"] is not None:
        held["bandwidth"] = found["of the bandwidth, %"] >= LEAST_OF_BANDWIDTH
    return held


def adapter_rows(model: str, times: Times, tokens: int) -> list[Row]:
    """Returns the rows of generation with adapters."""
    return [_adapter_row(model, title, way, times, tokens) for title, way in ((ONE, "one"), (EACH, "each"))]


def _adapter_row(model: str, title: str, way: str, times: Times, tokens: int) -> Row:
    batch, share = BATCHES[-1], ratio(times["one"], times[way])
    missing = dict.fromkeys(
        (
            "of transformers', ×",
            "of KerasHub's, ×",
            "to the first token, ms",
            "of transformers' first token, %",
            "a further token, ms",
            "memory, GB/s",
            "of the bandwidth, %",
        )
    )
    return {
        "model": model,
        "rows": batch,
        "generated by": title,
        "tokens/s": round(batch * tokens / median(times[way]), 1),
        "quartiles, tokens/s": [round(batch * tokens / value, 1) for value in reversed(quartiles(times[way]))],
        **missing,
        "of one adapter's, %": share,
        "first call, s": times[f"{way} warm-up"][0],
        "bars": verdict({"adapters": share >= LEAST_BY_ROWS}) if way == "each" else None,
    }
