"""PEFT's folders: `adapter_config.json` and `adapter_model.safetensors`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from vertebra._arguments import inputs_known_as
from vertebra._lora.files.adapter_data import AdapterData, AdapterFile, base_of, write_arrays
from vertebra._lora.files.adapter_files import AdapterFiles
from vertebra._lora.files.foreign_names import AdapterNames, base_of_peft
from vertebra._lora.files.fused_modules import FusedModule, flattened, fuse, split
from vertebra._lora.files.peft_added import added_tensors, read_added, tied_copies
from vertebra._lora.files.peft_config import SWITCHES, PeftSettings, read_config
from vertebra._lora.files.peft_copies import drop_copies
from vertebra._lora.files.peft_names import LORA, PREFIX, WRAPPED
from vertebra._lora.files.peft_tensors import SortedTensors, sort_tensors
from vertebra._lora.files.peft_types import method_fields
from vertebra._lora.files.plain_lora import as_plain
from vertebra._lora.fingerprint import fingerprint
from vertebra._lora.layers.adapter_layers import Values, as_arrays, build_adapter_layers
from vertebra._lora.layers.linear_view import is_adaptable, view_of
from vertebra._lora.layers.projections import tied_projections, warn_written
from vertebra._lora.plan import AdapterPlan, LayerPlan
from vertebra._lora.state import require_adapters
from vertebra._lora.trainable import BIAS_NAMES
from vertebra._system.strict_json import dump_json
from vertebra._weights.layer_paths import layer_paths, own_weights
from vertebra.errors import AdapterMismatchError, LoraConfigError
from vertebra.file_names import ADAPTER_CONFIG, ADAPTER_TENSORS

_BASE = "vertebra.base"

# === Reading ===


def read_peft(model: Any, files: AdapterFiles, config: Path, tensors_file: Path) -> AdapterFile:
    """Reads the files that PEFT or `write_peft` wrote.

    Args:
        model: The model.
        files: The files of the adapter, for messages.
        config: The local path of its config.
        tensors_file: The local path of its tensors.

    Raises:
        WeightsFileError: the tensors are corrupt.
        LoraConfigError: a setting is missing, out of range or unknown.
        AdapterMismatchError: the file has no LoRA tensors, or they do not fit the layers.
    """
    source = files.source
    settings = read_config(f"{source}/{ADAPTER_CONFIG}", config)
    tensors = files.map_tensors(tensors_file)
    names, layers = AdapterNames(model), layer_paths(model)
    plan = AdapterPlan(settings.config, {}, tied=False)
    method = plan.strategy.peft_method
    plan = replace(plan, tied=bool(settings.added) or (method is not None and method.is_tied))
    sorted_ = sort_tensors(source, model, tensors, names, method.prefix if method else LORA)
    if not sorted_.modules:
        raise AdapterMismatchError(source, "holds no LoRA tensors for layers of this model", sorted(sorted_.unused))
    adapted = {path for module in sorted_.modules for path in names.layers(module)}
    drop_copies(model, sorted_, tensors, adapted, settings.fully_trained)
    values = _read_modules(source, settings, plan, sorted_, names, layers)
    if method is not None and method.rank is None:  # the tensors alone tell the ranks
        plan = replace(plan, config=replace(plan.config, rank=max(layer.rank for layer in plan.layers.values())))
    added, added_values, taken = read_added(source, settings.added, tensors, sorted_.prefix, names, layers)
    if both := sorted(plan.layers.keys() & added.keys()):
        remedy = "PEFT (0.21.2) does not load it either: train a LoRA of that table, or rows of it, and not both"
        raise AdapterMismatchError(source, "adapts a table by LoRA and by rows at once", both, remedy)
    plan.layers.update(added)
    if method is not None and method.is_tied:
        rows = (array for matrices in sorted_.modules.values() for array in matrices.values())
        taken |= tied_copies(tensors, sorted_.unused, rows)
    sorted_.notes += files.pickle_notes(tensors.header)
    if settings.doubts:
        sorted_.notes.append(f"its {ADAPTER_CONFIG} has values that are not clear, in unused fields: {settings.doubts}")
    sorted_.notes += [
        f"PEFT trained it without {name}, as for every task_type {settings.task}: leave {name} out, or pass zeros"
        for name in inputs_known_as(model, settings.dropped_inputs)
    ]
    return AdapterFile(
        files,
        plan,
        values | added_values,
        base_of(tensors.header),
        sorted_.weights,
        tuple(name for name in sorted_.unused if name not in taken),
        tuple(name for name in sorted_.head if name not in taken),
        settings.base_model,
        tuple(sorted_.notes),
    )


def _read_modules(
    source: str,
    settings: PeftSettings,
    plan: AdapterPlan,
    tensors: SortedTensors,
    names: AdapterNames,
    layers: Mapping[str, Any],
) -> Values:
    """Adds the adapted layers to a plan, and returns the values of their variables.

    Raises:
        AdapterMismatchError: tensors do not fit their layers, or have another rank than the config declares.
    """
    values: Values = {}
    other_ranks = []
    options = plan.options()
    for module, matrices in tensors.modules.items():
        paths = names.layers(module)
        views = {path: _view(source, path, layers[path]) for path in paths}
        first, layer = views[paths[0]], settings.layer(tensors.full_names[module])
        if first.is_convolution:
            _check_convolution(source, plan, module)
            matrices = flattened(first, plan.strategy.tensors_of(first, layer.rank, options), matrices)
        shapes = {key: array.shape for key, array in matrices.items()}
        rank, own = plan.strategy.peft_layer(first, layer.rank, options, shapes)
        layer = replace(layer, rank=rank, options=own)
        fused = FusedModule(source, module, paths, views, plan.strategy, rank, {**options, **own})
        values |= split(fused, matrices)
        if (rank := _rank(fused, matrices)) != layer.rank:
            other_ranks.append(f"{module} (rank {rank}, declared as {layer.rank})")
        plan.layers.update(fused.plans(layer))
    if other_ranks:
        problem = f"holds tensors of another rank than r and rank_pattern of its {ADAPTER_CONFIG} declare"
        raise AdapterMismatchError(source, problem, other_ranks, "Take both files from the same adapter")
    return values


def _check_convolution(source: str, plan: AdapterPlan, module: str) -> None:
    """Refuses a convolution that another method than LoRA adapts: the tensors of each method have other axes."""
    if plan.strategy.peft_method is not None:
        problem = f"adapts a convolution by {plan.strategy.peft_method.name}, and only LoRA of convolutions is read"
        raise AdapterMismatchError(source, problem, [module], "Merge it in PEFT with merge_and_unload()")


def _rank(fused: FusedModule, tensors: Mapping[str, Any]) -> int:
    """Returns the rank of a module's tensors; the declared one if no tensor has an axis for it."""
    for name, tensor in fused.tensors().items():
        if "rank" in tensor.axes:
            rank: int = tensor.as_variable(tensors[name]).shape[tensor.axes.index("rank")]
            return rank
    return fused.rank


