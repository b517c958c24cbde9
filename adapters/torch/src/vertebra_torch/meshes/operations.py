"""Operations on DTensors and other tensors together, and those that are computed on each process's part."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import DTensor, Partial, Placement, Replicate, Shard
from torch.overrides import TorchFunctionMode

Placements = Sequence[Placement]


class Mixed(TorchFunctionMode):
    """Takes other tensors as replicated where an operation has a DTensor; each process must have the same values.

    PyTorch's own `implicit_replication` does so for the whole process, and the backward pass, which also meets such
    tensors, would need it, too. Here, the backward pass meets DTensors only.

    Args:
        mesh: The mesh.
    """

    def __init__(self, mesh: DeviceMesh) -> None:
        super().__init__()
        self._mesh = mesh

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if _has_mixture(args, kwargs):
            args = self._converted(args)
            kwargs = {name: self._converted(value) for name, value in kwargs.items()}
        special = _BY_PARTS.get(func)
        if special is not None and isinstance(args[0], DTensor | str):
            done = special(*args, **kwargs)
            if done is not None:
                return done
        return _summed(func(*args, **kwargs))

    def _converted(self, value: Any) -> Any:
        if isinstance(value, torch.Tensor):
            return value if isinstance(value, DTensor) else replicated(value, self._mesh)
        if isinstance(value, list | tuple):
            converted = [self._converted(inner) for inner in value]
            return converted if isinstance(value, list) else tuple(converted)
        return value


def _summed(result: Any) -> Any:
    """Returns a result whose parts are summed, once, as several operations will read it."""
    if not isinstance(result, DTensor) or not any(split.is_partial() for split in result.placements):
        return result
    return _Sum.apply(result)  # type: ignore[no-untyped-call]


class _Sum(torch.autograd.Function):
    """The sum of the parts of a tensor, and of its gradient."""

    @staticmethod
    def forward(ctx: Any, tensor: DTensor) -> DTensor:  # noqa: ARG004 (torch passes it)
        return without_parts(tensor)

    @staticmethod
    def backward(ctx: Any, *gradients: DTensor) -> DTensor:  # noqa: ARG004
        return without_parts(gradients[0])


def without_parts(tensor: DTensor) -> DTensor:
    """Returns the sum of a tensor whose processes have addends of it."""
    return with_placements(tensor, [Replicate() if split.is_partial() else split for split in tensor.placements])


def with_placements(tensor: DTensor, placements: Placements) -> DTensor:
    """Returns a tensor in other placements; it is summed and gathered along one axis of the mesh after the other.

    PyTorch warns of several axes at once, along which it computes in the same way.
    """
    for number in reversed(range(len(placements))):
        split, target = tensor.placements[number], placements[number]
        if split != target and (split.is_partial() or target.is_replicate()):
            targets = [*tensor.placements[:number], target, *tensor.placements[number + 1 :]]
            tensor = tensor.redistribute(placements=targets)
    return tensor if tuple(placements) == tuple(tensor.placements) else tensor.redistribute(placements=placements)


def replicated(tensor: torch.Tensor, mesh: DeviceMesh) -> DTensor:
    """Returns a tensor that each process has as a whole."""
    return _Replicated.apply(tensor, mesh)  # type: ignore[no-untyped-call,no-any-return]


class _Replicated(torch.autograd.Function):
    """A tensor that each process has as a whole, such as a factor of an adapter; its gradient is the sum of theirs."""

    @staticmethod
    def forward(ctx: Any, tensor: torch.Tensor, mesh: DeviceMesh) -> DTensor:  # noqa: ARG004
        return DTensor.from_local(tensor, mesh, [Replicate()] * mesh.ndim, run_check=False)

    @staticmethod
    def backward(ctx: Any, *gradients: DTensor) -> tuple[torch.Tensor, None]:  # noqa: ARG004
        gradient = gradients[0]
        return with_placements(gradient, [Replicate()] * gradient.device_mesh.ndim).to_local(), None


def joined(local: torch.Tensor, mesh: DeviceMesh, placements: Placements, shape: Sequence[int]) -> DTensor:
    """Returns the tensor of which each process has a part, with the memory order of the parts."""
    strides, step = [0] * len(shape), 1
    for axis in sorted(range(len(shape)), key=lambda axis: (local.stride(axis), -axis)):
        strides[axis] = step
        step *= max(shape[axis], 1)
    return DTensor.from_local(local, mesh, placements, run_check=False, shape=torch.Size(shape), stride=tuple(strides))


def _has_mixture(args: Any, kwargs: Mapping[str, Any]) -> bool:
    divided = other = False
    for value in (*args, *kwargs.values()):
        for inner in value if isinstance(value, list | tuple) else (value,):
            if isinstance(inner, DTensor):
                divided = True
            elif isinstance(inner, torch.Tensor):
                other = True
    return divided and other


# === Operations by parts ===


def _attention(
    query: DTensor, key: Any, value: Any, attn_mask: Any = None, dropout_p: float = 0.0, **settings: Any
) -> DTensor | None:
    """Computes attention with the kernel for each process's rows and heads.

    PyTorch 2.13 has no strategy for the kernels of CPUs, and takes minutes with others on small tensors.
    """
    mesh = query.device_mesh
    divided = [_divided(split, (0, 1)) for split in query.placements]
    targets = [Replicate() if axis is None else Shard(axis) for axis in divided]
    parts = [tensor.redistribute(placements=targets).to_local() for tensor in (query, key, value)]
    mask = None if attn_mask is None else _mask_part(attn_mask, divided, query.shape)
    local = torch.nn.functional.scaled_dot_product_attention(*parts, mask, dropout_p, **settings)
    return joined(local, mesh, targets, (*query.shape[:-1], value.shape[-1]))


def _divided(split: Placement, axes: Sequence[int]) -> int | None:
    return split.dim if isinstance(split, Shard) and split.dim in axes else None


def _mask_part(mask: DTensor, divided: Sequence[int | None], shape: Sequence[int]) -> torch.Tensor:
    """Returns the part of a mask, or a bias, for the rows and heads of this process."""
    missing = len(shape) - mask.ndim
    targets: list[Placement] = []
    gradients: list[Placement] = []
    for axis in divided:
        own = None if axis is None or axis < missing else axis - missing
        if own is not None and mask.shape[own] == shape[own + missing]:
            targets.append(Shard(own))
            gradients.append(Shard(own))
        else:
            targets.append(Replicate())
            gradients.append(Replicate() if axis is None else Partial())
    return mask.redistribute(placements=targets).to_local(grad_placements=gradients)


def _einsum(equation: str, *operands: Any) -> DTensor | None:
    """Computes products for each process's part of an axis that all operands and the result have, if that divides."""
    terms, _, result = equation.replace(" ", "").partition("->")
    names = terms.split(",")
    if not result or len(names) != len(operands) or not all(isinstance(operand, DTensor) for operand in operands):
        return None
    letters = [_letter(number, names, operands) for number in range(operands[0].device_mesh.ndim)]
    if not all(letter is None or all(letter in name for name in (*names, result)) for letter in letters):
        return None
    pairs = list(zip(names, operands, strict=True))
    parts = [operand.redistribute(placements=_at(name, letters)).to_local() for name, operand in pairs]
    sizes = {letter: size for name, operand in pairs for letter, size in zip(name, operand.shape, strict=True)}
    shape = [sizes[letter] for letter in result]
    return joined(torch.einsum(equation, *parts), operands[0].device_mesh, _at(result, letters), shape)


def _letter(number: int, names: Sequence[str], operands: Sequence[DTensor]) -> str | None:
    """Returns the axis, by its letter, that an axis of the mesh divides, `.` for several, or None."""
    pairs = zip(names, operands, strict=True)
    found = {name[split.dim] for name, operand in pairs if isinstance(split := operand.placements[number], Shard)}
    return "." if len(found) > 1 else next(iter(found), None)


def _at(name: str, letters: Sequence[str | None]) -> list[Placement]:
    return [Replicate() if letter is None else Shard(name.index(letter)) for letter in letters]


_BY_PARTS: Mapping[Any, Callable[..., DTensor | None]] = {
    torch.nn.functional.scaled_dot_product_attention: _attention,
    torch.einsum: _einsum,
}
