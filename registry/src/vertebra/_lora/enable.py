"""Enabling and loading: a new adapter of a model, from settings or from a file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from vertebra._arguments import flag, text
from vertebra._discovery import runtimes
from vertebra._discovery.catalog import STRATEGIES, catalog
from vertebra._lora.adapter import Adapter
from vertebra._lora.added import added_layers, split_fields
from vertebra._lora.base_weights import BaseModel
from vertebra._lora.files.adapter_data import AdapterFile
from vertebra._lora.files.foreign_names import KerasHubNames
from vertebra._lora.fingerprint import fingerprint
from vertebra._lora.layers.adapter_layers import AdapterLayers, build_adapter_layers
from vertebra._lora.layers.linear_view import is_adaptable, view_of
from vertebra._lora.layers.projections import normalize_tied
from vertebra._lora.plan import AdapterPlan, plan_from_data, plan_layers, with_heads
from vertebra._lora.receipts import receipt_of
from vertebra._lora.state import Adapters, adapters_of
from vertebra._lora.strategy_check import check_strategy
from vertebra._lora.targets import find_default_targets, find_targets, roles_of
from vertebra._lora.trainable import weights_to_train
from vertebra._lora.untrained import is_untrained, values_digest
from vertebra._resolve.observers import tell_observers
from vertebra._resolve.span_attributes import attributes_of_adapter
from vertebra._system.spans import traced
from vertebra._weights.abstract import abstract_build
from vertebra._weights.assign import assign_seeds
from vertebra.errors import (
    AdapterBaseError,
    AdapterMismatchError,
    LoraConfigError,
    LoraStateError,
    LoraTargetError,
)
from vertebra.specs import LoraConfig, LoraReceipt

DEFAULT = "default"


def own_settings(config: LoraConfig, rank: int | None) -> LoraConfig:
    """Returns the settings with those that the strategy has; a rank without meaning is dropped, as KerasHub needs one.

    Raises:
        LoraConfigError: the strategy needs a rank, and `rank` is None; or it has no alpha or dropout, and one is given.
    """
    own = catalog(STRATEGIES).lookup(config.strategy).value.settings
    if rank is None and "rank" in own:
        AdapterPlan(config, {}).options()  # a setting under PEFT's name, such as r, is the cause
        raise LoraConfigError("LoRA settings", "rank", ..., f"an int from 1 to 65536 for {config.strategy!r}")
    given = {"alpha": config.alpha or config.alpha_pattern, "dropout": config.dropout}
    for name, value in given.items():
        if value and name not in own:
            raise LoraConfigError("LoRA settings", name, value, f"none: the strategy {config.strategy!r} has no {name}")
    return config if "rank" in own else replace(config, rank=1, rank_pattern={})


@traced("adapt", attributes_of_adapter)
def enable(
    model: Any, config: LoraConfig, targets: Sequence[str] | None, name: str, bias: str, train: Sequence[str]
) -> LoraReceipt:
    """Adds a new adapter with the strategy's initial values to a model, and activates it."""
    adapters = adapters_of(model) or Adapters(model)
    _check_name(adapters, text("enable_lora", "name", name))
    roles = roles_of(model)
    base = adapters.base
    config, fields = split_fields(config)
    if targets is None:
        layers = find_default_targets(model, roles, base.layers)
    else:
        layers = find_targets(model, targets, roles, base.layers)
    views = {path: _view(path, layer) for path, layer in layers.items()}
    plan = _with_heads_of(base, plan_layers(config, views, layers, roles))
    co_trained = weights_to_train(base, layers, bias, train, roles)
    check_strategy(plan, views)
    added = added_layers(model, plan, fields, co_trained, roles, base.layers)
    plan = replace(plan, layers=plan.layers | added)
    views |= {path: _view(path, base.layers[path]) for path in added}
    with adapters.base_weights_restored():
        values = {weight: adapters.base_value(weight) for weight in co_trained}
        adapter = Adapter(name, plan, fingerprint(views), None, values)
        adapter_layers = build_adapter_layers(plan, views, 0)
        runtimes.bind().equalize(model, adapter_layers.flat())
        adapter.start = values_digest(adapter_layers.values(), values)
        adapters.add(adapter, adapter_layers)
    return receipt_of(adapters, name)