def _view(source: str, path: str, layer: Any) -> Any:
    if not is_adaptable(layer):
        raise AdapterMismatchError(source, "holds LoRA tensors of layers that cannot be adapted", [path])
    try:
        return view_of(layer)
    except ValueError as error:
        raise AdapterMismatchError(source, f"adapts the layer {path!r}: {error}") from error


# === Writing ===


def write_peft(model: Any, stage: Path, plan: AdapterPlan, data: AdapterData) -> None:
    """Writes both files; strategies that PEFT lacks are exported as plain LoRA.

    Raises:
        LoraConfigError: the strategy has no plain-LoRA export.
    """
    names, layers = AdapterNames(model), layer_paths(model)
    if not _has_form(plan, names, layers):
        plan, data = as_plain(model, plan, data)
    warn_written(_untied_in_peft(plan, layers) if plan.tied else [])
    modules: dict[str, list[str]] = {}
    for path in [path for path, layer in plan.layers.items() if layer.strategy is None]:
        modules.setdefault(names.module(path), []).append(path)
    arrays: dict[str, np.ndarray[Any, Any]] = {}
    plans: dict[str, LayerPlan] = {}
    views = {module: {path: view_of(layers[path]) for path in names.layers(module)} for module in modules}
    for module, adapted in modules.items():
        options = plan.options_of(adapted[0])
        fused = FusedModule(stage, module, names.layers(module), views[module], plan.strategy, options=options)
        values = data.values | _neutral_values(fused, plan)
        plans[module], tensors = fuse(fused, {path: plan.layers[path] for path in adapted}, values)
        arrays |= {f"{PREFIX}{module}.{tensor}": array for tensor, array in tensors.items()}
    added, fields = added_tensors(stage, plan, names, layers, data.values)
    arrays |= {f"{PREFIX}{name}": array for name, array in added.items()}
    arrays |= _co_trained_tensors(names, data.co_trained, set(plan.layers), require_adapters(model).base_value)
    all_views = {path: view for module_views in views.values() for path, view in module_views.items()}
    all_views |= {path: view_of(layers[path]) for path in plan.layers if path not in all_views}
    base = _fingerprint(plan, data.base, all_views)
    write_arrays(stage / ADAPTER_TENSORS, arrays, {"format": "pt", _BASE: base})
    (stage / ADAPTER_CONFIG).write_bytes(dump_json(_config(model, plan, plans, views, names, data.co_trained) | fields))


