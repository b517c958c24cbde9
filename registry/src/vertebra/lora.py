"""LoRA adapters of any Keras model; the methods of `vertebra.Backbone` are these functions.

A model has adapters by name, and some of them act. While it has any, everything else in it is frozen; when the last
one is unloaded, it is what it was before. Every function changes the model as a whole or not at all.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from vertebra._arguments import amount, flag
from vertebra._discovery import runtimes
from vertebra.specs import LoraConfig, LoraReceipt, MergeReceipt

__all__ = [
    "activate",
    "adapters",
    "chosen_variables",
    "disable",
    "enable",
    "learning_rates",
    "load",
    "merge",
    "merged_copy",
    "parameter_groups",
    "rows",
    "save",
    "unload",
    "unmerge",
]

Choice = str | Mapping[str, float] | Sequence[str | Mapping[str, float] | None]
"""Adapters for a call: a name, a table of names with strengths, or one of these or None for each row of the batch."""


def enable(
    model: Any,
    rank: int,
    target_names: Sequence[str] | None = None,
    *,
    alpha: float | None = None,
    dropout: float = 0.0,
    strategy: str = "lora",
    seed: int | None = None,
    rank_pattern: Mapping[str, int] | None = None,
    alpha_pattern: Mapping[str, float] | None = None,
    bias: str = "none",
    train: Sequence[str] = (),
    name: str = "default",
    **options: Any,
) -> LoraReceipt:
    """Freezes a model and adds a trainable low-rank path to some of its layers.

    Args:
        model: A Keras model that is built. Its layer objects stay; those adapted are `Dense`, `EinsumDense`,
            `Embedding` and convolutions, in floats or quantised as int8 or int4.
        rank: Inner dimension of the low-rank product.
        target_names: Names, paths or globs of layers, roles such as `attention.query`, or `all-linear`. None means
            the architecture's own, the query and value projections. Each must match at least one layer.
        alpha: The path is scaled by `alpha / rank`, or as the strategy says; None means `rank`.
        dropout: Share of the path's inputs that is dropped while training, in [0, 1).
        strategy: Name of an installed LoRA strategy; `vertebra strategies` lists them.
        seed: Seed of the initial values; None draws one.
        rank_pattern: Another rank for some of the adapted layers, by target.
        alpha_pattern: Another alpha for some of them, by target.
        bias: Biases that train, too: `none`, `lora` for those of the adapted layers, or `all`.
        train: Targets of layers that train in full beside the adapter. Their values are the adapter's own: they come
            and go with it.
        name: Name of the adapter, for when the model has several. It becomes the only one that acts.
        **options: What the strategy takes beyond these.

    Returns:
        What was adapted, added, trained and frozen.

    Raises:
        LoraTargetError: a target matches no layer that can be adapted, or only in part.
        LoraDeclarationError: what the model's class declares in `lora_roles` or `lora_targets` cannot be used.
        LoraStrategyError: the strategy of a plugin breaks a rule, such as to start at zero.
        LoraStateError: the model has an adapter of that name already, or one that is merged.
        LoraConfigError: a value is out of range.
        UnknownNameError: no plugin provides the strategy.
    """
    from vertebra._lora import enable as enabling
    from vertebra._lora.choices.calls import changing

    config = LoraConfig(rank, alpha, dropout, strategy, seed, rank_pattern or {}, alpha_pattern or {}, options)
    with changing(model):
        return enabling.enable(_bound(model), config, target_names, name, bias, train)


def save(model: Any, filepath: str | Path, name: str | None = None) -> None:
    """Saves an adapter, and every base weight that trains beside it.

    Args:
        model: The model.
        filepath: A `.safetensors` file, the short form, which keeps everything; a folder in PEFT's layout; or a
            `.lora.h5` file, as KerasHub's. A strategy that PEFT or KerasHub does not have is written as what it amounts
            to there, exactly, if it amounts to a product of two matrices.
        name: Name of the adapter; None means the one that acts.

    Raises:
        LoraStateError: the model has no such adapter.
        LoraConfigError: the form cannot hold it.
        PresetSaveError: the target cannot be written; what stood there is unchanged.
    """
    from vertebra._lora.choices.calls import reading
    from vertebra._lora.files.adapter_data import AdapterData
    from vertebra._lora.files.dispatch import write_adapter
    from vertebra._lora.state import require_adapters

    with reading(model):
        adapters = require_adapters(model)
        adapter = adapters.get(name)
        content = AdapterData(adapters.values_of(adapter.name), adapter.base, adapters.co_trained_of(adapter.name))
        write_adapter(model, filepath, adapter.plan, content)


def load(
    model: Any, filepath: str | Path, name: str | None = None, *, check_base: bool = True, strict: bool = True
) -> LoraReceipt:
    """Loads an adapter and makes it the one that acts; on an error the model is unchanged.

    Args:
        model: The model.
        filepath: What `save` wrote, a folder that PEFT wrote, or a `.lora.h5` file that KerasHub wrote.
        name: Name to give it; None means `default`. Where the model has an adapter of that name with the same
            settings, that one gets the file's values.
        check_base: Whether to refuse an adapter that was trained on other base weights. Others' files do not say what
            they were trained on, and pass.
        strict: Whether to refuse a file with tensors for which the model has no place, such as those of a head. Without
            it, the receipt lists them.

    Returns:
        What was adapted, added, trained, frozen and left unused.

    Raises:
        AdapterNotFoundError: nothing is there.
        AdapterMismatchError: the adapter's tensors do not fit the model.
        AdapterBaseError: it was trained on other base weights.
        LoraConfigError: its settings are unknown or out of range.
        LoraStateError: the model has another adapter of that name, or one that is merged.
        WeightsFileError: the file is unsound.
    """
    from vertebra._lora import enable as enabling
    from vertebra._lora.choices.calls import changing, reading
    from vertebra._lora.files.dispatch import read_adapter

    with reading(model):
        file = read_adapter(_bound(model), filepath)
    with changing(model):
        return enabling.load(model, file, name, check_base, strict)


def adapters(model: Any) -> dict[str, LoraReceipt]:
    """Returns a receipt for each adapter of a model, by name; those that act come first."""
    from vertebra._lora.choices.calls import reading
    from vertebra._lora.receipts import receipt_of
    from vertebra._lora.state import adapters_of

    with reading(model):
        found = adapters_of(model)
        if found is None:
            return {}
        return {name: receipt_of(found, name) for name in dict.fromkeys([*found.active, *found.known])}


def activate(model: Any, *names: str | Mapping[str, float]) -> None:
    """Makes some adapters act, and no others; what they change is added up.

    Adapters of the same settings take each other's place without a compiled function being compiled anew.

    Args:
        model: The model.
        *names: Names, or tables of names with strengths, such as `{"legal": 0.7, "german": 0.3}`.

    Raises:
        LoraStateError: there is no adapter of a name, adapters are merged, or one that brings base weights of its own
            is to act with others.
    """
    from vertebra._lora.choices.calls import changing
    from vertebra._lora.choices.strengths import strength_matrix
    from vertebra._lora.state import require_adapters

    mix: dict[str, float] = {}
    for entry in names:
        mix |= {entry: 1.0} if isinstance(entry, str) else entry
    chosen, strengths = strength_matrix([mix])
    plain = all(strength == 1.0 for strength in mix.values()) and len(chosen) <= 1
    with changing(model):
        require_adapters(model).activate(chosen, None if plain else strengths[0])


def disable(model: Any) -> None:
    """Makes no adapter act: the model computes what its base does, to the bit."""
    activate(model)


@contextlib.contextmanager
def rows(model: Any, names: Choice) -> Iterator[None]:
    """Chooses, within a `with` block, which adapters act, and in which rows of a batch.

    The choice belongs to the thread or asyncio task that makes it, and the model is as it was: other threads compute
    meanwhile with adapters of their own choice, or with those that act. `backbone(inputs, adapters=names)` is the same
    for one call. Chosen adapters have the values that they had when the block began, and do not train.

    Which rows have which adapter is data: another choice among as many adapters of the same settings, for as many
    rows, is no reason to compile again.

    Args:
        model: The model, or one that is built on its layers or holds it.
        names: For each row of the batches in the block, the name of an adapter, a table of names with strengths, or
            None for the base alone; or one name or table for all rows.

    Raises:
        LoraStateError: there is no adapter of a name, adapters are merged, one brings base weights of its own, or one
            acts that does.
        LoraConfigError: a strength is no finite number, or the list has no row.
    """
    from vertebra._lora.choices import calls

    with calls.rows(model, names):
        yield


def chosen_variables(model: Any) -> list[Any]:
    """Returns the variables of the adapters that were chosen for the present call, in `model.variables`, too.

    The adapters may be those of another model whose layers this one has.

    For runtimes that compile: another choice of the same structure has other variables of the same shapes, in the same
    order, so their values must be arguments of what is compiled.
    """
    from vertebra._lora.choices import calls

    return calls.chosen_variables(model)


def unload(model: Any, name: str | None = None) -> None:
    """Gives an adapter up.

    Args:
        model: The model.
        name: Name of the adapter; None means all. After the last one, the model is what it was before: its base weights
            to the bit, and what of it trains.

    Raises:
        LoraStateError: there is no such adapter, or adapters are merged.
    """
    from vertebra._lora.choices.calls import changing
    from vertebra._lora.state import require_adapters

    with changing(model):
        found = require_adapters(model)
        found.require_unmerged()
        if name is None:
            found.activate([])  # what can be refused is refused before anything is given up
        for each in tuple(found.known) if name is None else (found.get(name).name,):
            found.remove(each)


def merge(model: Any, *, reversible: bool = True) -> MergeReceipt:
    """Adds what the adapters that act change to the kernels, so that they cost nothing any more.

    Args:
        model: The model.
        reversible: Whether `unmerge` shall be possible: the kernels of before are kept. Without it, all adapters are
            given up, and the merged model trains as the base did.

    Returns:
        What was merged, and how far rounding took it from the exact sum.

    Raises:
        LoraStateError: nothing acts, or a layer is quantised: see `merged_copy`.
    """
    from vertebra._lora import merge as merging
    from vertebra._lora.choices.calls import changing
    from vertebra._lora.state import require_adapters

    reversible = flag("merge_lora", "reversible", reversible)
    with changing(model):
        return merging.merge(require_adapters(model), reversible)


def unmerge(model: Any) -> None:
    """Takes a merge back: kernels have the values of before, to the bit, and the adapters act beside them.

    Raises:
        LoraStateError: nothing is merged.
    """
    from vertebra._lora import merge as merging
    from vertebra._lora.choices.calls import changing
    from vertebra._lora.state import require_adapters

    with changing(model):
        merging.unmerge(require_adapters(model))


def merged_copy(backbone: Any) -> Any:
    """Returns a new backbone in floats with the adapters that act merged into it; a quantised base is dequantised.

    Args:
        backbone: A backbone, quantised or not, with or without adapters. It stays as it is.

    Raises:
        LoraStateError: it is another Keras model.
    """
    from vertebra._lora.choices.calls import reading
    from vertebra._lora.merged_copy import merged_copy as copy

    with reading(backbone):
        return copy(backbone)


def parameter_groups(model: Any, learning_rate: float) -> list[dict[str, Any]]:
    """Returns what trains, in groups of one learning rate, as the optimisers of `torch.optim` take them.

    Args:
        model: A model with an adapter, on a backend whose variables hold parameters, such as torch's.
        learning_rate: The rate; strategies such as LoRA+ multiply it for some variables.

    Returns:
        Tables with `params`, a list, and `lr`.

    Raises:
        ArgumentError: the rate is not a finite number above 0.
    """
    from vertebra._lora.trainable import groups

    rate = amount("parameter_groups", "learning_rate", learning_rate)
    found = groups(model).items()
    return [{"params": [variable.value for variable in own], "lr": rate * factor} for factor, own in found]


def learning_rates(model: Any, optimizer: Any) -> Any:
    """Makes a Keras optimiser train the variables of a strategy such as LoRA+ at rates of their own.

    Args:
        model: A model with an adapter.
        optimizer: A Keras optimiser that is in no use yet.

    Returns:
        The same optimiser.
    """
    from vertebra._lora.trainable import set_learning_rates

    return set_learning_rates(model, optimizer)


def _bound(model: Any) -> Any:
    runtimes.bind()
    return model
