"""Plans a load: the bytes and memory that a preset needs, from its config and the headers of its local files."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from vertebra._discovery import runtimes
from vertebra._discovery.backbone_classes import bind_any
from vertebra._formats.description import OpenPreset, PresetDescription
from vertebra._formats.registry import read_description
from vertebra._keras.dtype_names import DTYPES, not_a_dtype
from vertebra._presets.cache_plan import CachePlan, Lengths, plan_cache
from vertebra._resolve.consistent_read import read_consistently
from vertebra._resolve.preset_folder import PresetFolder
from vertebra._system.memory import host_memory
from vertebra._tasks.tasks import describe_uses
from vertebra._weights.tensor_entry import TensorEntry, itemsize
from vertebra._weights.tensor_layout import weight_shape
from vertebra.errors import PresetConfigError
from vertebra.file_names import CONFIG
from vertebra.interfaces import Runtime
from vertebra.specs import LoraConfig
from vertebra.translations import TensorRule

_ADAM = 3
"""Numbers that Adam keeps for each trained one: its gradient and two moments (Kingma & Ba 2014, arXiv:1412.6980)."""
_LORA_BYTES = 4
"""Bytes of each number of an adapter: adapters are float32, whatever the dtype of the base weights."""


@dataclass(frozen=True, slots=True)
class _Weight:
    parameters: int
    dtype: str
    """The stored dtype."""
    viewed: bool = True
    """Whether a load in the stored dtype can view the weight in the mapped file."""


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

    def fits(self, needed: int) -> bool | None:
        """Says whether the device has enough free bytes; None if unknown."""
        return None if self.free is None else needed <= self.free


def plan_preset(
    preset: str,
    dtype: str | None = None,
    runtime: str | None = None,
    lora_rank: int | None = None,
    lengths: Lengths | None = None,
) -> Plan:
    """Works out the bytes that a preset needs, before any weights are downloaded or allocated.

    Args:
        preset: A preset, as passed to `from_preset`.
        dtype: Dtype or dtype policy, or None for float32.
        runtime: The runtime whose first device the preset should fit, or None for this machine's memory.
        lora_rank: Rank of a LoRA adapter on the architecture's default targets, or None.
        lengths: The text that is generated, or None for no cache.

    Raises:
        PresetError: as in `from_preset`, for the files that are read.
        LoraConfigError: the rank is out of range.
        ArgumentError: the architecture cannot generate text with a cache, or not such a text.
    """
    dtype = dtype or "float32"
    if dtype not in DTYPES:
        raise PresetConfigError("plan", not_a_dtype(dtype), f"Use {', '.join(DTYPES)}")
    adapter = None if runtime is None else runtimes.bind(runtime)
    return read_consistently(preset, partial(_plan, dtype=dtype, runtime=adapter, lora_rank=lora_rank, lengths=lengths))


def _plan(
    folder: PresetFolder, dtype: str, runtime: Runtime | None, lora_rank: int | None, lengths: Lengths | None
) -> Plan:
    device, free = _free_memory(runtime)
    description = read_description(folder)
    names = description.files.used(folder.names)
    of_backbone = [file for file in folder.files if file.name in names | {CONFIG}]
    is_local = all(file.path is not None for file in of_backbone)
    stored = sum(file.size for file in of_backbone if file.name != CONFIG)
    preset = description.open_headers() if is_local or folder.single_file else None
    tensors = preset.backbone_tensors() if preset else None
    weights = _stored_weights(preset, tensors.rules, runtime) if preset and tensors else _estimated(description, stored)
    uses = describe_uses(description, tensors.outside if tensors else None, tokenizer=False)
    task = uses.tasks[0] if uses.tasks else None
    read = [file for file in folder.files if file in of_backbone or (task and file.name in uses.files.fetched)]
    head = (task.facts.parameters or 0) if task else 0
    floats = "float32" if dtype.startswith("mixed") else dtype
    parameters = sum(weight.parameters for weight in weights)
    lora = None if lora_rank is None else _lora_parameters(description, LoraConfig(lora_rank), preset)
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
        weights=sum(_loaded_size(weight, floats) for weight in weights),
        converted=sum(_loaded_size(weight, floats) for weight in weights if not _can_be_viewed(weight, floats)),
        train_all=(parameters + head) * _ADAM * itemsize(floats),
        lora_parameters=lora,
        train_lora=None if lora is None else _lora_bytes(lora, head, itemsize(floats)),
        cache=None
        if lengths is None
        else _cache(preset.description if preset else description, lengths, dtype, runtime),
        not_read=description.not_read,
        device=device,
        free=free,
    )


def _lora_bytes(lora: int, head: int, size: int) -> int:
    """Returns the bytes of an adapter, and of Adam's numbers for it and for a head whose numbers have `size` bytes."""
    return lora * (1 + _ADAM) * max(_LORA_BYTES, size) + head * _ADAM * size


