"""PEFT's folders: `adapter_config.json` and `adapter_model.safetensors`.

The config is read as a closed schema: nothing in it is imported, resolved or used as a pattern.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vertebra._catalog import STRATEGIES, catalog
from vertebra._documents import MOST_BYTES, dump_json, parse_json
from vertebra._lora.adapters import require_adapters
from vertebra._lora.files import AdapterContent, AdapterFile, base_of, write_arrays
from vertebra._lora.fingerprint import fingerprint
from vertebra._lora.fusing import Fused, fuse, split
from vertebra._lora.lowering import as_plain
from vertebra._lora.naming import AdapterNames
from vertebra._lora.parts import Values, tied_variables
from vertebra._lora.plan import AdapterPlan, LayerPlan
from vertebra._lora.sites import is_adaptable, site_of
from vertebra._lora.training import BIAS_NAMES
from vertebra._weights.naming import layer_paths, own_weights
from vertebra._weights.safetensors import MappedTensors
from vertebra.errors import AdapterMismatchError, LoraConfigError
from vertebra.specs import LoraConfig

if TYPE_CHECKING:
    import numpy as np

CONFIG = "adapter_config.json"
TENSORS = "adapter_model.safetensors"
FILES = (CONFIG, TENSORS)
_PREFIX = "base_model.model."
_ADAPTER = ".lora_"
_WRAPPED = ".base_layer."
"""What PEFT puts before the weights of a module that it has adapted."""
_BASE = "vertebra.base"

# Other ways to start change the base weights, too, so that the adapter alone is not what was trained.
_STARTS = (None, True, False, "gaussian", "eva", "orthogonal")
# What decides the mathematics and is honoured.
_SWITCHES = ("use_dora", "use_rslora")
_HONOURED = {"peft_type", "r", "lora_alpha", "lora_dropout", "rank_pattern", "alpha_pattern", *_SWITCHES}
# What only describes, or only matters to whoever trains further with PEFT: which weights trained is seen in the
# tensors. `auto_mapping` and `megatron_core` name modules that PEFT would import: here they are text.
_DESCRIPTIVE = {
    "auto_mapping", "base_model_name_or_path", "bias", "ensure_weight_tying", "exclude_modules", "fan_in_fan_out",
    "inference_mode", "init_lora_weights", "layers_pattern", "layers_to_transform", "megatron_core", "modules_to_save",
    "peft_version", "qalora_group_size", "revision", "runtime_config", "target_modules", "task_type",
}  # fmt: skip
# What would change the mathematics in a way that is not computed here; accepted only where it is switched off.
_MUST_BE_OFF = {
    "alora_invocation_tokens", "arrow_config", "corda_config", "eva_config", "kasa_config", "layer_replication",
    "loftq_config", "lora_bias", "lora_ga_config", "megatron_config", "monteclora_config", "target_parameters",
    "trainable_token_indices", "use_bdlora", "use_qalora", "velora_config",
}  # fmt: skip
_OFF: tuple[Any, ...] = (None, False, "none", {}, [])
_LITERAL = re.compile(r"\^?[\w.\-]{1,1000}")
"""Names of modules, as opposed to patterns; PEFT documents a leading `^` for names in full."""


# === Reading ===


@dataclass(frozen=True, slots=True)
class _Settings:
    """What a config says of the mathematics."""

    config: LoraConfig
    ranks: Mapping[str, int]
    alphas: Mapping[str, float]

    def layer(self, module: str) -> LayerPlan:
        """Returns the plan of the layers that are one module there."""
        rank = _pattern(self.ranks, module, self.config.rank)
        alpha = _pattern(self.alphas, module, self.config.rank if self.config.alpha is None else self.config.alpha)
        return LayerPlan(rank, float(alpha))


def read_peft(model: Any, folder: Path) -> AdapterFile:
    """Reads a folder that PEFT or `write_peft` wrote.

    Raises:
        WeightsFileError: the tensors are missing or unsound.
        LoraConfigError: a setting is missing, out of range or unknown.
        AdapterMismatchError: it holds no LoRA tensors, or they are not those of the layers.
    """
    settings = _settings_of(folder / CONFIG, _read_config(folder))
    tensors = MappedTensors(folder / TENSORS)
    names, layers = AdapterNames(model), layer_paths(model)
    modules, beside, unused = _sort(tensors, names)
    if not modules:
        raise AdapterMismatchError(folder, "holds no LoRA tensors for layers of this model", sorted(unused))
    plan = AdapterPlan(settings.config, {})
    values: Values = {}
    for module, found in modules.items():
        paths = names.layers(module)
        sites = {path: _site(folder, path, layers[path]) for path in paths}
        fused = Fused(folder, module, paths, sites, plan.strategy)
        values |= split(fused, found)
        plan.layers.update(fused.plans(settings.layer(module), tied_variables(plan.strategy, sites[paths[0]])))
    return AdapterFile(folder, plan, values, base_of(tensors.header), beside, tuple(unused))


def _read_config(folder: Path) -> Mapping[str, Any]:
    path = folder / CONFIG
    if not path.is_file():
        raise LoraConfigError(path, "file", None, f"PEFT's {CONFIG} beside {TENSORS}")
    expected = "a JSON object that PEFT wrote"
    size = path.stat().st_size
    if size > MOST_BYTES:
        raise LoraConfigError(path, "size", size, f"at most {MOST_BYTES} bytes")
    return parse_json(path.read_bytes(), lambda problem: LoraConfigError(path, "file", problem, expected))


def _settings_of(path: Path, config: Mapping[str, Any]) -> _Settings:
    if config.get("peft_type") != "LORA":
        raise LoraConfigError(path, "peft_type", config.get("peft_type"), "'LORA'")
    for field, value in config.items():
        if field in _MUST_BE_OFF and value not in _OFF:
            raise LoraConfigError(path, field, value, "it to be off: this variant is not computed here")
        if field not in _HONOURED | _DESCRIPTIVE | _MUST_BE_OFF:
            raise LoraConfigError(path, field, value, "a field of PEFT's LoRA configuration")
    start = config.get("init_lora_weights")
    if start not in _STARTS:
        raise LoraConfigError(path, "init_lora_weights", start, "a start that leaves the base weights as they are")
    _check_targets(path, config.get("target_modules"))
    ranks, alphas = (_check_patterns(path, name, config.get(name)) for name in ("rank_pattern", "alpha_pattern"))
    settings = LoraConfig(
        rank=config.get("r", 8),
        alpha=config.get("lora_alpha", 8),
        dropout=config.get("lora_dropout", 0.0),
        strategy=_strategy_of(path, {field: True for field in _SWITCHES if config.get(field)}),
    )
    LoraConfig(1, rank_pattern=ranks, alpha_pattern=alphas)  # the same limits
    return _Settings(settings, ranks, alphas)


def _strategy_of(path: Path, switches: Mapping[str, bool]) -> str:
    for entry in catalog(STRATEGIES):
        if entry.value.peft_fields == switches:
            return entry.name
    names = " and ".join(switches) or "plain LoRA"
    expected = "a variant that an installed LoRA strategy computes: install its plugin, such as vertebra-lora-variants"
    raise LoraConfigError(path, names, True, expected)


def _check_targets(path: Path, targets: Any) -> None:
    listed = [targets] if isinstance(targets, str) else targets
    plain = isinstance(listed, list) and all(isinstance(name, str) and _LITERAL.fullmatch(name) for name in listed)
    if not plain and targets is not None:
        raise LoraConfigError(path, "target_modules", targets, "a list of module names; patterns are not evaluated")


def _check_patterns(path: Path, field: str, table: Any) -> dict[str, Any]:
    for name in table if isinstance(table, Mapping) else [table] if table else []:
        if not isinstance(name, str) or not _LITERAL.fullmatch(name) or not isinstance(table, Mapping):
            raise LoraConfigError(path, field, name, "names of modules; patterns are not evaluated")
    return dict(table or {})


def _pattern(table: Mapping[str, Any], module: str, default: Any) -> Any:
    """PEFT takes the first name that is the module's, in full or from a dot on."""
    for name, value in table.items():
        plain = name.removeprefix("^")
        if module == plain or (module.endswith(f".{plain}") and not name.startswith("^")):
            return value
    return default