def _has_form(plan: AdapterPlan, names: AdapterNames, layers: Mapping[str, Any]) -> bool:
    """Returns whether PEFT has the strategy, for the kinds of modules that it adapts; else plain LoRA is written.

    Raises:
        LoraConfigError: neither can be written.
    """
    method = plan.strategy.peft_method
    if method is None:
        return plan.strategy.peft_fields is not None
    kinds = {path: _kind(names, path, view_of(layers[path])) for path in plan.layers}
    other = next((path for path, kind in kinds.items() if kind not in method.modules), None)
    if other is not None and not plan.strategy.is_low_rank:
        expected = f"layers of the kinds {', '.join(method.modules)}, which PEFT adapts by {method.name}"
        remedy = "Merge the adapter, or save it as a .safetensors file"
        raise LoraConfigError("adapter", "layers", f"{other}, {kinds[other]}", expected, remedy)
    return other is None


def _untied_in_peft(plan: AdapterPlan, layers: Mapping[str, Any]) -> list[str]:
    """Returns the adapted tied tables to whose projection PEFT does not apply the adapter."""
    methods = {path: plan.strategy_of(path).peft_method for path in tied_projections(plan, layers)}
    return [path for path, method in methods.items() if method is None or not method.is_tied]


def _kind(names: AdapterNames, path: str, view: Any) -> str:
    """Returns the kind of a layer's module, as `PeftMethod.modules` names it."""
    if view.is_lookup or view.is_convolution:
        return "embedding" if view.is_lookup else "convolution"
    return "reversed" if names.kernels_are_reversed([names.module(path)]) else "linear"


def _neutral_values(fused: FusedModule, plan: AdapterPlan) -> Values:
    """Returns values without effect for a module's layers that are not adapted: PEFT adapts the whole module.

    These are the strategy's initial values, which change nothing.
    """
    like = next(plan.layers[path] for path in fused.paths if path in plan.layers)
    own = LayerPlan(1, 1.0, options=like.options)
    others = {path: own for path in fused.paths if path not in plan.layers}
    if not others or not fused.has_output_vectors():
        return {}
    return as_arrays(build_adapter_layers(replace(plan, layers=others), fused.views, 0).values())


def _fingerprint(plan: AdapterPlan, base: str | None, views: Mapping[str, Any]) -> str:
    """Returns the fingerprint of all layers of the adapted modules, or an empty string if the base is unknown."""
    if base is None or plan.layers.keys() == views.keys():
        return base or ""
    same = fingerprint({path: views[path] for path in plan.layers}) == base
    return fingerprint(views) if same else ""  # unknown, for example after merging


