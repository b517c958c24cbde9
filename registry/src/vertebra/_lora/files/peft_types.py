"""PEFT's methods other than LoRA: their config fields, as strategies with a `PeftMethod` declare them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from vertebra._discovery.catalog import Entry, peft_methods
from vertebra._discovery.extras import extra_command
from vertebra._lora.files.peft_patterns import PatternTable
from vertebra._lora.plan import AdapterPlan, LayerPlan
from vertebra.errors import LoraConfigError
from vertebra.specs import LoraConfig
from vertebra.strategies import LoraStrategy, PeftMethod

_IN_PLUGIN = ("IA3", "LOHA", "LOKR", "OFT", "TRAINABLE_TOKENS", "trainable_token_indices")
_DEFAULT = 8
"""PEFT's default of rank and alpha."""
_REMEDY = "Merge the adapter into its base with that version of PEFT, and load the checkpoint"
_PATTERNS = ("rank_pattern", "alpha_pattern")


@dataclass(frozen=True, slots=True)
class MethodReader:
    """Reads the configs of one method for the installed strategy that computes it."""

    name: str
    """Name of the strategy."""
    strategy: LoraStrategy
    method: PeftMethod

    def fields(self) -> set[str]:
        """Returns the names of the fields that are read, or that do not affect what a trained adapter computes."""
        method = self.method
        own = {field for field in (method.rank, method.alpha) if field is not None}
        return {"peft_type", *own, *(_PATTERNS if own else ()), *method.options, *method.without_effect}

    def settings(self, path: object, config: Mapping[str, Any]) -> tuple[LoraConfig, PatternTable, PatternTable]:
        """Returns the settings, and ranks and alphas by module.

        Raises:
            LoraConfigError: a value is out of range.
        """
        method, defaults = self.method, self.strategy.options
        problem = self.strategy.peft_problem(config)
        if problem is not None:
            field, expected = problem
            raise LoraConfigError(path, field, config.get(field), expected, _REMEDY)
        ranks, alphas = (PatternTable(path, field, config.get(field)) for field in _PATTERNS)
        options = {field: config[field] for field in method.options if config.get(field) is not None}
        settings = LoraConfig(
            rank=number(path, config, method.rank) if method.rank else 1,
            alpha=number(path, config, method.alpha) if method.alpha else None,
            strategy=self.name,
            options={field: value for field, value in options.items() if value != defaults[field]},
        )
        LoraConfig(1, rank_pattern=ranks.values, alpha_pattern=alphas.values)  # the same limits
        AdapterPlan(settings, {}).options()  # the options' types
        return settings, ranks, alphas


def number(path: object, config: Mapping[str, Any], field: str) -> Any:
    """Returns the rank or alpha of a config, or PEFT's default.

    Raises:
        LoraConfigError: it is null, which PEFT cannot load.
    """
    value = config.get(field, _DEFAULT)
    if value is None:
        expected = (
            f"a number: PEFT fails to load null, and its default, {_DEFAULT}, is meant only if the field is absent"
        )
        raise LoraConfigError(path, field, value, expected, "Give the value with which the adapter was trained")
    return value


def readers() -> list[MethodReader]:
    """Returns a reader for each method that an installed strategy computes."""
    return [reader for entry in peft_methods() if (reader := _reader(entry)) is not None]


def _reader(entry: Entry[LoraStrategy]) -> MethodReader | None:
    method = entry.value.peft_method
    return MethodReader(entry.value.name, entry.value, method) if method and method.name == entry.name else None


def where_computed(name: str) -> str | None:
    """Returns the remedy for a method, or field of LoRA's config, of a known plugin that is not installed, or None."""
    return f"Install a plugin that computes it, {plugin_with_more()}" if name in _IN_PLUGIN else None


def plugin_with_more() -> str:
    """Returns an example of a plugin with more strategies; if it is not installed, with the command for it."""
    command = extra_command("lora-")
    return "such as vertebra-lora-variants" + (f" ({command})" if command else "")


def reader_of(peft_type: Any) -> MethodReader | None:
    """Returns the reader for a `peft_type`, or None if no installed strategy computes that method.

    Raises:
        NameClashError: strategies of several plugins compute it, and the settings prefer none.
    """
    known = isinstance(peft_type, str) and peft_type in peft_methods()
    return _reader(peft_methods().lookup(peft_type)) if known else None


def lora_fields() -> dict[str, MethodReader]:
    """Returns the fields of LoRA's config that add layers, with the readers of their methods."""
    return {reader.method.lora_field: reader for reader in readers() if reader.method.lora_field}


def value_for(module: str, value: Any) -> Any:
    """Returns the value of such a field for a module: the only one, or that of a key with which the module's name ends.

    PEFT takes the first such key. None if there is none.
    """
    if not isinstance(value, Mapping):
        return value
    return next((own for key, own in value.items() if module.endswith(key)), None)


def method_fields(
    plan: AdapterPlan, modules: Mapping[str, LayerPlan], views: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
    """Returns the fields of a config that describe how an adapter of a method computes.

    Args:
        plan: The adapter's plan.
        modules: The plans of its modules, by name; full names match no other modules.
        views: The linear views of the layers of each module.

    Raises:
        LoraConfigError: an option that PEFT's config has once differs between modules.
    """
    method, first = plan.strategy.peft_method, next(iter(modules.values()))
    assert method is not None
    options = {module: {**plan.options(), **layer.options} for module, layer in modules.items()}
    fields: dict[str, Any] = {"peft_type": method.name}
    for field, attribute, pattern in ((method.rank, "rank", "rank_pattern"), (method.alpha, "alpha", "alpha_pattern")):
        if field is not None:
            values = {f"^{module}": _number(getattr(layer, attribute)) for module, layer in modules.items()}
            first_value = _number(getattr(first, attribute))
            fields[field] = first_value
            fields[pattern] = {} if set(values.values()) == {first_value} else values
    for name in method.options:
        values = {module: own[name] for module, own in options.items()}
        if any(value != next(iter(values.values())) for value in values.values()):
            expected = f"the same value for all layers: PEFT's {method.name} has one"
            raise LoraConfigError("adapter", name, values, expected, "Save it as a .safetensors file")
        fields[name] = next(iter(values.values()))
    layers = {
        module: (next(iter(views[module].values())), layer.rank, options[module]) for module, layer in modules.items()
    }
    return fields | dict(plan.strategy.peft_config(layers))


def _number(value: float) -> float:
    """Returns an int if the value is whole, as in PEFT's own files."""
    return int(value) if value == int(value) else value
