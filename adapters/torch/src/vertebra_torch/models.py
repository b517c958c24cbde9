"""What users of `torch.nn.Module` expect of a backbone, which is one on this runtime."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import keras
import torch

from vertebra import layers
from vertebra.errors import DtypeChangeError


class TorchModel(keras.Model):
    """A Keras model whose `train()` and `eval()` mean what they do in torch, and whose dtype is its policy's."""

    def train(self, mode: bool = True) -> Any:
        """Makes later calls apply dropout, or not, unless they say `training=` or are part of another Keras model.

        As long as neither this nor `eval()` was called, calls do not: that is Keras's default. Keras's `fit`,
        `evaluate` and `predict`, of this model or of one that holds it, call both, and change nothing here: they give
        each call its mode, and an interrupted `fit` would leave its own behind.
        """
        if _keras_calls(sys._getframe(1)):
            return self
        found = super().train(mode)
        self.__dict__["_train_mode"] = mode
        return found

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        mode = self.__dict__.get("_train_mode")
        if mode is not None and kwargs.get("training") is None and _is_outermost(args, kwargs):
            kwargs["training"] = mode
        return super().__call__(*args, **kwargs)

    def _apply(self, fn: Callable[[torch.Tensor], torch.Tensor], recurse: bool = True) -> Any:
        """Does what `to()`, `cuda()` and others ask, but for changes of dtype, such as `half()`.

        Raises:
            DtypeChangeError: the dtype of parameters would change.
        """
        for dtype in {parameter.dtype for parameter in self.parameters() if parameter.is_floating_point()}:
            wanted = fn(torch.zeros((), dtype=dtype)).dtype
            if wanted != dtype:
                raise DtypeChangeError(type(self).__name__, str(wanted).removeprefix("torch."), self.dtype_policy.name)
        return super()._apply(fn, recurse)


def _keras_calls(frame: FrameType | None) -> bool:
    """Says whether Keras called `train` or `eval`, be it of a module that passed the call on to those that it holds."""
    while frame is not None and frame.f_code.co_name in ("train", "eval"):
        frame = frame.f_back
    return frame is not None and frame.f_globals.get("__name__", "").partition(".")[0] == "keras"


def _is_outermost(args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Says whether a call computes, and no other Keras layer is being called, which would say what its layers do."""
    if layers.is_calling():
        return False
    return not any(isinstance(leaf, keras.KerasTensor) for leaf in keras.tree.flatten((args, kwargs)))