def _co_trained_tensors(
    names: AdapterNames,
    co_trained: Mapping[str, np.ndarray[Any, Any]],
    adapted: set[str],
    base_value: Callable[[str], np.ndarray[Any, Any]],
) -> dict[str, np.ndarray[Any, Any]]:
    """Returns the tensors that contain co-trained weights; other weights in them have the base values."""
    arrays = {}
    for tensor in dict.fromkeys(names.tensor(weight) for weight in co_trained):
        weights = names.weights(tensor)
        values = [co_trained[weight] if weight in co_trained else base_value(weight) for weight in weights]
        module, _, last = tensor.rpartition(".")
        wrapped = any(weight.rpartition("/")[0] in adapted for weight in weights)
        arrays[f"{PREFIX}{module}{WRAPPED if wrapped else '.'}{last}"] = names.put(weights, values)
    return arrays


def _config(
    model: Any,
    plan: AdapterPlan,
    modules: Mapping[str, LayerPlan],
    views: Mapping[str, Mapping[str, Any]],
    names: AdapterNames,
    co_trained: Mapping[str, np.ndarray[Any, Any]],
) -> dict[str, Any]:
    """Returns the content of PEFT's config; full module names match no other modules."""
    method, bias = plan.strategy.peft_method, _bias(co_trained, set(plan.layers))
    common = {
        **base_of_peft(model),
        "target_modules": sorted(modules),
        "modules_to_save": _fully_trained(model, names, co_trained, set(plan.layers)) or None,
        "task_type": None,
    }
    if method is not None:
        fields = method_fields(plan, modules, views) | {name: value for name, value in common.items() if value}
        fields |= {"bias": method.biases if bias == "lora_only" else bias} if method.biases else {}
        reverse = "reversed" in method.modules
        return fields | ({"fan_in_fan_out": names.kernels_are_reversed(modules)} if reverse else {})
    first = next(iter(modules.values()))
    same = all((layer.rank, layer.alpha) == (first.rank, first.alpha) for layer in modules.values())
    return common | {
        "peft_type": "LORA",
        "r": first.rank,
        "lora_alpha": _number(first.alpha),
        "rank_pattern": {} if same else {f"^{module}": layer.rank for module, layer in modules.items()},
        "alpha_pattern": {} if same else {f"^{module}": _number(layer.alpha) for module, layer in modules.items()},
        "lora_dropout": plan.config.dropout,
        "bias": bias,
        "fan_in_fan_out": names.kernels_are_reversed(modules),
        **dict.fromkeys(SWITCHES, False),
        **(plan.strategy.peft_fields or {}),
    }


def _number(alpha: float) -> float:
    """Returns an int if alpha is whole, as in PEFT's own files."""
    return int(alpha) if alpha == int(alpha) else alpha


def _bias(co_trained: Mapping[str, Any], adapted: set[str]) -> str:
    biases = [weight for weight in co_trained if weight.rpartition("/")[2] in BIAS_NAMES]
    if not any(weight.rpartition("/")[0] in adapted for weight in biases):
        return "none"
    return "lora_only" if all(weight.rpartition("/")[0] in adapted for weight in biases) else "all"


def _fully_trained(model: Any, names: AdapterNames, co_trained: Mapping[str, Any], adapted: set[str]) -> list[str]:
    """Returns the fully trained modules whose names are unambiguous: PEFT matches modules by the end of their names.

    PEFT loads the weights of omitted modules all the same, but does not train them further.
    """
    modules = set()
    for path, layer in layer_paths(model).items():
        weights = [f"{path}/{weight.name}" for weight in own_weights(layer)]
        if weights and path not in adapted and all(weight in co_trained for weight in weights):
            modules |= {names.tensor(weight).rpartition(".")[0] for weight in weights}
    return sorted(module for module in modules if not names.is_ambiguous(module))
