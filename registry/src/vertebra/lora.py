"""LoRA adapters for any Keras model; the LoRA methods of `vertebra.Backbone` call these functions.

A model holds adapters by name; any number of them are active. While a model has an adapter, its base weights are
frozen. Unloading the last adapter restores the original model. Every function succeeds or leaves the model unchanged.
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
"""Adapters for a call: a name, a mapping from names to strengths, or a list with one of these or None per row."""


def enable(
    model: Any,
    rank: int | None = None,
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
        model: A built Keras model. Its layer objects stay the same. `Dense`, `EinsumDense`, `Embedding` and
            convolution layers can be adapted, in floats or quantised to int8 or int4.
        rank: Inner dimension of the low-rank product; None for strategies without a rank.
        target_names: Names, paths or globs of layers, roles such as `attention.query`, or `all-linear`. None means
            the targets that the model's class declares. Each must match at least one layer.
        alpha: The low-rank path is scaled by `alpha / rank`, or as the strategy defines; None means `rank`.
        dropout: Fraction of the path's inputs that is dropped while training, in [0, 1).
        strategy: Name of an installed LoRA strategy; `vertebra strategies` lists them.
        seed: Seed of the initial values; None draws one.
        rank_pattern: Ranks that override `rank`, by target.
        alpha_pattern: Alphas that override `alpha`, by target.
        bias: Biases that also train: `none`, `lora` for the biases of the adapted layers, or `all`.
        train: Targets of layers that also train in full. Their trained weights belong to the adapter.
        name: Name of the adapter. It becomes the only active adapter.
        **options: Further options of the strategy, and fields of PEFT's LoRA config that add layers, such as
            `trainable_token_indices`: row numbers of the token embedding, or a mapping from targets to row numbers.

    Returns:
        A receipt: the adapted layers and the numbers of parameters added, trained and frozen.

    Raises:
        LoraTargetError: a target matches no layer that can be adapted, or also layers that cannot.
        LoraDeclarationError: `lora_roles` or `lora_targets` of the model's class is invalid.
        LoraStrategyError: a plugin's strategy breaks a rule, for example that adapters start at zero.
        LoraStateError: the model already has an adapter of that name, or adapters are merged.
        LoraConfigError: a value is out of range.
        UnknownNameError: no plugin provides the strategy.
    """
    from vertebra._lora import enable as enabling
    from vertebra._lora.choices.calls import changing

    patterns = rank_pattern or {}, alpha_pattern or {}
    config = LoraConfig(1 if rank is None else rank, alpha, dropout, strategy, seed, *patterns, options)
    with changing(model):
        return enabling.enable(_bound(model), enabling.own_settings(config, rank), target_names, name, bias, train)


def save(model: Any, filepath: str | Path, name: str | None = None) -> None:
    """Saves an adapter with its co-trained base weights.

    Args:
        model: The model.
        filepath: A `.safetensors` file, the short form, which keeps everything; a folder in PEFT's layout; or a
            `.lora.h5` file in KerasHub's format. Strategies that PEFT or KerasHub lacks are exported exactly, as plain
            LoRA, if their change of a kernel is a product of two matrices.
        name: Name of the adapter; None means the active adapter.

    Raises:
        LoraStateError: the model has no such adapter.
        LoraConfigError: the format cannot represent the adapter.
        PresetSaveError: the file cannot be written; an existing file is unchanged.
    """
    from vertebra._lora.choices.calls import reading
    from vertebra._lora.together import save_adapter

    with reading(model):
        save_adapter(model, filepath, name)


def load(
    model: Any,
    filepath: str | Path,
    name: str | None = None,
    *,
    check_base: bool = True,
    strict: bool = True,
    locked: bool | None = None,
) -> LoraReceipt:
    """Loads an adapter and activates it alone; on an error the model is unchanged.

    Args:
        model: The model.
        filepath: The path or handle of a file or folder that `save` wrote, of a PEFT folder, or of a KerasHub
            `.lora.h5` file. Handles are resolved as in `Backbone.from_preset`.
        name: Name of the adapter in the model; None means `default`. The file's values replace those of an adapter of
            that name, if it has the same settings, or has the default name and is untrained; the receipt says so.
        check_base: Whether to refuse an adapter of other base weights; only files of Vertebra have a fingerprint of it.
        strict: Whether to refuse a file with tensors that match no weight; if False, the receipt lists them.
        locked: Whether the adapter must match the lockfile; None means as in the settings.

    Returns:
        A receipt: the adapted layers, the numbers of parameters, the unused tensors, and where the file is from.

    Raises:
        AdapterNotFoundError: there is no adapter at the path or handle.
        AdapterMismatchError: the adapter's tensors do not fit the model.
        AdapterBaseError: the adapter was trained on other base weights.
        LoraConfigError: a setting is unknown or out of range.
        LoraStateError: the model has another adapter of that name, or adapters are merged.
        WeightsFileError: the file is corrupt.
        PresetError: a source, a policy or the lockfile refuses, or the source is not available.
    """
    from vertebra._lora import enable as enabling
    from vertebra._lora.choices.calls import changing, reading
    from vertebra._lora.files.dispatch import read_adapter
    from vertebra._lora.together import agree_on_file, loading_together

    arguments = {"name": name, "check_base": check_base, "strict": strict}
    with loading_together(_bound(model), filepath, arguments) as steps:
        with reading(model):
            file = read_adapter(model, filepath, locked)
            agree_on_file(steps, file)
        with changing(model):
            return enabling.load(model, file, name, check_base, strict)