def _loaded_size(weight: _Weight, floats: str) -> int:
    return weight.parameters * itemsize(_loaded_dtype(weight.dtype, floats))


def _can_be_viewed(weight: _Weight, floats: str) -> bool:
    return weight.viewed and _loaded_dtype(weight.dtype, floats) == weight.dtype


def _loaded_dtype(stored: str, dtype: str) -> str:
    return dtype if "float" in stored else stored


def _stored_weights(preset: OpenPreset, rules: Mapping[str, TensorRule], runtime: Runtime | None) -> list[_Weight]:
    """Returns the sizes and dtypes of the weights, from the headers of the files."""
    present = [(rule, preset.entries[rule.tensor]) for rule in rules.values() if rule.tensor in preset.entries]
    return [_weight(rule, entry, runtime) for rule, entry in present]


def _weight(rule: TensorRule, entry: TensorEntry, runtime: Runtime | None) -> _Weight:
    """Describes one weight; without a runtime, every tensor is assumed to be viewable unless a rule permutes axes."""
    in_order = rule.part is None and not (rule.transpose and len(entry.shape) > 1)
    copied = rule.axes is not None or rule.first_row or rule.added or entry.is_encoded
    viewed = not copied and (runtime is None or runtime.can_view(entry.start, in_order))
    return _Weight(math.prod(weight_shape(rule, entry.shape) or entry.shape), entry.dtype, viewed)


def _estimated(description: PresetDescription, stored: int) -> list[_Weight]:
    """Estimates the weights of a preset whose files are not local.

    The architecture, built without values, gives the shapes; the listed size of the files, `stored`, the dtype.
    """
    weights = [(math.prod(variable.shape), str(variable.dtype)) for variable in _abstract(description)[1].values()]
    is_half = stored < 3 * sum(parameters for parameters, _ in weights)
    stored_dtype = "bfloat16" if is_half else "float32"
    return [_Weight(parameters, stored_dtype if "float" in dtype else dtype) for parameters, dtype in weights]


def _abstract(description: PresetDescription, preset: OpenPreset | None = None) -> tuple[Any, Mapping[str, Any]]:
    bind_any(description.backbone)
    from vertebra._presets.backbones.build import build, class_of
    from vertebra._weights.abstract import abstract_build
    from vertebra._weights.layer_paths import weight_names

    backbone_class = class_of(description)
    if preset is not None:
        preset.check_layers(backbone_class, {})
    with abstract_build():
        backbone = build(backbone_class, description, {})
    return backbone, weight_names(backbone)


def _lora_parameters(description: PresetDescription, config: LoraConfig, preset: OpenPreset | None) -> int:
    backbone, _ = _abstract(description, preset)
    from vertebra._lora.layers.linear_view import view_of
    from vertebra._lora.targets import find_default_targets, roles_of

    targets = find_default_targets(backbone, roles_of(backbone))
    views = [view_of(layer) for layer in targets.values()]
    return sum(config.rank * (view.in_features + view.out_features) for view in views)


def _cache(description: PresetDescription, lengths: Lengths, dtype: str, runtime: Runtime | None) -> CachePlan:
    size = itemsize(dtype.removeprefix("mixed_"))
    chosen = runtime or runtimes.expected()
    is_compiled = chosen is None or chosen.compiles_each_shape  # which takes more, if anything may run it
    try:
        return plan_cache(description.backbone, description.arguments, lengths, size, is_compiled)
    except KeyError:  # an argument that the config leaves to the default of the class
        arguments = _abstract(description)[0].constructor_config()
        return plan_cache(description.backbone, arguments, lengths, size, is_compiled)


def _free_memory(runtime: Runtime | None) -> tuple[str, int | None]:
    if runtime is None:
        return "memory", host_memory().free
    device = runtime.devices()[0]
    return device.name, host_memory().free if device.kind == "cpu" else device.free_bytes