def _sort(tensors: MappedTensors, names: AdapterNames) -> tuple[dict[str, dict[str, Any]], dict[str, Any], list[str]]:
    """Returns tensors of adapters by module, base weights, and the names of tensors that are neither."""
    modules: dict[str, dict[str, Any]] = {}
    beside: dict[str, Any] = {}
    unused = []
    for name in tensors.header.entries:
        plain = name.removeprefix(_PREFIX)
        module, found, tensor = plain.partition(_ADAPTER)
        weights = [] if found else names.weights(plain.replace(_WRAPPED, "."))
        arrays = {weight: names.take(weight, tensors.view(name)) for weight in weights}
        if found and names.layers(module):
            modules.setdefault(module, {})[f"lora_{tensor}"] = tensors.view(name)
        elif arrays and all(array is not None for array in arrays.values()):
            beside |= arrays
        else:
            unused.append(name)
    return modules, beside, unused


def _site(folder: Path, path: str, layer: Any) -> Any:
    if not is_adaptable(layer):
        raise AdapterMismatchError(folder, "holds LoRA tensors of layers that cannot be adapted", [path])
    try:
        return site_of(layer)
    except ValueError as error:
        raise AdapterMismatchError(folder, f"adapts the layer {path!r}: {error}") from error


# === Writing ===