def enable_planned(model: Any, data: Mapping[str, Any]) -> None:
    """Adds the adapter that a model's config describes; the caller loads the values."""
    source = f"config of {type(model).__name__}"
    facts = dict(data)
    base, name, trained = (facts.pop(key, None) for key in ("base", "name", "trained"))
    adapters = Adapters(model)
    plan = normalize_tied(plan_from_data(source, facts), adapters.base.layers)
    views = _views_of(source, adapters, plan)
    adapters.add(Adapter(name or DEFAULT, plan, base, None), build_adapter_layers(plan, views, 0))
    unknown = sorted(set(trained or ()) - adapters.base.weights.keys())
    if unknown:
        raise AdapterMismatchError(source, "co-trains base weights that the model does not have", unknown)
    adapters.base.unfreeze(trained or ())


@traced("adapt", attributes_of_adapter)
def load(model: Any, file: AdapterFile, name: str | None, check_base: bool, strict: bool) -> LoraReceipt:
    """Adds a file's adapter to a model, or gives an existing adapter the file's values, and activates it."""
    check_base = flag("load_lora_weights", "check_base", check_base)
    strict = flag("load_lora_weights", "strict", strict)
    name = DEFAULT if name is None else text("load_lora_weights", "name", name)
    if strict:
        _check_unused(file)
    adapters = adapters_of(model) or Adapters(model)
    adapters.require_unmerged()
    plan = normalize_tied(_with_heads_of(adapters.base, file.plan), adapters.base.layers)
    views = _views_of(file.source, adapters, plan)
    _check_co_trained(file, adapters)
    with adapters.base_weights_restored():
        base = fingerprint(views)
        if check_base and file.base is not None and file.base != base:
            raise AdapterBaseError(file.source, file.base, base)
        adapter = Adapter(name, plan, base, file.values, dict(file.co_trained))
        adapter_layers = adapters.layers_for(adapter) or _without_values(plan, views)
        _check_values(file, adapter_layers)
        notes = (*file.notes, *_replaced(adapters, adapter, file))
        adapters.add(adapter, adapter_layers)
    tell_observers(file.files.folder, f"lora:{file.files.format}", type(model).__name__)
    return replace(
        receipt_of(adapters, name), unused=file.unused, source=file.source, base_model=file.base_model, notes=notes
    )


def _check_unused(file: AdapterFile) -> None:
    inside = [name for name in file.unused if name not in file.head]
    if inside:
        raise AdapterMismatchError(file.source, "holds tensors for which the model has no layer", inside)
    if file.head:
        problem = "also holds tensors of a task's head, which a backbone does not have"
        remedy = "To load the rest and leave these out, pass strict=False (on the command line, --no-strict)"
        raise AdapterMismatchError(file.source, problem, file.head, remedy)


def _check_name(adapters: Adapters, name: str) -> None:
    adapters.require_unmerged()
    if name in adapters.known:
        problem = f"The model already has an adapter named {name!r}"
        raise LoraStateError(problem, "Unload it with unload_lora, or give the new one another name=")


def _view(path: str, layer: Any) -> Any:
    try:
        return view_of(layer)
    except ValueError as error:
        raise LoraTargetError(path, str(error), []) from error


def _with_heads_of(base: BaseModel, plan: AdapterPlan) -> AdapterPlan:
    """Returns the plan with KerasHub's numbers of heads for Dense layers, if the strategy works by heads."""
    if not plan.strategy.per_head:
        return with_heads(plan, {path: 1 for path, layer in plan.layers.items() if layer.heads != 1})
    names = KerasHubNames(base.model)
    if names.translation is None:
        return plan
    adapted = {path: layer for path in plan.layers if is_adaptable(layer := base.layers.get(path))}
    heads = {path: names.heads(path, view_of(layer).out_features) for path, layer in adapted.items()}
    return with_heads(plan, heads)


def _views_of(source: object, adapters: Adapters, plan: AdapterPlan) -> dict[str, Any]:
    layers = adapters.base.layers
    unknown = sorted(path for path in plan.layers if path not in layers or not is_adaptable(layers[path]))
    if unknown:
        raise AdapterMismatchError(
            source, "adapts layers that the model does not have, or that cannot be adapted", unknown
        )
    views = {path: _view(path, layers[path]) for path in plan.layers}
    for path, layer in plan.layers.items():
        lender = layer.shares
        if lender and (views[lender].in_features, plan.layers[lender].rank) != (views[path].in_features, layer.rank):
            raise AdapterMismatchError(
                source, "shares variables between layers of different input sizes or ranks", [path, lender]
            )
    return views


