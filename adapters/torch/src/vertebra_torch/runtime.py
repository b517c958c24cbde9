"""The PyTorch runtime; other modules implement its methods."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from vertebra import Device, Runtime

if TYPE_CHECKING:
    import numpy as np


class TorchRuntime(Runtime):
    """Runs Keras on PyTorch."""

    name = "torch"
    compiles_each_shape = False

    def unavailable_reason(self) -> str | None:
        return None if find_spec("torch") else "PyTorch is not installed; install it with: pip install torch"

    def import_keras(self) -> None:
        from vertebra_torch.importing import import_keras

        import_keras()

    def check_weights(self, model: Any) -> None:
        from vertebra_torch.models import require_own_values

        require_own_values(model)

    def model_class(self) -> type:
        from vertebra_torch.models import TorchModel

        return TorchModel

    def devices(self) -> list[Device]:
        from vertebra_torch.devices import list_devices

        return list_devices()

    def tensor(self, array: np.ndarray[Any, Any], dtype: str) -> Any:
        from vertebra_torch.tensors import to_tensor

        return to_tensor(array, dtype)

    def snapshot(self, tensor: Any) -> Any:
        return tensor.detach().clone()

    def assign(self, variable: Any, tensor: Any) -> None:
        variable.assign(tensor)  # Keras copies the values into the variable's own memory

    def is_tracing(self) -> bool:
        import torch

        return bool(torch.compiler.is_compiling())

    def can_view(self, start: int, contiguous: bool) -> bool:
        return True

    def dropout(self, inputs: Any, rate: float, generator: Any) -> Any:
        if hasattr(inputs, "placements"):  # a DTensor
            from vertebra_torch.meshes.dropping import drop_parts

            return drop_parts(inputs, rate)
        from vertebra_torch.dropping import drop

        return drop(inputs, rate, generator)

    def compile(self, backbone: Any) -> Callable[..., Any]:
        from vertebra_torch.compiling import CompiledFunction

        return CompiledFunction(backbone)

    def mesh_sizes(self, mesh: Any) -> Mapping[str, int] | None:
        from vertebra_torch.meshes.parts import mesh_sizes

        return mesh_sizes(mesh)

    def divide(
        self,
        mesh: Any,
        divided: Sequence[Sequence[str]],
        shape: Sequence[int],
        dtype: str,
        part: Callable[[tuple[slice, ...]], np.ndarray[Any, Any]],
    ) -> Any:
        from vertebra_torch.meshes.parts import divide

        return divide(mesh, divided, shape, dtype, part)

    def own_parts(self, tensor: Any) -> Sequence[tuple[tuple[slice, ...], np.ndarray[Any, Any]]]:
        from vertebra_torch.meshes.parts import own_parts

        return own_parts(tensor)

    def process_of(self, mesh: Any) -> tuple[int, int]:
        from vertebra_torch.meshes.processes import process_of

        return process_of(mesh)

    def exchange(self, mesh: Any, message: bytes, seconds: float) -> list[bytes]:
        from vertebra_torch.meshes.processes import exchange

        return exchange(mesh, message, seconds)

    def equalize(self, model: Any, variables: Sequence[Any]) -> None:
        from vertebra_torch.meshes.calls import mesh_of
        from vertebra_torch.meshes.processes import equalize

        mesh = mesh_of(model)
        if mesh is not None:
            equalize(mesh, variables)

    def sample(self, tensor: Any, step: int) -> np.ndarray[Any, Any]:
        from vertebra_torch.meshes.parts import sample

        values = sample(tensor, step)
        return super().sample(tensor, step) if values is None else values

    def write_slots(self, slots: Any, start: Any, values: Any) -> Any:
        from vertebra_torch.tensors import write_slots

        return write_slots(slots, start, values)

    def compile_step(self, model: Any, step: Callable[[Any, Any], tuple[Any, Any]]) -> Callable[[], Callable[..., Any]]:
        from vertebra_torch.compiling import CompiledStep

        return CompiledStep(model, step)

    def pack(self, program: Any) -> Callable[..., Any]:
        packed: Callable[..., Any] = program.packed()
        return packed
