"""`HeadTask`: a task whose head the architecture declares."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vertebra import HeadSpec
from vertebra.errors import ArgumentError
from vertebra_text.layers.head import Head, head_of
from vertebra_text.tasks.task import Task


class HeadTask(Task):
    """The base class of tasks with a `vertebra.HeadSpec`, as the checkpoints of an architecture have it.

    A subclass names its `head_task`, and builds its head in `__init__`.

    Args:
        backbone: The backbone.
        head: The head, as `declared` and `vertebra_text.layers.head.Head` return it.
        preprocessor: As in `Task`.
        arguments: As in `Task`; the config of the head is added.
        outputs: As in `Task`; None means those of the head for all outputs of the backbone.
        **kwargs: `inputs`, `compile` and `name`, as in `Task`.
    """

    _head: Head

    def __init__(
        self,
        backbone: Any,
        head: Head,
        preprocessor: Any = None,
        arguments: Mapping[str, Any] | None = None,
        *,
        outputs: Any = None,
        **kwargs: Any,
    ) -> None:
        if outputs is None:
            outputs = head.connect(backbone(backbone.input), backbone.input.get("padding_mask"))
        self.__dict__["_head"] = head  # `compile` asks for it; not registered as a layer, as the backbone
        super().__init__(
            backbone, outputs, preprocessor, {**(arguments or {}), "head": head.spec.to_config()}, **kwargs
        )

    @classmethod
    def declared(cls, backbone: Any, head: Mapping[str, Any] | None) -> HeadSpec:
        """Returns the head of an argument `head`, or that of the architecture if the argument is None.

        Raises:
            ArgumentError: the argument is not the config of a head.
        """
        if head is None:
            return head_of(cls.head_task, backbone, {})
        try:
            return HeadSpec.from_config(head)
        except ValueError as error:
            raise ArgumentError(cls.__name__, "head", head, f"the config of a vertebra.HeadSpec: {error}") from error

    @property
    def built_head(self) -> Head:
        """The layers of the head."""
        return self._head

    @property
    def uses_pooled_output(self) -> bool:
        """Whether the head reads the backbone's pooled output."""
        return self._head.spec.pooling == "pooled_output"

    def head_weights(self) -> dict[str, Any]:
        return self._head.weights()
