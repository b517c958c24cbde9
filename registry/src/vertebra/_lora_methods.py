"""The LoRA methods of a backbone; each calls the function of `vertebra.lora` that documents it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, ClassVar

from vertebra import lora
from vertebra.errors import LoraConfigError
from vertebra.specs import LoraReceipt, MergeReceipt


class LoraMethods:
    """The LoRA methods of `Backbone`."""

    lora_targets: ClassVar[Sequence[str]]

    def enable_lora(
        self,
        rank: int | None = None,
        target_names: Sequence[str] | None = None,
        *,
        target_layer_names: Sequence[str] | None = None,
        **settings: Any,
    ) -> LoraReceipt:
        """Freezes the backbone and adds a trainable low-rank path to some of its layers.

        Args:
            rank: Inner dimension of the low-rank product; None for strategies without a rank.
            target_names: Names, paths or globs of layers, roles such as `attention.query`, or `all-linear`. None
                means the targets that the class declares. Each must match at least one layer.
            target_layer_names: KerasHub's name for `target_names`.
            **settings: `alpha`, `dropout`, `strategy`, `seed`, `rank_pattern`, `alpha_pattern`, `bias`, `train`,
                `name`, options of the strategy, and `trainable_token_indices`, as in `vertebra.lora.enable`.

        Returns:
            A receipt: the adapted layers and the numbers of parameters added, trained and frozen.

        Raises:
            LoraTargetError: a target matches no layer that can be adapted.
            LoraStateError: the backbone already has an adapter of that name.
            LoraConfigError: a value is out of range.
        """
        if target_names is not None and target_layer_names is not None:
            raise LoraConfigError(
                "enable_lora", "target_layer_names", target_layer_names, "target_names or this, not both"
            )
        targets = target_names if target_names is not None else target_layer_names
        return lora.enable(self, rank, targets, **settings)

    def save_lora_weights(self, filepath: str | Path, name: str | None = None) -> None:
        """Saves an adapter as a `.safetensors` file, a folder in PEFT's layout, or a KerasHub `.lora.h5` file.

        See `vertebra.lora.save`.
        """
        lora.save(self, filepath, name)

    def load_lora_weights(
        self,
        filepath: str | Path,
        name: str | None = None,
        *,
        check_base: bool = True,
        strict: bool = True,
        locked: bool | None = None,
    ) -> LoraReceipt:
        """Loads an adapter from a path or handle and activates it; on an error the backbone is unchanged.

        See `vertebra.lora.load`.
        """
        return lora.load(self, filepath, name, check_base=check_base, strict=strict, locked=locked)

    @property
    def lora_adapters(self) -> dict[str, LoraReceipt]:
        """A receipt for each adapter, by name; active adapters come first."""
        return lora.adapters(self)

    def summary(self, line_length: Any = None, positions: Any = None, print_fn: Any = None, **settings: Any) -> None:
        """Prints the layers, as `keras.Model.summary`, and then a line for each adapter."""
        from vertebra._lora.receipts import summary_lines

        super().summary(line_length, positions, print_fn, **settings)  # type: ignore[misc]  # Keras's
        for line in summary_lines(self):
            (print_fn or print)(f" {line}")

    def activate_lora(self, *names: str | Mapping[str, float]) -> None:
        """Makes the named adapters the active ones; see `vertebra.lora.activate`."""
        lora.activate(self, *names)

    def disable_lora(self) -> None:
        """Deactivates all adapters; see `vertebra.lora.disable`."""
        lora.disable(self)

    def lora_rows(self, names: lora.Choice) -> AbstractContextManager[None]:
        """Chooses the adapters of the calls in a `with` block; see `vertebra.lora.rows`."""
        return lora.rows(self, names)

    def unload_lora(self, name: str | None = None) -> None:
        """Removes one adapter, or all; see `vertebra.lora.unload`."""
        lora.unload(self, name)

    def merge_lora(self, *, reversible: bool = True) -> MergeReceipt:
        """Merges the active adapters into the kernels; see `vertebra.lora.merge`."""
        return lora.merge(self, reversible=reversible)

    def unmerge_lora(self) -> None:
        """Undoes a merge; see `vertebra.lora.unmerge`."""
        lora.unmerge(self)

    def merged_copy(self) -> Any:
        """Returns a new float backbone with the active adapters merged; see `vertebra.lora.merged_copy`."""
        return lora.merged_copy(self)

    def default_lora_layer_names(self) -> list[str]:
        """Returns the default targets of `enable_lora`."""
        return list(self.lora_targets)

    def get_lora_target_names(self) -> list[str]:
        """Returns `default_lora_layer_names()`, under the name that older releases of KerasHub have for it."""
        return self.default_lora_layer_names()
