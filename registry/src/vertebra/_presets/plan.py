"""Plans a load: the bytes and memory that a preset needs, from its config and the headers of its local files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial

from vertebra._discovery import runtimes
from vertebra._formats.description import OpenPreset, PresetDescription
from vertebra._formats.registry import read_description
from vertebra._keras.dtype_names import DTYPES, not_a_dtype
from vertebra._presets.cache_plan import CachePlan, Lengths, plan_cache
from vertebra._presets.plans.devices import DevicesPlan, DevicesRequest, PlannedModel, plan_devices
from vertebra._presets.plans.weights import (
    StoredWeight,
    abstract,
    declared_lora_parameters,
    estimated_weights,
    loaded_dtype,
    lora_parameters,
    spec_of,
    stored_weights,
    whole_shapes,
)
from vertebra._resolve.consistent_read import read_consistently
from vertebra._resolve.preset_folder import PresetFolder
from vertebra._system.memory import host_memory
from vertebra._tasks.tasks import describe_uses
from vertebra._weights.tensor_entry import itemsize
from vertebra.errors import PresetConfigError
from vertebra.file_names import CONFIG
from vertebra.interfaces import Runtime
from vertebra.specs import LoraConfig

_ADAM = 3
"""Numbers that Adam keeps for each trained one: its gradient and two moments (Kingma & Ba 2014, arXiv:1412.6980)."""
_LORA_BYTES = 4
"""Bytes of each number of an adapter: adapters are float32, whatever the dtype of the base weights."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a preset needs to be loaded and trained; sizes are in bytes."""

    handle: str
    format: str
    backbone: str
    to_fetch: int
    """Bytes of the files that are not on this machine yet."""
    files: int
    """Bytes of all files that a load reads."""
    parameters: int
    """Number of parameters of the backbone."""
    task: str | None
    """The task that the preset holds, or None; without a plugin that describes tasks, it is not known."""
    head_parameters: int
    """Number of parameters of the task's head, which is trained with an adapter, too."""
    head: int
    """Bytes of the head in the requested dtype."""
    weights: int
    """Bytes of the weights in the requested dtype."""
    converted: int
    """Bytes of the weights that are copied to new memory, because their stored dtype or order of axes differs; the
    others are viewed in the mapped files."""
    train_all: int
    """Bytes of Adam's gradients and moments for all parameters, including the head's."""
    lora_parameters: int | None
    """Number of parameters of the adapter."""
    train_lora: int | None
    """Bytes of the adapter, its gradients and Adam's moments, and of those of the head."""
    cache: CachePlan | None
    """The cache with which text is generated, or None if it was not asked for."""
    not_read: str | None
    """The shard index of a second checkpoint, which is not read, or None if there is just one."""
    device: str
    """The device that the preset should fit: its name, or `memory` for this machine's memory."""
    free: int | None
    """Free bytes on the device, or None if unknown."""
    devices: DevicesPlan | None = None
    """What each of many devices needs, or None if they were not asked for."""

    def fits(self, needed: int) -> bool | None:
        """Says whether the device has enough free bytes; None if unknown."""
        return None if self.free is None else needed <= self.free


def plan_preset(
    preset: str,
    dtype: str | None = None,
    runtime: str | None = None,
    lora_rank: int | None = None,
    lengths: Lengths | None = None,
    devices: DevicesRequest | None = None,
) -> Plan:
    """Works out the bytes that a preset needs, before any weights are downloaded or allocated.

    Args:
        preset: A preset, as passed to `from_preset`.
        dtype: Dtype or dtype policy, or None for float32.
        runtime: The runtime whose first device the preset should fit, or None for this machine's memory.
        lora_rank: Rank of a LoRA adapter on the architecture's default targets, or None.
        lengths: The text that is generated, or None for no cache.
        devices: Many devices that are to be planned, or None.

    Raises:
        PresetError: as in `from_preset`, for the files that are read.
        LoraConfigError: the rank is out of range.
        ArgumentError: the architecture cannot generate text with a cache, or not such a text.
        MeshError, LayoutError: as in `plan_devices`.
    """
    dtype = dtype or "float32"
    if dtype not in DTYPES:
        raise PresetConfigError("plan", not_a_dtype(dtype), f"Use {', '.join(DTYPES)}")
    adapter = None if runtime is None else runtimes.bind(runtime)
    wanted = partial(_plan, dtype=dtype, runtime=adapter, lora_rank=lora_rank, lengths=lengths, devices=devices)
    return read_consistently(preset, wanted)


