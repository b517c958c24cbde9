"""Plans: which layers an adapter adapts, and how; files store them as plain data."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from vertebra._discovery.catalog import STRATEGIES, catalog
from vertebra._lora.targets import Roles, match
from vertebra.errors import LoraConfigError, LoraTargetError, close_names
from vertebra.specs import LoraConfig
from vertebra.strategies import LoraStrategy

_NOTHING: Mapping[str, Any] = {}
_OF_PEFT = {
    "r": "rank",
    "target_modules": "target_names",
    "modules_to_save": "train",
    "lora_alpha": "alpha",
    "lora_dropout": "dropout",
    "adapter_name": "name",
    "init_lora_weights": "strategy",
    "peft_type": "strategy",
    "use_dora": "strategy",
    "use_rslora": "strategy",
}
"""The arguments of `enable_lora` that have the meaning of PEFT's settings."""
_NAMED = ("alpha", "dropout", "seed", "rank_pattern", "alpha_pattern", "bias", "train", "name")


@dataclass(frozen=True, slots=True)
class LayerPlan:
    """Settings of one adapted layer."""

    rank: int
    alpha: float
    heads: int = 1
    """Number of heads in the layer's outputs, for strategies that work by heads."""
    shares: str | None = None
    """Path of the layer whose input-side variables this layer shares, as in a fused projection."""
    options: Mapping[str, Any] = field(default_factory=lambda: _NOTHING)
    """Options of the strategy that this layer has in place of the adapter's."""
    strategy: str | None = None
    """The strategy of this layer, if it is another than the adapter's; the adapter's options are not for it."""


@dataclass(frozen=True, slots=True)
class AdapterPlan:
    """Settings and adapted layers of an adapter."""

    config: LoraConfig
    layers: dict[str, LayerPlan]
    """The adapted layers, by path."""
    tied: bool = True
    """Whether the adapter of an embedding also applies where its table is the output projection, as KerasHub's do.
    PEFT's apply to the lookup only, and not to the projection."""

    @property
    def strategy(self) -> LoraStrategy:
        """The strategy.

        Raises:
            UnknownNameError: no plugin provides it.
        """
        strategy: LoraStrategy = catalog(STRATEGIES).lookup(self.config.strategy).value
        return strategy

    @property
    def scale(self) -> float:
        """Factor of the low-rank path of layers that no pattern overrides."""
        config = self.config
        return self.strategy.scale(config.rank, config.rank if config.alpha is None else config.alpha)

    def strategy_of(self, path: str) -> LoraStrategy:
        """Returns the strategy of a layer.

        Raises:
            UnknownNameError: no plugin provides it.
        """
        name = self.layers[path].strategy
        strategy: LoraStrategy = self.strategy if name is None else catalog(STRATEGIES).lookup(name).value
        return strategy

    def options(self) -> dict[str, Any]:
        """Returns the strategy's options for all layers that have no others, with defaults filled in.

        Raises:
            LoraConfigError: the strategy does not declare an option, or a value's type differs from the default's.
        """
        known = self.strategy.options
        for name, value in self.config.options.items():
            if name not in known:
                raise LoraConfigError("LoRA settings", name, value, _settings(name, self.config.strategy, known))
            for each in value.values() if isinstance(value, Mapping) else [value]:
                _check_kind(name, each, known[name])
        return {**known, **{name: v for name, v in self.config.options.items() if not isinstance(v, Mapping)}}

    def options_of(self, path: str) -> dict[str, Any]:
        """Returns the options of a layer, with defaults filled in.

        Raises:
            LoraConfigError: as `options`.
        """
        layer = self.layers[path]
        common = self.options() if layer.strategy is None else self.strategy_of(path).options
        return {**common, **layer.options}

    def key(self) -> str:
        """Returns a text that is equal for adapters that differ only in their values."""
        layers = {
            path: [x.rank, x.alpha, x.heads, x.shares, dict(x.options), x.strategy] for path, x in self.layers.items()
        }
        facts = [self.config.strategy, self.config.dropout, self.options(), layers, self.tied]
        return json.dumps(facts, sort_keys=True)

    def without_dropout(self) -> AdapterPlan:
        """Returns the plan without dropout: only training uses it, so plans that differ in it are compatible."""
        return replace(self, config=replace(self.config, dropout=0.0))

    def __str__(self) -> str:
        reading = "" if self.tied else ", not applied to the projection of tied tables"
        return f"{self.method(' and ')} on {len(self.layers)} layers{reading}"

    def method(self, separator: str) -> str:
        """Returns the name of the strategy, with its rank and scale if it has them."""
        facts = [("rank", f"{self.strategy.rank_name} {self.config.rank}"), ("alpha", f"scale {self.scale:g}")]
        own = separator.join(text for name, text in facts if name in self.strategy.settings)
        return f"{self.config.strategy} of {own}" if own else self.config.strategy


