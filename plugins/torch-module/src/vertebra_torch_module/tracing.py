"""Calls a skeleton without values, to know the shapes of its outputs and how it uses its linear layers."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import nn
from torch.nn import functional

from vertebra_torch_module.binding import bound, move_constants
from vertebra_torch_module.errors import TorchModuleError
from vertebra_torch_module.inputs import Input, call, map_inputs, plain
from vertebra_torch_module.skeleton import Linear, Slot

_SIZES = ((8, 12), (16, 24), (64, 96), (224, 256), (2, 3), (1, 2))
"""Two sizes of the free axes of inputs, which are tried in turn: of texts, of images, and of short sequences."""
_ROWS = (2, 3)
_DEVICES = ("meta", "cpu")
"""First without values; then with zeros, for a module whose computation depends on values."""

T = TypeVar("T")


@dataclass(frozen=True)
class Output:
    """The shape of an output, with None for axes that vary with the inputs, and its dtype."""

    shape: tuple[int | None, ...]
    dtype: torch.dtype


class Tracer:
    """A skeleton that is called without values.

    Args:
        skeleton: The skeleton.
        slots: Its tensors.
        reference: The user's name of the module, for messages.
        dtypes: The dtypes of weights that are floats, and of the computation.
    """

    def __init__(
        self,
        skeleton: nn.Module,
        slots: Sequence[Slot],
        reference: str,
        dtypes: tuple[torch.dtype, torch.dtype] = (torch.float32, torch.float32),
    ) -> None:
        self._skeleton, self._slots, self._reference = skeleton, slots, reference
        self._stored, self._dtype = dtypes

    def outputs(self, inputs: Input | Mapping[str, Input]) -> Any:
        """Returns the `Output`s for inputs, in lists and dicts as the module returns them.

        Raises:
            TorchModuleError: the module fails, or returns something else than tensors with a row for each input row.
        """

        def outputs_of_both(device: str, sizes: tuple[int, int]) -> Any:
            first, second = (
                self._call(inputs, device, rows, size, {}) for rows, size in zip(_ROWS, sizes, strict=True)
            )
            return self._merged(first, second)

        return self._first_that_works(inputs, outputs_of_both)

    def adaptable(self, inputs: Input | Mapping[str, Input], linears: Sequence[Linear]) -> list[Linear]:
        """Returns those linear layers that a call for inference or training uses in no other way than by calling them.

        Raises:
            TorchModuleError: the module fails.
        """

        def names_of_read(device: str, sizes: tuple[int, int]) -> set[str]:
            read: set[str] = set()
            traced = {name: _TracedLinear(one, device, self._dtype, read) for one in linears for name in one.names}
            for training in (False, True):
                self._call(inputs, device, _ROWS[0], sizes[0], traced, training=training)
            return read

        read = self._first_that_works(inputs, names_of_read)
        return [one for one in linears if one.name not in read]

    def _first_that_works(self, inputs: Input | Mapping[str, Input], attempt: Callable[[str, tuple[int, int]], T]) -> T:
        """Returns the result of the first device and sizes with which the module does not fail."""
        free = any(None in one.shape for one in ([inputs] if isinstance(inputs, Input) else inputs.values()))
        failures: list[Exception] = []
        for device, sizes in itertools.product(_DEVICES, _SIZES if free else _SIZES[:1]):
            try:
                return attempt(device, sizes)
            except TorchModuleError:
                raise
            except Exception as error:  # of the user's code
                failures.append(error)
        first_line = next(iter(str(failures[-1]).splitlines()), "")
        problem = (
            f"it cannot be called with the inputs that were declared ({type(failures[-1]).__name__}: {first_line})"
        )
        raise TorchModuleError(self._reference, problem, "Correct the module, or its inputs") from failures[-1]

    def _call(
        self,
        inputs: Input | Mapping[str, Input],
        device: str,
        rows: int,
        size: int,
        linears: Mapping[str, nn.Module],
        *,
        training: bool = False,
    ) -> Any:
        own = {slot: _constant(self._tensor(slot, device)) for slot in self._slots}
        module = bound(self._skeleton, own, linears, lambda _slot, _value: None).train(training)
        move_constants(module, device, self._dtype)

        def sample(one: Input) -> torch.Tensor:
            shape = (rows, *(size if axis is None else axis for axis in one.shape))
            dtype: torch.dtype = getattr(torch, one.dtype)
            return torch.zeros(shape, dtype=self._dtype if dtype.is_floating_point else dtype, device=device)

        with torch.no_grad(), torch.device(device), torch.random.fork_rng(devices=[]):
            return plain(call(module, map_inputs(sample, inputs)), self._reference)

    def _tensor(self, slot: Slot, device: str) -> torch.Tensor:
        floats = self._dtype if slot.is_cast else self._stored
        dtype = floats if slot.value.is_floating_point() else slot.value.dtype
        zeros = torch.zeros(slot.value.shape, dtype=dtype, device=device)
        return nn.Parameter(zeros, zeros.is_floating_point()) if not slot.is_buffer else zeros

    def _merged(self, first: Any, second: Any) -> Any:
        """Returns the `Output`s of two calls: sizes that differ vary with the inputs."""
        if isinstance(first, dict):
            return {name: self._merged(one, second[name]) for name, one in first.items()}
        if isinstance(first, list):
            return [self._merged(*pair) for pair in zip(first, second, strict=True)]
        if first.shape[:1] + second.shape[:1] != _ROWS:
            problem = f"forward returns a tensor of the shape {tuple(first.shape)} for {_ROWS[0]} rows"
            raise TorchModuleError(self._reference, problem, "The first axis of each output must be that of the rows")
        shape = (size if size == other else None for size, other in zip(first.shape, second.shape, strict=True))
        return Output(tuple(shape), first.dtype)


class _TracedLinear(nn.Module):
    """A linear layer without values that notes whether its weights are read."""

    def __init__(self, linear: Linear, device: str, dtype: torch.dtype, read: set[str]) -> None:
        super().__init__()
        layer = linear.layer
        self.in_features, self.out_features = layer.in_features, layer.out_features
        self.__dict__["_tensors"] = [
            None if value is None else torch.zeros(value.shape, dtype=dtype, device=device)
            for value in (layer.weight, layer.bias)
        ]
        self.__dict__["_note"] = lambda: read.add(linear.name)

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        return functional.linear(input, *self.__dict__["_tensors"])

    @property
    def weight(self) -> torch.Tensor:
        return self._read(0)

    @property
    def bias(self) -> torch.Tensor:
        return self._read(1)

    def _read(self, number: int) -> Any:
        self.__dict__["_note"]()
        return self.__dict__["_tensors"][number]


def _constant(tensor: torch.Tensor) -> Callable[[], torch.Tensor]:
    return lambda: tensor