def adapters(model: Any) -> dict[str, LoraReceipt]:
    """Returns a receipt for each adapter of a model, by name; active adapters come first."""
    from vertebra._lora.choices.calls import reading
    from vertebra._lora.receipts import receipt_of
    from vertebra._lora.state import adapters_of

    with reading(model):
        state = adapters_of(model)
        if state is None:
            return {}
        return {name: receipt_of(state, name) for name in dict.fromkeys([*state.active, *state.known])}


def activate(model: Any, *names: str | Mapping[str, float]) -> None:
    """Makes the named adapters the active ones; their changes add up.

    Swapping adapters of the same settings does not recompile compiled functions.

    Args:
        model: The model.
        *names: Names, or mappings from names to strengths, such as `{"legal": 0.7, "german": 0.3}`.

    Raises:
        LoraStateError: the model has no adapter of a name, adapters are merged, or co-trained weights exclude others.
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
    """Deactivates all adapters: the outputs are those of the base model, to the bit."""
    activate(model)


@contextlib.contextmanager
def rows(model: Any, names: Choice) -> Iterator[None]:
    """Chooses, for a `with` block, the adapters of the calls, optionally for each row of a batch.

    The choice applies to the current thread or asyncio task and does not change the model: other threads use their own
    choices, or the active adapters. `backbone(inputs, adapters=names)` does the same for one call. Chosen adapters keep
    the values that they have when the block begins, and do not train.

    Args:
        model: The model, or a model that contains it or shares its layers.
        names: For each row of the batch, the name of an adapter, a mapping from names to strengths, or None for the
            base model; or one name or mapping for all rows.

    Raises:
        LoraStateError: the model has no adapter of a name, adapters are merged, or one has co-trained weights.
        LoraConfigError: a strength is not a finite number, or the list is empty.
    """
    from vertebra._lora.choices import calls

    with calls.rows(model, names):
        yield


def chosen_variables(model: Any) -> list[Any]:
    """Returns the variables of the adapters chosen for the current call; `model.variables` includes them.

    For runtimes that compile: choices of the same structure have variables of the same shapes, in the same order. The
    adapters may belong to another model that shares layers with this one.
    """
    from vertebra._lora.choices import calls

    return calls.chosen_variables(model)


def unload(model: Any, name: str | None = None) -> None:
    """Removes an adapter from the model.

    Args:
        model: The model.
        name: Name of the adapter; None means all. Removing the last adapter restores the base weights, to the bit, and
            the `trainable` flags of layers and weights.

    Raises:
        LoraStateError: the model has no such adapter, or adapters are merged.
    """
    from vertebra._lora.choices.calls import changing
    from vertebra._lora.state import require_adapters

    with changing(model):
        state = require_adapters(model)
        state.require_unmerged()
        if name is None:
            state.activate([])  # raises before any adapter is removed
        for each in tuple(state.known) if name is None else (state.get(name).name,):
            state.remove(each)


def merge(model: Any, *, reversible: bool = True) -> MergeReceipt:
    """Merges the active adapters into the kernels, so that the model is as fast as its base.

    Args:
        model: The model.
        reversible: Whether to keep the original kernels for `unmerge`. If False, all adapters are removed, and the
            merged model trains as the base model did.

    Returns:
        A receipt: the merged adapters and layers, and the rounding error.

    Raises:
        LoraStateError: no adapter is active, or a layer is quantised; see `merged_copy`.
    """
    from vertebra._lora import merge as merging
    from vertebra._lora.choices.calls import changing
    from vertebra._lora.state import require_adapters

    reversible = flag("merge_lora", "reversible", reversible)
    with changing(model):
        return merging.merge(require_adapters(model), reversible)


def unmerge(model: Any) -> None:
    """Undoes a merge: restores the original kernels, to the bit, and reattaches the adapters.

    Raises:
        LoraStateError: no adapter is merged, or a merged weight was changed since, which would be lost.
    """
    from vertebra._lora import merge as merging
    from vertebra._lora.choices.calls import changing
    from vertebra._lora.state import require_adapters

    with changing(model):
        merging.unmerge(require_adapters(model))


def merged_copy(backbone: Any) -> Any:
    """Returns a new float backbone with the active adapters merged; a quantised base is dequantised.

    Args:
        backbone: A backbone, quantised or not, with or without adapters. It does not change.

    Raises:
        LoraStateError: the model is a Keras model but not a backbone.
    """
    from vertebra._lora.choices.calls import reading
    from vertebra._lora.merged_copy import merged_copy as copy

    with reading(backbone):
        return copy(backbone)


def parameter_groups(model: Any, learning_rate: float) -> list[dict[str, Any]]:
    """Returns the trainable parameters in groups, dicts of `params` and `lr`, as optimisers of `torch.optim` take them.

    Args:
        model: A model with an adapter, on the torch backend.
        learning_rate: The base rate; strategies such as LoRA+ multiply it for some variables.

    Raises:
        ArgumentError: the rate is not a finite number above 0.
    """
    from vertebra._lora.trainable import groups

    rate = amount("parameter_groups", "learning_rate", learning_rate)
    parameters = {factor: [variable.value for variable in variables] for factor, variables in groups(model).items()}
    return [{"params": values, "lr": rate * factor} for factor, values in parameters.items()]


def learning_rates(model: Any, optimizer: Any) -> Any:
    """Makes a Keras optimiser apply the learning rates of the strategy, as LoRA+ needs, and returns it.

    Args:
        model: A model with an adapter.
        optimizer: A Keras optimiser that has not been used yet.
    """
    from vertebra._lora.trainable import set_learning_rates

    return set_learning_rates(model, optimizer)


def _bound(model: Any) -> Any:
    runtimes.bind()
    return model
