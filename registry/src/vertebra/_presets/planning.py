"""Planning: what a preset will cost, from its config and the headers of files that are here already."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from vertebra import _runtimes
from vertebra._memory import host_memory
from vertebra._presets.contents import PresetContents, translated_rules
from vertebra._presets.folder import CONFIG, open_folder
from vertebra._presets.formats import read_contents
from vertebra._weights.checkpoint import read_headers
from vertebra._weights.safetensors import itemsize
from vertebra.errors import PresetConfigError
from vertebra.specs import Device, LoraConfig

_ADAM = 3
"""Numbers that Adam needs for each trained one: its gradient and two moments (Kingma & Ba 2014, arXiv:1412.6980)."""
_TRAINED_BYTES = 4
DTYPES = ("float64", "float32", "float16", "bfloat16", "mixed_float16", "mixed_bfloat16")


@dataclass(frozen=True, slots=True)
class _Weight:
    parameters: int
    dtype: str


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
    """The part of them that is new memory, because it is stored in another dtype; the rest is viewed in the files."""
    train_all: int
    """Gradients and moments of Adam, for all parameters."""
    lora_parameters: int | None
    train_lora: int | None
    """The adapter, its gradients and moments of Adam."""
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
    place, free = _room(runtime)
    folder = open_folder(preset)
    contents = read_contents(folder)
    files = contents.files.used(folder.names) | {CONFIG}
    read = [file for file in folder.files if file.name in files]
    here = all(file.path is not None for file in read)
    weights = _stored(contents) if here else _built(contents)
    stored_as = "float32" if dtype.startswith("mixed") else dtype
    parameters = sum(weight.parameters for weight in weights.values())
    lora = None if lora_rank is None else _lora_parameters(contents, LoraConfig(lora_rank))
    return Plan(
        handle=str(folder.handle),
        format=contents.format,
        backbone=contents.backbone,
        to_fetch=sum(file.size for file in read if file.path is None),
        files=sum(file.size for file in read),
        parameters=parameters,
        weights=sum(weight.parameters * itemsize(_wanted(weight.dtype, stored_as)) for weight in weights.values()),
        converted=sum(
            weight.parameters * itemsize(stored_as)
            for weight in weights.values()
            if _wanted(weight.dtype, stored_as) != weight.dtype
        ),
        train_all=parameters * _ADAM * _TRAINED_BYTES,
        lora_parameters=lora,
        train_lora=None if lora is None else lora * (1 + _ADAM) * _TRAINED_BYTES,
        place=place,
        free=free,
    )


def _wanted(stored: str, dtype: str) -> str:
    return dtype if "float" in stored else stored


def _stored(contents: PresetContents) -> dict[str, _Weight]:
    """Reads the weights' sizes in the headers of the files."""
    headers = read_headers(contents.files, contents.folder.names, contents.folder.fetch)
    entries = {name: entry for header in headers.values() for name, entry in header.entries.items()}
    if contents.translation is not None:
        _, entries, _ = translated_rules(contents.translation, contents.arguments, entries)
    return {name: _Weight(math.prod(entry.shape), entry.dtype) for name, entry in entries.items()}


def _built(contents: PresetContents) -> dict[str, _Weight]:
    """Builds the architecture without values, because its files are elsewhere."""
    return {
        name: _Weight(math.prod(variable.shape), str(variable.dtype))
        for name, variable in _abstract(contents)[1].items()
    }


def _abstract(contents: PresetContents) -> tuple[Any, Mapping[str, Any]]:
    _runtimes.bind()
    from vertebra._presets.loading import build, class_of
    from vertebra._weights.abstract import abstract_build
    from vertebra._weights.naming import weight_names
    from vertebra.backbone import Backbone

    with abstract_build():
        backbone = build(class_of(contents, Backbone), contents, {})
    return backbone, weight_names(backbone)


def _lora_parameters(contents: PresetContents, config: LoraConfig) -> int:
    backbone, _ = _abstract(contents)
    from vertebra._lora.sites import site_of
    from vertebra._lora.targets import find_targets

    targets = find_targets(backbone, backbone.default_lora_layer_names(), backbone.lora_roles)
    sites = [site_of(layer) for layer in targets.values()]
    return sum(config.rank * (site.in_features + site.out_features) for site in sites)


def _room(runtime: str | None) -> tuple[str, int | None]:
    if runtime is None:
        return "memory", host_memory().free
    device: Device = _runtimes.bind(runtime).devices()[0]
    if device.kind == "cpu":
        return device.name, host_memory().free
    return device.name, device.free_bytes
