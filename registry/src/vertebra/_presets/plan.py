"""Planning: what a preset will cost, from its config and the headers of files that are here already."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from vertebra._discovery import runtimes
from vertebra._formats.description import PresetDescription
from vertebra._formats.registry import read_description
from vertebra._resolve.consistent_read import read_consistently
from vertebra._resolve.preset_folder import CONFIG, PresetFolder
from vertebra._system.memory import host_memory
from vertebra._weights.tensor_entry import TensorEntry, itemsize
from vertebra.errors import PresetConfigError
from vertebra.interfaces import Runtime
from vertebra.specs import LoraConfig, TensorRule

_ADAM = 3
"""Numbers that Adam needs for each trained one: its gradient and two moments (Kingma & Ba 2014, arXiv:1412.6980)."""
_LORA_BYTES = 4
"""Of each number of an adapter, which is kept in float32 whatever its base is in."""
DTYPES = ("float64", "float32", "float16", "bfloat16", "mixed_float16", "mixed_bfloat16")


@dataclass(frozen=True, slots=True)
class _Weight:
    parameters: int
    dtype: str
    """As it is stored."""
    viewed: bool = True
    """Whether it can be viewed where it lies, if it is loaded in this dtype."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What loading and training a preset takes, in bytes unless said otherwise."""

    handle: str
    format: str
    backbone: str
    to_fetch: int
    """Files that are not on this machine yet."""
    files: int
    """All files that a load reads."""
    parameters: int
    weights: int
    """The weights in the dtype that is asked for."""
    converted: int
    """The part of them that is new memory, because it is stored in another dtype or in an order of axes that cannot be
    viewed; the rest is viewed in the files."""
    train_all: int
    """Gradients and moments of Adam, for all parameters."""
    lora_parameters: int | None
    train_lora: int | None
    """The adapter, its gradients and moments of Adam."""
    not_read: str | None
    """The index of a second checkpoint, whose shards are not read, or None if there is just one."""
    place: str
    """Where it was asked to fit: the name of a device, or `memory`."""
    free: int | None

    def fits(self, needed: int) -> bool | None:
        """Whether so many bytes are free there, or None if that cannot be told."""
        return None if self.free is None else needed <= self.free


def plan_preset(
    preset: str, dtype: str | None = None, runtime: str | None = None, lora_rank: int | None = None
) -> Plan:
    """Works out what a preset costs before anything is downloaded or allocated.

    Args:
        preset: What `from_preset` takes.
        dtype: Dtype or dtype policy, or None for float32.
        runtime: The runtime whose first device it shall fit, or None for this machine's memory.
        lora_rank: Rank of a LoRA adapter on the architecture's own targets, or None.

    Raises:
        PresetError: as `from_preset` does for what is read.
        LoraConfigError: the rank is out of range.
    """
    dtype = dtype or "float32"
    if dtype not in DTYPES:
        raise PresetConfigError("plan", f"dtype={dtype!r} is not a dtype policy of floats", f"Use {', '.join(DTYPES)}")
    adapter = None if runtime is None else runtimes.bind(runtime)
    return read_consistently(preset, partial(_plan, dtype=dtype, runtime=adapter, lora_rank=lora_rank))


def _plan(folder: PresetFolder, dtype: str, runtime: Runtime | None, lora_rank: int | None) -> Plan:
    place, free = _room(runtime)
    contents = read_description(folder)
    names = contents.files.used(folder.names)
    read = [file for file in folder.files if file.name in names | {CONFIG}]
    here = all(file.path is not None for file in read)
    weights = _stored(contents, runtime) if here else _built(contents, sum(f.size for f in read if f.name != CONFIG))
    floats = "float32" if dtype.startswith("mixed") else dtype
    parameters = sum(weight.parameters for weight in weights)
    lora = None if lora_rank is None else _lora_parameters(contents, LoraConfig(lora_rank))
    return Plan(
        handle=str(folder.handle),
        format=contents.format,
        backbone=contents.backbone,
        to_fetch=sum(file.size for file in read if file.path is None),
        files=sum(file.size for file in read),
        parameters=parameters,
        weights=sum(_size(weight, floats) for weight in weights),
        converted=sum(_size(weight, floats) for weight in weights if not _is_viewed(weight, floats)),
        train_all=parameters * _ADAM * itemsize(floats),
        lora_parameters=lora,
        train_lora=None if lora is None else lora * (1 + _ADAM) * max(_LORA_BYTES, itemsize(floats)),
        not_read=contents.not_read,
        place=place,
        free=free,
    )


def _size(weight: _Weight, floats: str) -> int:
    return weight.parameters * itemsize(_wanted(weight.dtype, floats))


def _is_viewed(weight: _Weight, floats: str) -> bool:
    return weight.viewed and _wanted(weight.dtype, floats) == weight.dtype


def _wanted(stored: str, dtype: str) -> str:
    return dtype if "float" in stored else stored


def _stored(contents: PresetDescription, runtime: Runtime | None) -> list[_Weight]:
    """Reads the weights' sizes in the headers of the files."""
    preset = contents.open_headers()
    rules, _, _ = preset.rules()
    present = [(rule, preset.entries[rule.tensor]) for rule in rules.values() if rule.tensor in preset.entries]
    return [_weight(rule, entry, runtime) for rule, entry in present]


def _weight(rule: TensorRule, entry: TensorEntry, runtime: Runtime | None) -> _Weight:
    """Without a runtime, it is taken to view whatever has the weight's numbers in some regular order."""
    in_order = rule.part is None and not (rule.transpose and len(entry.shape) > 1)
    viewed = rule.axes is None and (runtime is None or runtime.can_view(entry.start, in_order))
    return _Weight(math.prod(entry.shape) // (rule.part or (0, 1))[1], entry.dtype, viewed)


def _built(contents: PresetDescription, stored: int) -> list[_Weight]:
    """Builds the architecture without values, because its files are elsewhere; their size tells the floats' dtype."""
    weights = [(math.prod(variable.shape), str(variable.dtype)) for variable in _abstract(contents)[1].values()]
    halved = stored < 3 * sum(parameters for parameters, _ in weights)
    there = "bfloat16" if halved else "float32"
    return [_Weight(parameters, there if "float" in dtype else dtype) for parameters, dtype in weights]


def _abstract(contents: PresetDescription) -> tuple[Any, Mapping[str, Any]]:
    runtimes.bind_any()
    from vertebra._presets.load import build, class_of
    from vertebra._weights.abstract import abstract_build
    from vertebra._weights.layer_paths import weight_names

    with abstract_build():
        backbone = build(class_of(contents), contents, {})
    return backbone, weight_names(backbone)


def _lora_parameters(contents: PresetDescription, config: LoraConfig) -> int:
    backbone, _ = _abstract(contents)
    from vertebra._lora.layers.linear_view import view_of
    from vertebra._lora.targets import find_default_targets, roles_of

    targets = find_default_targets(backbone, roles_of(backbone))
    views = [view_of(layer) for layer in targets.values()]
    return sum(config.rank * (view.in_features + view.out_features) for view in views)


def _room(runtime: Runtime | None) -> tuple[str, int | None]:
    if runtime is None:
        return "memory", host_memory().free
    device = runtime.devices()[0]
    return device.name, host_memory().free if device.kind == "cpu" else device.free_bytes