def _plan(
    folder: PresetFolder,
    dtype: str,
    runtime: Runtime | None,
    lora_rank: int | None,
    lengths: Lengths | None,
    devices: DevicesRequest | None,
) -> Plan:
    device, free = _free_memory(runtime)
    if devices is not None and devices.memory is None and runtime is not None:
        devices = replace(devices, memory=free)
    description = read_description(folder)
    names = description.files.used(folder.names)
    of_backbone = [file for file in folder.files if file.name in names | {CONFIG}]
    is_local = all(file.path is not None for file in of_backbone)
    stored = sum(file.size for file in of_backbone if file.name != CONFIG)
    preset = description.open_headers() if is_local or folder.single_file else None
    tensors = preset.backbone_tensors() if preset else None
    weights = (
        stored_weights(preset, tensors.rules, runtime) if preset and tensors else estimated_weights(description, stored)
    )
    uses = describe_uses(description, tensors.outside if tensors else None, tokenizer=False)
    task = uses.tasks[0] if uses.tasks else None
    read = [file for file in folder.files if file in of_backbone or (task and file.name in uses.files.fetched)]
    head = (task.facts.parameters or 0) if task else 0
    floats = "float32" if dtype.startswith("mixed") else dtype
    parameters = sum(weight.parameters for weight in weights.values())
    cache = None if lengths is None else _cache(preset.description if preset else description, lengths, dtype, runtime)
    lora = None if lora_rank is None else lora_parameters(description, LoraConfig(lora_rank), preset)
    return Plan(
        handle=str(folder.handle),
        format=description.format,
        backbone=description.backbone,
        to_fetch=sum(file.size for file in read if file.path is None),
        files=sum(file.size for file in read),
        parameters=parameters,
        task=task.name if task else None,
        head_parameters=head,
        head=head * itemsize(floats),
        weights=sum(_loaded_size(weight, floats) for weight in weights.values()),
        converted=sum(
            _loaded_size(weight, floats) for weight in weights.values() if not _can_be_viewed(weight, floats)
        ),
        train_all=(parameters + head) * _ADAM * itemsize(floats),
        lora_parameters=lora,
        train_lora=None if lora is None else _lora_bytes(lora, head, itemsize(floats)),
        cache=cache,
        not_read=description.not_read,
        device=device,
        free=free,
        devices=None
        if devices is None
        else plan_devices(_model(preset or description, weights, head, dtype, cache, devices), devices),
    )


def _model(
    opened: OpenPreset | PresetDescription,
    weights: Mapping[str, StoredWeight],
    head: int,
    dtype: str,
    cache: CachePlan | None,
    request: DevicesRequest,
) -> PlannedModel:
    preset = opened if isinstance(opened, OpenPreset) else None
    description = opened.description if isinstance(opened, OpenPreset) else opened
    shapes, spec = whole_shapes(weights, description, preset), spec_of(description.backbone)
    adapter = 0
    if request.train == "lora":
        config = LoraConfig(request.rank)
        declared = declared_lora_parameters(description.backbone, weights, shapes, config)
        adapter = lora_parameters(description, config, preset) if declared is None else declared
    return PlannedModel(
        backbone=description.backbone,
        weights=weights,
        shapes=shapes,
        layout=() if spec is None else spec.layout,
        arguments=description.arguments,
        dtype=dtype,
        head=head,
        adapter=adapter,
        cache=0 if cache is None else cache.bytes,
        is_decoder=spec is not None and spec.cache is not None,
    )


def _lora_bytes(lora: int, head: int, size: int) -> int:
    """Returns the bytes of an adapter, and of Adam's numbers for it and for a head whose numbers have `size` bytes."""
    return lora * (1 + _ADAM) * max(_LORA_BYTES, size) + head * _ADAM * size


def _loaded_size(weight: StoredWeight, floats: str) -> int:
    return weight.parameters * itemsize(loaded_dtype(weight.dtype, floats))


def _can_be_viewed(weight: StoredWeight, floats: str) -> bool:
    return weight.viewed and loaded_dtype(weight.dtype, floats) == weight.dtype


def _cache(description: PresetDescription, lengths: Lengths, dtype: str, runtime: Runtime | None) -> CachePlan:
    size = itemsize(dtype.removeprefix("mixed_"))
    chosen = runtime or runtimes.expected()
    is_compiled = chosen is None or chosen.compiles_each_shape  # which takes more, if anything may run it
    try:
        return plan_cache(description.backbone, description.arguments, lengths, size, is_compiled)
    except KeyError:  # an argument that the config leaves to the default of the class
        arguments = abstract(description)[0].constructor_config()
        return plan_cache(description.backbone, arguments, lengths, size, is_compiled)


def _free_memory(runtime: Runtime | None) -> tuple[str, int | None]:
    if runtime is None:
        return "memory", host_memory().free
    device = runtime.devices()[0]
    return device.name, host_memory().free if device.kind == "cpu" else device.free_bytes