def _without_values(plan: AdapterPlan, views: Mapping[str, Any]) -> AdapterLayers:
    with abstract_build():
        adapter_layers = build_adapter_layers(plan, views, 0)
    for adapter_layer in adapter_layers.layers.values():
        assign_seeds(runtimes.bind(), adapter_layer)  # of dropout
    return adapter_layers


def _check_values(file: AdapterFile, adapter_layers: AdapterLayers) -> None:
    """Checks names, shapes and dtypes of the file's values against the variables."""
    needed = {
        (path, name): variable for path, own in adapter_layers.variables().items() for name, variable in own.items()
    }
    arrays = {(path, name): array for path, own in file.values.items() for name, array in own.items()}
    wrong = [f"{path}: {name}" for path, name in needed.keys() ^ arrays.keys()]
    if wrong:
        raise AdapterMismatchError(file.source, "lacks tensors, or holds unknown ones", sorted(wrong))
    for (path, name), array in arrays.items():
        shape = tuple(needed[path, name].shape)
        if array.shape != shape or "float" not in array.dtype.name:
            wrong.append(f"{path}: {name} is {array.dtype} {array.shape}, needed {shape}")
    if wrong:
        raise AdapterMismatchError(file.source, "holds tensors of another shape", wrong)
    if not all(_finite(array) for array in arrays.values()):
        raise AdapterMismatchError(file.source, "holds values that are not finite")


def _is_float(values: Any) -> bool:
    return "float" in str(values.dtype)


def _finite(array: np.ndarray[Any, Any]) -> bool:
    return bool(np.isfinite(array if array.dtype.kind == "f" else array.astype("float32")).all())


def _check_co_trained(file: AdapterFile, adapters: Adapters) -> None:
    weights = adapters.base.weights
    unknown = [name for name in file.co_trained if name not in weights]
    if unknown:
        raise AdapterMismatchError(file.source, "holds base weights that the model does not have", unknown)
    wrong = [
        f"{name} is {array.dtype} {array.shape}, needed floats of {tuple(weights[name].shape)}"
        for name, array in file.co_trained.items()
        if array.shape != tuple(weights[name].shape) or not (_is_float(array) and _is_float(weights[name]))
    ]
    if wrong:
        raise AdapterMismatchError(file.source, "holds base weights of another shape", wrong)
    if not all(map(_finite, file.co_trained.values())):
        raise AdapterMismatchError(file.source, "holds values that are not finite")


def _replaced(adapters: Adapters, adapter: Adapter, file: AdapterFile) -> tuple[str, ...]:
    """Returns notes on the adapter of the same name that a file replaces.

    The adapter must have the same settings, or be untrained and have the default name, as after `enable_lora(rank)`.

    Raises:
        LoraStateError: training would be lost.
    """
    existing = adapters.known.get(adapter.name)
    if existing is None:
        return ()
    problem = _difference(adapters, adapter, file)
    if problem is None:
        return (f"it replaces the values of the adapter {adapter.name!r}",)
    if adapter.name == DEFAULT and is_untrained(adapters, adapter.name):
        return (f"it replaces the untrained adapter {adapter.name!r}, {existing.plan}",)
    raise LoraStateError(problem, "Unload the existing adapter, or load the file with another name=")


def _difference(adapters: Adapters, adapter: Adapter, file: AdapterFile) -> str | None:
    """Returns why a file cannot give its values to the adapter of its name, or None if it can."""
    existing = adapters.known[adapter.name]
    if existing.plan.without_dropout().key() != adapter.plan.without_dropout().key():
        problem = f"The model has {existing.plan} named {adapter.name!r}, and {file.source!r} holds"
        return f"{problem} {adapter.plan}; settings and layers must be the same"
    kept = sorted(adapters.co_trained_of(adapter.name).keys() - adapter.co_trained.keys())
    if kept:
        problem = f"The model's adapter has co-trained weights ({', '.join(kept)})"
        return f"{problem}, and {file.source!r} holds no values for them"
    return None
