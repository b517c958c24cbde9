"""Compiling with `jax.jit`."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import keras


def compile_backbone(backbone: Any) -> Callable[..., Any]:
    """Returns the forward pass as one jitted function; the weights are its arguments, read at each call.

    It is traced for each shape of the inputs, and anew when variables were added, as by `enable_lora`.
    """

    @partial(jax.jit, static_argnums=0)
    def forward(_identities: tuple[int, ...], values: Any, inputs: Any) -> Any:
        with keras.StatelessScope(zip(backbone.variables, values, strict=True)):
            return backbone(inputs, training=False)

    def compiled(inputs: Any) -> Any:
        # Identities, because other variables may have the same shapes, and would find the old trace.
        variables = backbone.variables
        return forward(tuple(map(id, variables)), [variable.value for variable in variables], inputs)

    return compiled
