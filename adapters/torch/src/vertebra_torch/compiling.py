"""Compiling with torch's own tracer, into one flat sequence of kernel calls."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import torch
from torch.fx.experimental.proxy_tensor import make_fx


def compile_backbone(backbone: Any) -> Callable[..., Any]:
    """Returns the forward pass as a traced graph, without autograd; it holds the weights themselves, not copies.

    A graph is traced for each shape of the inputs, and anew when variables were added, as by `enable_lora`. It needs
    no C++ compiler, which `torch.compile` does on the CPU.
    """
    graphs: dict[Any, Callable[..., Any]] = {}

    def compiled(inputs: Any) -> Any:
        tensors = [keras.ops.convert_to_tensor(value) for value in keras.tree.flatten(inputs)]
        structure = repr(keras.tree.map_structure(lambda _: 0, inputs))  # names of inputs, or their order
        key = (structure, *((tuple(t.shape), t.dtype, t.device) for t in tensors), *map(id, backbone.variables))
        with torch.no_grad():
            if key not in graphs:
                graphs[key] = _trace(backbone, inputs, tensors)
            return graphs[key](*tensors)

    return compiled


def _trace(backbone: Any, inputs: Any, tensors: list[torch.Tensor]) -> Callable[..., Any]:
    def forward(*flat: torch.Tensor) -> Any:
        return backbone(keras.tree.pack_sequence_as(inputs, flat), training=False)

    graph = make_fx(forward)(*tensors)
    graph.graph.eliminate_dead_code()
    graph.recompile()
    return graph
