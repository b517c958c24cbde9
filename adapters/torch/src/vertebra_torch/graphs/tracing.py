"""Traces a function of tensors into one flat sequence of kernel calls, with torch's own tracer.

Sizes of the inputs can stay symbols where the function allows, so that one graph serves batches of all sizes.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import _guards
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx.experimental.proxy_tensor import make_fx
from torch.fx.experimental.symbolic_shapes import DimDynamic, ShapeEnv, StatelessSymbolicContext

from vertebra_torch.graphs.fusing import FusedGraph, fuse


class Graph:
    """A traced function.

    Args:
        module: The traced kernel calls; tensors that are no arguments of the function are its attributes, not copies.
        accepts: Says of tensors of the traced dtypes and devices whether the graph is right for their shapes.
    """

    def __init__(self, module: Any, accepts: Callable[[Sequence[torch.Tensor]], bool]) -> None:
        self._module, self.accepts = module, accepts

    @functools.cached_property
    def fused(self) -> FusedGraph:
        """The graph with fused calls of the fastest kernels."""
        return fuse(self._module)


def trace(function: Callable[..., Any], tensors: Sequence[torch.Tensor], *, for_all_shapes: bool) -> Graph:
    """Returns the graph of a function of tensors.

    Args:
        function: The function.
        tensors: Its arguments.
        for_all_shapes: Whether the graph is for all shapes that the function treats as these, if it allows that, or for
            these alone.
    """
    if not for_all_shapes:
        return _with_numbers(function, tensors)
    try:
        return _with_symbols(function, tensors)
    except Exception:  # a layer may need the numbers; if the inputs are wrong, it raises its own error again
        return _with_numbers(function, tensors)


def _with_symbols(function: Callable[..., Any], tensors: Sequence[torch.Tensor]) -> Graph:
    """A size of 1 stays a number, as torch's kernels may broadcast it."""
    sizes = ShapeEnv()
    mode = FakeTensorMode(allow_non_fake_inputs=True, shape_env=sizes)
    symbols = [mode.from_tensor(tensor, symbolic_context=_all_sizes_of(tensor)) for tensor in tensors]
    module = make_fx(function, tracing_mode="symbolic", _allow_non_fake_inputs=True)(*symbols)
    condition = sizes.produce_guards_expression(symbols, ignore_static=False)

    def accepts(others: Sequence[torch.Tensor]) -> bool:
        return condition is None or sizes.evaluate_guards_expression(condition, others)

    return Graph(_cleaned(module), accepts)


def _all_sizes_of(tensor: torch.Tensor) -> Any:
    return StatelessSymbolicContext([DimDynamic.DUCK] * tensor.ndim)


def _with_numbers(function: Callable[..., Any], tensors: Sequence[torch.Tensor]) -> Graph:
    shapes = [tensor.shape for tensor in tensors]
    mode = FakeTensorMode()  # else the tracer makes one, with a stack trace, for each value
    with _guards.tracing(_guards.TracingContext(mode)):
        module = make_fx(function)(*tensors)
    return Graph(_cleaned(module), lambda others: [tensor.shape for tensor in others] == shapes)


def _cleaned(module: Any) -> Any:
    module.graph.eliminate_dead_code()
    module.recompile()
    return module
