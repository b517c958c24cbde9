"""The LoRA methods of a task: those of its backbone."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

from vertebra_text.system import log


class TaskAdapters:
    """The LoRA methods of `Task`; `vertebra.Backbone` documents them. A task's head has no adapters: it is trained."""

    backbone: Any
    head_weights: Any

    def enable_lora(self, *args: Any, **kwargs: Any) -> Any:
        """Freezes the backbone and adds trainable adapters to it; the head stays trainable."""
        return self.backbone.enable_lora(*args, **kwargs)

    def save_lora_weights(self, *args: Any, **kwargs: Any) -> None:
        """Saves an adapter of the backbone, without the task's head; a notice says so."""
        if self.head_weights():
            log.warning("The adapter does not hold the task's head: save_to_preset saves both")
        self.backbone.save_lora_weights(*args, **kwargs)

    def load_lora_weights(self, *args: Any, **kwargs: Any) -> Any:
        """Loads an adapter into the backbone and activates it."""
        return self.backbone.load_lora_weights(*args, **kwargs)

    @property
    def lora_adapters(self) -> Any:
        """A receipt for each adapter, by name; active adapters come first."""
        return self.backbone.lora_adapters

    def activate_lora(self, *names: Any) -> None:
        """Makes the named adapters the active ones."""
        self.backbone.activate_lora(*names)

    def disable_lora(self) -> None:
        """Deactivates all adapters."""
        self.backbone.disable_lora()

    def lora_rows(self, names: Any) -> AbstractContextManager[None]:
        """Chooses the adapters of the calls in a `with` block."""
        chosen: AbstractContextManager[None] = self.backbone.lora_rows(names)
        return chosen

    def unload_lora(self, name: str | None = None) -> None:
        """Removes one adapter, or all."""
        self.backbone.unload_lora(name)

    def merge_lora(self, **kwargs: Any) -> Any:
        """Merges the active adapters into the kernels."""
        return self.backbone.merge_lora(**kwargs)

    def unmerge_lora(self) -> None:
        """Undoes a merge."""
        self.backbone.unmerge_lora()