def plan_layers(config: LoraConfig, views: Mapping[str, Any], layers: Mapping[str, Any], roles: Roles) -> AdapterPlan:
    """Decides rank and alpha for each layer.

    Args:
        config: The settings.
        views: The linear views of the layers to adapt, by path.
        layers: The layers, by path.
        roles: Globs of paths for each role of the architecture.

    Raises:
        LoraTargetError: a pattern matches none of the layers.
    """
    ranks = _by_layer(config.rank_pattern, layers, roles)
    alphas = _by_layer(config.alpha_pattern, layers, roles)
    own = {
        name: _by_layer(value, layers, roles) for name, value in config.options.items() if isinstance(value, Mapping)
    }
    plans = {}
    for path, view in views.items():
        rank = ranks.get(path, config.rank)
        alpha = alphas.get(path, rank if config.alpha is None else config.alpha)
        options = {name: values[path] for name, values in own.items() if path in values}
        plans[path] = LayerPlan(rank, float(alpha), view.heads, options=options)
    return AdapterPlan(config, plans)


def with_heads(plan: AdapterPlan, heads: Mapping[str, int]) -> AdapterPlan:
    """Returns a plan with other numbers of heads for some layers."""
    changed = {path: replace(plan.layers[path], heads=count) for path, count in heads.items()}
    return replace(plan, layers=plan.layers | changed)


def plan_as_data(plan: AdapterPlan) -> dict[str, Any]:
    """Returns a plan as JSON-compatible data."""
    config = {name: getattr(plan.config, name) for name in LoraConfig.__slots__}
    tables = {name: dict(value) for name, value in config.items() if isinstance(value, Mapping)}
    layers = {path: asdict(layer) for path, layer in plan.layers.items()}
    return {"config": config | tables, "layers": layers, "tied": plan.tied}


def plan_from_data(source: object, data: Any) -> AdapterPlan:
    """Returns the plan that `plan_as_data` wrote.

    Raises:
        LoraConfigError: the data is not a plan, or a value is out of range.
    """
    expected = "settings that save_lora_weights wrote"
    if not isinstance(data, Mapping) or data.keys() - {"tied"} != {"config", "layers"}:
        raise LoraConfigError(source, "settings", data, expected)
    # Files from before this field are from a time when adapters of tied tables did not apply to the projection.
    config, layers, tied = data["config"], data["layers"], data.get("tied", False)
    if not isinstance(tied, bool):
        raise LoraConfigError(source, "tied", tied, "true or false")
    if not isinstance(config, Mapping) or config.keys() != set(LoraConfig.__slots__):
        raise LoraConfigError(source, "config", config, f"the fields {', '.join(LoraConfig.__slots__)}")
    if not isinstance(layers, Mapping) or not layers:
        raise LoraConfigError(source, "layers", layers, expected)
    plans = {path: _layer(source, path, facts, layers) for path, facts in layers.items()}
    return AdapterPlan(LoraConfig(**config), plans, tied)


def _layer(source: object, path: str, facts: Any, layers: Mapping[str, Any]) -> LayerPlan:
    if not isinstance(facts, Mapping) or facts.keys() | {"options", "strategy"} != set(LayerPlan.__slots__):
        raise LoraConfigError(source, path, facts, f"the fields {', '.join(LayerPlan.__slots__)}")
    checked = LoraConfig(facts["rank"], facts["alpha"])  # the same limits
    heads, shares = facts["heads"], facts["shares"]
    options, strategy = facts.get("options", {}), facts.get("strategy")  # files from before these fields lack them
    if not isinstance(options, Mapping) or not isinstance(strategy, str | None):
        raise LoraConfigError(source, path, facts, "a mapping of options, and the name of a strategy or null")
    if type(heads) is not int or heads < 1:
        raise LoraConfigError(source, f"heads of {path}", heads, "an int of at least 1")
    lender = layers.get(shares) if isinstance(shares, str) else None
    if shares is not None and (not isinstance(lender, Mapping) or lender.get("shares") is not None):
        raise LoraConfigError(
            source, f"shares of {path}", shares, "the path of an adapted layer that shares no other layer's variables"
        )
    return LayerPlan(checked.rank, float(checked.alpha or checked.rank), heads, shares, options, strategy)


def _by_layer(patterns: Mapping[str, Any], layers: Mapping[str, Any], roles: Roles) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for target, value in patterns.items():
        matched = match(target, layers, roles)
        if not matched:
            names = {layer.name for layer in layers.values()}
            raise LoraTargetError(target, "a pattern for it matches none of the adapted layers", names)
        values |= dict.fromkeys(matched, value)
    return values


def _check_kind(name: str, value: Any, default: Any) -> None:
    """Raises LoraConfigError unless the value of an option has the type of its default."""
    kinds = (int, float) if isinstance(default, float) else (list, tuple) if isinstance(default, tuple) else None
    if type(value) not in (kinds or (type(default),)):
        raise LoraConfigError("LoRA settings", name, value, f"a {(kinds or (type(default),))[-1].__name__}")
    if not _is_plain(value):
        raise LoraConfigError("LoRA settings", name, value, "numbers and texts only, which files can store")


def _is_plain(value: Any) -> bool:
    return all(map(_is_plain, value)) if isinstance(value, list | tuple) else isinstance(value, str | int | float)


def _settings(name: str, strategy: str, known: Mapping[str, Any]) -> str:
    """Returns a message that lists the settings that exist, for a setting that does not."""
    similar = [_OF_PEFT[name]] if name in _OF_PEFT else close_names(name, [*_NAMED, *known])
    own = f" and its own options: {', '.join(known)}" if known else ""
    hint = f"; did you mean {similar[0]!r}?" if similar else ""
    return f"no such setting: {strategy!r} takes {', '.join(_NAMED)}{own}{hint}"
