"""Plans: which layers an adapter adapts and how, as plain data that files keep."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from vertebra._discovery.catalog import STRATEGIES, catalog
from vertebra._lora.targets import Roles, match
from vertebra.errors import LoraConfigError, LoraTargetError, close_names
from vertebra.interfaces import LoraStrategy
from vertebra.specs import LoraConfig

_NAMED = ("alpha", "dropout", "seed", "rank_pattern", "alpha_pattern", "bias", "train", "name")


@dataclass(frozen=True, slots=True)
class LayerPlan:
    """How one layer is adapted."""

    rank: int
    alpha: float
    heads: int = 1
    """How many heads the layer's outputs are made of, for strategies that go by heads."""
    shares: str | None = None
    """Path of the layer whose variables on the side of the inputs are this one's, too, as in a fused projection."""


@dataclass(frozen=True, slots=True)
class AdapterPlan:
    """How a model is adapted."""

    config: LoraConfig
    layers: dict[str, LayerPlan]
    """The adapted layers, by path."""
    tied: bool = True
    """Whether an adapter of an embedding whose table is also the output projection acts there, too, as KerasHub's do.
    PEFT's act where the table is looked up, and leave the projection as it is."""

    @property
    def strategy(self) -> LoraStrategy:
        """The strategy.

        Raises:
            UnknownNameError: no plugin provides it.
        """
        found: LoraStrategy = catalog(STRATEGIES).lookup(self.config.strategy).value
        return found

    @property
    def scale(self) -> float:
        """Factor of the low-rank path of a layer for which no pattern says otherwise."""
        config = self.config
        return self.strategy.scale(config.rank, config.rank if config.alpha is None else config.alpha)

    def options(self) -> dict[str, Any]:
        """Returns the strategy's options, with defaults filled in.

        Raises:
            LoraConfigError: an option is not one that the strategy declares, or of another type than its default.
        """
        known = self.strategy.options
        for name, value in self.config.options.items():
            if name not in known:
                raise LoraConfigError("LoRA settings", name, value, _settings(name, self.config.strategy, known))
            kinds = (int, float) if isinstance(known[name], float) else (type(known[name]),)
            if type(value) not in kinds:
                raise LoraConfigError("LoRA settings", name, value, f"a {kinds[-1].__name__}")
        return {**known, **self.config.options}

    def key(self) -> str:
        """Returns a text that is the same for adapters that differ in their values only."""
        layers = {path: [x.rank, x.alpha, x.heads, x.shares] for path, x in self.layers.items()}
        facts = [self.config.strategy, self.config.dropout, self.options(), layers, self.tied]
        return json.dumps(facts, sort_keys=True)

    def without_dropout(self) -> AdapterPlan:
        """Returns the plan without dropout, which training alone uses: adapters that differ in it are of one kind."""
        return replace(self, config=replace(self.config, dropout=0.0))

    def __str__(self) -> str:
        reading = "" if self.tied else ", not acting on the projection of tied tables"
        config = self.config
        return f"{config.strategy} of rank {config.rank} and scale {self.scale:g} on {len(self.layers)} layers{reading}"


def plan_layers(config: LoraConfig, views: Mapping[str, Any], layers: Mapping[str, Any], roles: Roles) -> AdapterPlan:
    """Decides rank and alpha for each layer.

    Args:
        config: The settings.
        sites: The sites of the layers to adapt, by path.
        layers: The layers themselves, by path.
        roles: Globs of paths for each role of the architecture.

    Raises:
        LoraTargetError: a pattern matches none of the layers.
    """
    ranks = _by_layer(config.rank_pattern, layers, roles)
    alphas = _by_layer(config.alpha_pattern, layers, roles)
    plans = {}
    for path, view in views.items():
        rank = ranks.get(path, config.rank)
        alpha = alphas.get(path, rank if config.alpha is None else config.alpha)
        plans[path] = LayerPlan(rank, float(alpha), view.heads)
    return AdapterPlan(config, plans)


def with_heads(plan: AdapterPlan, heads: Mapping[str, int]) -> AdapterPlan:
    """Returns a plan in which the architecture says of some layers how many heads they have."""
    changed = {path: replace(plan.layers[path], heads=count) for path, count in heads.items()}
    return replace(plan, layers=plan.layers | changed)


def plan_as_data(plan: AdapterPlan) -> dict[str, Any]:
    """Returns a plan as JSON can hold it."""
    config = {name: getattr(plan.config, name) for name in LoraConfig.__slots__}
    tables = {name: dict(value) for name, value in config.items() if isinstance(value, Mapping)}
    layers = {path: asdict(layer) for path, layer in plan.layers.items()}
    return {"config": config | tables, "layers": layers, "tied": plan.tied}


def plan_from_data(source: object, data: Any) -> AdapterPlan:
    """Returns the plan that `plan_as_data` described.

    Raises:
        LoraConfigError: it is no such plan, or a value is out of range.
    """
    expected = "settings that save_lora_weights wrote"
    if not isinstance(data, Mapping) or data.keys() - {"tied"} != {"config", "layers"}:
        raise LoraConfigError(source, "settings", data, expected)
    # Before files said so, adapters of tied tables left the projection as it was, and were trained like that.
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
    if not isinstance(facts, Mapping) or facts.keys() != set(LayerPlan.__slots__):
        raise LoraConfigError(source, path, facts, f"the fields {', '.join(LayerPlan.__slots__)}")
    checked = LoraConfig(facts["rank"], facts["alpha"])  # the same limits
    heads, shares = facts["heads"], facts["shares"]
    if type(heads) is not int or heads < 1:
        raise LoraConfigError(source, f"heads of {path}", heads, "an int of at least 1")
    lender = layers.get(shares) if isinstance(shares, str) else None
    if shares is not None and (not isinstance(lender, Mapping) or lender.get("shares") is not None):
        raise LoraConfigError(source, f"shares of {path}", shares, "the path of an adapted layer that shares nothing")
    return LayerPlan(checked.rank, float(checked.alpha or checked.rank), heads, shares)


def _by_layer(patterns: Mapping[str, Any], layers: Mapping[str, Any], roles: Roles) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for target, value in patterns.items():
        matched = match(target, layers, roles)
        if not matched:
            names = {layer.name for layer in layers.values()}
            raise LoraTargetError(target, "a pattern for it matches none of the layers that are adapted", names)
        found |= dict.fromkeys(matched, value)
    return found


def _settings(name: str, strategy: str, known: Mapping[str, Any]) -> str:
    """Says what there is in place of a setting that there is not."""
    similar = close_names(name, [*_NAMED, *known])
    own = f" and its own: {', '.join(known)}" if known else ""
    hint = f"; did you mean {similar[0]!r}?" if similar else ""
    return f"no such setting: {strategy!r} takes {', '.join(_NAMED)}{own}{hint}"