def write_peft(model: Any, stage: Path, plan: AdapterPlan, content: AdapterContent) -> None:
    """Writes both files; what PEFT has no strategy for is written as the plain LoRA that it amounts to.

    Raises:
        LoraConfigError: it amounts to none.
    """
    names, layers = AdapterNames(model), layer_paths(model)
    if plan.strategy.peft_fields is None:
        plan, content = as_plain(model, plan, content)
    modules: dict[str, list[str]] = {}
    for path in plan.layers:
        modules.setdefault(names.module(path), []).append(path)
    arrays: dict[str, np.ndarray[Any, Any]] = {}
    plans: dict[str, LayerPlan] = {}
    sites = {module: {path: site_of(layers[path]) for path in names.layers(module)} for module in modules}
    for module, adapted in modules.items():
        fused = Fused(stage, module, names.layers(module), sites[module], plan.strategy)
        plans[module], tensors = fuse(fused, {path: plan.layers[path] for path in adapted}, content.values)
        arrays |= {f"{_PREFIX}{module}.{tensor}": array for tensor, array in tensors.items()}
    arrays |= _beside(names, content.beside, set(plan.layers), require_adapters(model).base_value)
    base = _fingerprint(plan, content.base, {path: site for found in sites.values() for path, site in found.items()})
    write_arrays(stage / TENSORS, arrays, {"format": "pt", _BASE: base})
    (stage / CONFIG).write_bytes(dump_json(_config(model, plan, plans, names, content.beside)))


def _fingerprint(plan: AdapterPlan, base: str | None, sites: Mapping[str, Any]) -> str:
    """Returns the fingerprint of all layers of the modules; of the adapted ones the adapter has it."""
    if base is None or plan.layers.keys() == sites.keys():
        return base or ""
    same = fingerprint({path: sites[path] for path in plan.layers}) == base
    return fingerprint(sites) if same else ""  # after merging, say, nobody can tell


def _beside(
    names: AdapterNames,
    beside: Mapping[str, np.ndarray[Any, Any]],
    adapted: set[str],
    base_value: Callable[[str], np.ndarray[Any, Any]],
) -> dict[str, np.ndarray[Any, Any]]:
    """Returns tensors of base weights; one that holds others' weights, too, has these as the base has them."""
    arrays = {}
    for tensor in dict.fromkeys(names.tensor(weight) for weight in beside):
        weights = names.weights(tensor)
        values = [beside[weight] if weight in beside else base_value(weight) for weight in weights]
        module, _, last = tensor.rpartition(".")
        wrapped = any(weight.rpartition("/")[0] in adapted for weight in weights)
        arrays[f"{_PREFIX}{module}{_WRAPPED if wrapped else '.'}{last}"] = names.put(weights, values)
    return arrays


def _config(
    model: Any,
    plan: AdapterPlan,
    modules: Mapping[str, LayerPlan],
    names: AdapterNames,
    beside: Mapping[str, np.ndarray[Any, Any]],
) -> dict[str, Any]:
    """Modules are named in full, so that they mean no others."""
    first = next(iter(modules.values()))
    same = all((layer.rank, layer.alpha) == (first.rank, first.alpha) for layer in modules.values())
    return {
        "peft_type": "LORA",
        "base_model_name_or_path": getattr(model, "_preset", None),
        "r": first.rank,
        "lora_alpha": _number(first.alpha),
        "rank_pattern": {} if same else {f"^{module}": layer.rank for module, layer in modules.items()},
        "alpha_pattern": {} if same else {f"^{module}": _number(layer.alpha) for module, layer in modules.items()},
        "lora_dropout": plan.config.dropout,
        "target_modules": sorted(modules),
        "modules_to_save": _fully_trained(model, names, beside, set(plan.layers)) or None,
        "bias": _bias(beside, set(plan.layers)),
        "fan_in_fan_out": names.kernels_are_reversed(modules),
        "task_type": None,
        **dict.fromkeys(_SWITCHES, False),
        **(plan.strategy.peft_fields or {}),
    }


def _number(alpha: float) -> float:
    """PEFT's own files have an int where they can."""
    return int(alpha) if alpha == int(alpha) else alpha


def _bias(beside: Mapping[str, Any], adapted: set[str]) -> str:
    biases = [weight for weight in beside if weight.rpartition("/")[2] in BIAS_NAMES]
    if not any(weight.rpartition("/")[0] in adapted for weight in biases):
        return "none"
    return "lora_only" if all(weight.rpartition("/")[0] in adapted for weight in biases) else "all"


def _fully_trained(model: Any, names: AdapterNames, beside: Mapping[str, Any], adapted: set[str]) -> list[str]:
    modules = set()
    for path, layer in layer_paths(model).items():
        weights = [f"{path}/{weight.name}" for weight in own_weights(layer)]
        if weights and path not in adapted and all(weight in beside for weight in weights):
            modules |= {names.tensor(weight).rpartition(".")[0] for weight in weights}
    return sorted(modules)
