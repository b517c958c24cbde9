"""Names of layers and weights in others' adapter files: those of the transformers modules, and KerasHub's numbers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from vertebra._discovery.catalog import BACKBONES, catalog
from vertebra._formats import kerashub, transformers
from vertebra._formats.translation import load_translation
from vertebra._weights.layer_paths import weight_names
from vertebra._weights.tensor_layout import holders, put, take
from vertebra.interfaces import Translation
from vertebra.specs import TensorRule

if TYPE_CHECKING:
    import numpy as np

_KERNELS = ("kernel", "embeddings")


class AdapterNames:
    """Translates between a model's paths and the names in PEFT's files.

    A layer or weight that transformers has no name for, as of a model of no plugin, keeps its path, with dots.
    """

    def __init__(self, model: Any) -> None:
        translation = translation_of(model, transformers.NAME)
        rules = translation.rules(arguments_of(model)) if translation else {}
        self._prefixes = ("", *(translation.prefixes if translation else ()))
        self._weights = weight_names(model)
        self._rules = {name: rules.get(name, TensorRule(name.replace("/", "."))) for name in self._weights}
        self._tensors = holders(self._rules)
        kernels = {name: rule for name, rule in self._rules.items() if name.rpartition("/")[2] in _KERNELS}
        self._modules = {name.rpartition("/")[0]: _module(rule.tensor) for name, rule in kernels.items()}
        self._layers: dict[str, list[str]] = {}
        for name in sorted(kernels, key=lambda name: kernels[name].part or (0, 1)):
            self._layers.setdefault(_module(kernels[name].tensor), []).append(name.rpartition("/")[0])

    def module(self, path: str) -> str:
        """Returns the name of the module that holds a layer."""
        return self._modules[path]

    def layers(self, module: str) -> list[str]:
        """Returns the paths of the layers that are one module there, in its order; none if there is no such module.

        The name may have a checkpoint's prefix.
        """
        return self._find(module, self._layers) or []

    def tensor(self, weight: str) -> str:
        """Returns the name of the tensor that holds a weight."""
        return self._rules[weight].tensor

    def weights(self, tensor: str) -> list[str]:
        """Returns the weights that a tensor holds, in its order; none if there is no such tensor."""
        return self._find(tensor, self._tensors) or []

    def take(self, weight: str, array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any] | None:
        """Returns a weight's value out of its tensor, or None if the tensor is of another shape."""
        try:
            value = take(self._rules[weight], array, tuple(self._weights[weight].shape))
        except ValueError:
            return None
        return value if value.shape == tuple(self._weights[weight].shape) else None

    def is_ambiguous(self, module: str) -> bool:
        """Says whether the name of another module ends with that of this one."""
        return any(_module(tensor) != module and _module(tensor).endswith(module) for tensor in self._tensors)

    def kernels_are_reversed(self, modules: Iterable[str]) -> bool:
        """Says whether modules keep their kernels as inputs × outputs, as the layers here do and torch's do not."""
        return all(
            not self._rules[f"{path}/{_KERNELS[0]}"].transpose for module in modules for path in self._linear(module)
        )

    def put(self, weights: list[str], arrays: list[np.ndarray[Any, Any]]) -> np.ndarray[Any, Any]:
        """Returns the tensor that holds some weights."""
        return put([self._rules[weight] for weight in weights], arrays)

    def _linear(self, module: str) -> list[str]:
        return [path for path in self.layers(module) if f"{path}/{_KERNELS[0]}" in self._rules]

    def _find(self, name: str, table: Mapping[str, list[str]]) -> list[str] | None:
        plain = (name.removeprefix(prefix) for prefix in self._prefixes if name.startswith(prefix))
        return next((table[candidate] for candidate in plain if candidate in table), None)


class KerasHubNames:
    """Translates between a backbone's paths and what KerasHub's `.lora.h5` files say: numbers of layers."""

    def __init__(self, model: Any) -> None:
        self.translation = translation_of(model, kerashub.NAME)
        arguments = arguments_of(model) if self.translation else {}
        self.paths: Mapping[int, str] = self.translation.numbered_layers(arguments) if self.translation else {}
        rules = self.translation.rules(arguments) if self.translation else {}
        self._rules = {name.rpartition("/")[0]: rule for name, rule in rules.items() if name.endswith("/kernel")}

    def kernel_shape(self, path: str) -> tuple[int, ...] | None:
        """Returns the shape of a layer's kernel in KerasHub, or None if it is that of the layer here."""
        return self._rules[path].shape if path in self._rules else None

    def axes(self, path: str) -> tuple[int, ...] | None:
        """Returns the order in which its axes are taken, or None for the one they have."""
        return self._rules[path].axes if path in self._rules else None

    def heads(self, path: str, out_features: int) -> int:
        """Returns how many heads a layer's outputs are made of in KerasHub."""
        shape = self.kernel_shape(path)
        return 1 if shape is None else max(1, out_features // shape[-1])


def translation_of(model: Any, format: str) -> Translation | None:
    """Returns how a model's architecture is written in a format, or None if no plugin says so."""
    name = type(model).__name__
    spec = catalog(BACKBONES).lookup(name).value if name in catalog(BACKBONES) else None
    return load_translation(spec, format) if spec is not None and format in spec.formats else None


def arguments_of(model: Any) -> dict[str, Any]:
    """Returns the constructor arguments of a backbone, adapters aside."""
    found: dict[str, Any] = model.constructor_config()
    return found


def _module(tensor: str) -> str:
    """Returns the module that owns a tensor such as `encoder.query.weight`."""
    return tensor.rpartition(".")[0]
