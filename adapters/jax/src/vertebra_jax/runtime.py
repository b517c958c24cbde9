"""The JAX runtime; other modules implement its methods."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from vertebra import Device, Runtime

if TYPE_CHECKING:
    import numpy as np


class JaxRuntime(Runtime):
    """Runs Keras on JAX."""

    name = "jax"

    def unavailable_reason(self) -> str | None:
        return None if find_spec("jax") else "JAX is not installed; install it with: pip install jax"

    def check_process(self) -> None:
        from vertebra_jax.threads import check_process

        check_process()

    def model_class(self) -> type:
        from vertebra_jax.models import JaxModel

        return JaxModel

    def devices(self) -> list[Device]:
        from vertebra_jax.devices import list_devices

        return list_devices()

    def tensor(self, array: np.ndarray[Any, Any], dtype: str) -> Any:
        from vertebra_jax.tensors import to_tensor

        return to_tensor(array, dtype)

    def snapshot(self, tensor: Any) -> Any:
        return tensor.copy()

    def share(self, tensor: Any) -> Any:
        from vertebra_jax.tensors import share

        return share(tensor)

    def is_tracing(self) -> bool:
        from vertebra_jax.tensors import is_tracing

        return is_tracing()

    def can_view(self, start: int, contiguous: bool) -> bool:
        return contiguous and start % 64 == 0  # jax.device_put copies all other arrays

    def dropout(self, inputs: Any, rate: float, generator: Any) -> Any:
        from vertebra_jax.dropping import drop

        return drop(inputs, rate, generator)

    def attention(self, query: Any, key: Any, value: Any, mask: Any, bias: Any, scale: float) -> Any:
        from vertebra_jax.attention import attend

        return attend(query, key, value, mask, bias, scale)

    def compile(self, backbone: Any) -> Callable[..., Any]:
        from vertebra_jax.compiling import compile_backbone

        return compile_backbone(backbone)

    def compile_step(self, model: Any, step: Callable[[Any, Any], tuple[Any, Any]]) -> Callable[[], Callable[..., Any]]:
        from vertebra_jax.compiling import CompiledStep

        return CompiledStep(model, step)

    def mesh_sizes(self, mesh: Any) -> Mapping[str, int] | None:
        from vertebra_jax.meshes import mesh_sizes

        return mesh_sizes(mesh)

    def divide(
        self,
        mesh: Any,
        divided: Sequence[Sequence[str]],
        shape: Sequence[int],
        dtype: str,
        part: Callable[[tuple[slice, ...]], np.ndarray[Any, Any]],
    ) -> Any:
        from vertebra_jax.meshes import divide

        return divide(mesh, divided, shape, dtype, part)

    def own_parts(self, tensor: Any) -> Sequence[tuple[tuple[slice, ...], np.ndarray[Any, Any]]]:
        from vertebra_jax.meshes import own_parts

        return own_parts(tensor)

    def process_of(self, mesh: Any) -> tuple[int, int]:
        from vertebra_jax.meshes import process_of

        return process_of(mesh)

    def exchange(self, mesh: Any, message: bytes, seconds: float) -> list[bytes]:
        from vertebra_jax.meshes import exchange

        return exchange(mesh, message, seconds)

    def equalize(self, model: Any, variables: Sequence[Any]) -> None:
        from vertebra_jax.meshes import equalize

        equalize(model, variables)

    def sample(self, tensor: Any, step: int) -> np.ndarray[Any, Any]:
        from vertebra_jax.meshes import is_divided, sample_divided

        return sample_divided(tensor, step) if is_divided(tensor) else super().sample(tensor, step)
