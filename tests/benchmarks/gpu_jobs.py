"""What `gpu.py` measures: forward passes, LoRA steps and loads to the device, in float32 and in bfloat16."""

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median

from forward import Match, Shape, rows, times_of
from loading import command, preset_of
from measure import ENVIRONMENT, Row, figures, in_turn, quartiles, ratio
from models import model_of
from products import layer_sizes
from training import LIMITS, PEFT, VERTEBRA, VERTEBRA_IN_TORCH, train_together
from turns import Waiting

HERE = Path(__file__).parent
MODELS = ("bert", "gemma", "gpt2")
DTYPES = ("float32", "bfloat16")
BYTES = {"float32": 4, "bfloat16": 2}
TURNS: dict[Shape, tuple[int, int]] = {(1, 8): (5, 20), (1, 128): (5, 20), (8, 128): (5, 10), (32, 512): (5, 5)}
FEW_TURNS: dict[Shape, tuple[int, int]] = {(1, 8): (2, 2), (2, 16): (2, 2)}
LOADS = 3


@dataclass(frozen=True)
class Setting:
    """Where the jobs run.

    Args:
        device: `cuda`, or `cpu` to try the jobs themselves.
        peers: The interpreter that has transformers and PEFT.
        has_transformers: Whether it has them.
        has_jax: Whether JAX can compute on the device, too.
        work: A folder for the presets.
        is_tiny: Whether a tiny model takes the place of all, to try the jobs themselves.
    """

    device: str
    peers: Path
    has_transformers: bool
    has_jax: bool
    work: Path
    is_tiny: bool

    def prepare(self) -> None:
        """Sets the environment of all child processes."""
        ENVIRONMENT.update(BENCHMARK_DEVICE=self.device, XLA_PYTHON_CLIENT_PREALLOCATE="false", HF_HUB_OFFLINE="1")
        if self.device == "cpu":
            ENVIRONMENT.update(CUDA_VISIBLE_DEVICES="", JAX_PLATFORMS="cpu")

    def presets(self, model: str) -> dict[str, Path]:
        """Returns the presets of a model by library; each library writes its own, once."""
        formats = {"vertebra": "native", **({"transformers": "transformers"} if self.has_transformers else {})}
        return {library: preset_of(self.work, self.peers, model, format) for library, format in formats.items()}

    def python(self) -> dict[str, str]:
        return {"vertebra": sys.executable, "transformers": str(self.peers)}


def jobs(setting: Setting) -> Iterator[tuple[str, str, Callable[[], list[Row]]]]:
    """Yields the jobs, the most telling ones first: each with the name of its table and a title."""
    for model in ("tiny",) if setting.is_tiny else MODELS:
        for dtype in DTYPES:
            what = f"{model}, {dtype}"
            yield "gpu.forward", f"forward passes of {what}, torch", partial(forward, setting, model, "torch", dtype)
            yield "gpu.training", f"LoRA steps of {what}, torch", partial(training, setting, model, "torch", dtype)
            yield "gpu.loading", f"loads of {what}, torch", partial(loading, setting, model, "torch", dtype)
        for dtype in DTYPES if setting.has_jax else ():
            what = f"{model}, {dtype}"
            yield "gpu.forward", f"forward passes of {what}, jax", partial(forward, setting, model, "jax", dtype)
            yield "gpu.training", f"LoRA steps of {what}, jax", partial(training, setting, model, "jax", dtype)
            yield "gpu.loading", f"loads of {what}, jax", partial(loading, setting, model, "jax", dtype)


def forward(setting: Setting, model: str, runtime: str, dtype: str) -> list[Row]:
    """Measures forward passes, in turn with transformers' eager ones on torch and with the products alone."""
    ways = {"Vertebra, compiled": ("vertebra", "compiled")}
    if runtime == "torch":
        ways["Vertebra, eager"] = ("vertebra", "eager")
        if setting.has_transformers:
            ways["transformers, eager"] = ("transformers", "eager")
    peer = "transformers, eager" if "transformers, eager" in ways else None
    turns = FEW_TURNS if setting.is_tiny else TURNS
    match = Match(
        model, runtime, dtype, setting.presets(model), setting.python(), ways, peer, turns, on_processor=False
    )
    found = rows(match, times_of(match))
    return [{"dtype": dtype, **{title: value for title, value in row.items() if title != "bars"}} for row in found]


def training(setting: Setting, model: str, runtime: str, dtype: str) -> list[Row]:
    """Measures LoRA steps: a torch loop in turn with PEFT's, or Keras's trainer on JAX."""
    presets, python = setting.presets(model), setting.python()

    def line(library: str, loop: str, folder: Path, interpreter: str) -> list[str]:
        return [interpreter, str(HERE / "train.py"), library, runtime, model, loop, str(folder), dtype]

    if runtime == "jax":
        commands = {VERTEBRA: line("vertebra", "keras", presets["vertebra"], python["vertebra"])}
    else:
        commands = {VERTEBRA_IN_TORCH: line("vertebra", "torch", presets["vertebra"], python["vertebra"])}
        if setting.has_transformers:
            commands[PEFT] = line("peft", "torch", presets["transformers"], python["transformers"])
    limit = [sys.executable, str(HERE / "products.py"), runtime, dtype, str(presets["vertebra"])]
    times, of_processes = train_together(commands, limit, runtime)
    alone = min((times[kernel] for kernel in LIMITS[runtime] if None not in times[kernel]), key=median)
    return [
        {
            "dtype": dtype,
            "model": f"{model_of(model).title}, {runtime}",
            "trained by": f"*{title}*" if title == PEFT else title,
            "step, ms": 1000 * median(times[title]),
            "quartiles, ms": [1000 * value for value in quartiles(times[title])],
            "of the peer's, %": ratio(times[title], times[PEFT]) if PEFT in times else None,
            "limit, ms": 1000 * median(alone),
            "of the limit, %": ratio(alone, times[title]),
            "on the GPU, MB": of_processes[title]["gpu_mb"] or None,
        }
        for title in commands
    ]


def loading(setting: Setting, model: str, runtime: str, dtype: str) -> list[Row]:
    """Measures loads from a file to the device, in turn with transformers' own."""
    presets = setting.presets(model)
    lines = {
        f"from a {format} preset": command(setting.peers, "vertebra", runtime, model, "reload", presets[library], dtype)
        for library, format in (("vertebra", "native"), ("transformers", "transformers"))
        if library in presets
    }
    peer = "*by transformers itself*"
    if setting.has_transformers and runtime == "torch":
        lines[peer] = command(setting.peers, "transformers", runtime, model, "reload", presets["transformers"], dtype)
    found = in_turn(1 if setting.is_tiny else LOADS, **{what: partial(figures, line) for what, line in lines.items()})
    limit = copy_seconds(presets["vertebra"], dtype)
    return [
        {
            "dtype": dtype,
            "model": f"{model_of(model).title}, {runtime}",
            "loaded": what,
            "first, s": median(each["seconds"] for each in found[what]),
            "again, s": median(again(found[what])),
            "quartiles, s": quartiles(again(found[what])),
            "again of transformers', %": ratio(again(found[what]), again(found[peer])) if peer in found else None,
            "limit, s": limit,
            "of the limit, %": limit / median(again(found[what])),
        }
        for what in lines
    ]


def again(found: list[Mapping[str, float]]) -> list[float]:
    return [each["again"] for each in found]


def copy_seconds(preset: Path, dtype: str) -> float:
    """Returns the seconds in which weights of this size are copied from the host's memory to torch's device."""
    size = sum(path.stat().st_size for path in preset.glob("*.safetensors")) * BYTES[dtype] / BYTES["float32"]
    copied = sum(inputs * outputs for inputs, outputs, _ in layer_sizes(preset)) * BYTES[dtype]
    with Waiting([sys.executable, str(HERE / "products.py"), "torch", dtype, str(preset)]) as process:
        seconds: float = process.ask("copy 1 1 5")
    return seconds * size / copied


# === The machine ===


def has_transformers(python: Path) -> bool:
    """Says whether an interpreter has transformers and PEFT."""
    if python == Path(sys.executable):
        return all(importlib.util.find_spec(name) for name in ("transformers", "peft"))
    code = "import importlib.util as u; print(all(map(u.find_spec, ('transformers', 'peft'))))"
    return (
        subprocess.run([str(python), "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "True"
    )


def jax_platform() -> str | None:
    """Returns the platform on which JAX computes, or None if it is not installed."""
    code = "import jax; print(jax.default_backend())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=os.environ, check=False)
    return done.stdout.strip().splitlines()[-1] if done.returncode == 0 else None


def gpu_name() -> str | None:
    """Returns the name of the GPU on which torch computes, or None if there is none."""
    code = "import json, torch; c = torch.cuda; print(json.dumps(c.get_device_name() if c.is_available() else None))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    name: str | None = json.loads(done.stdout.strip().splitlines()[-1])
    return name
