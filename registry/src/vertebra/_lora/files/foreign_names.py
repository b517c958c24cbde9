"""Names in other libraries' adapter files: transformers' module names, and KerasHub's layer numbers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from vertebra._discovery.catalog import BACKBONES, SOURCES, catalog
from vertebra._formats import kerashub, transformers
from vertebra._formats.translation import as_written, in_module, load_translation
from vertebra._weights.layer_paths import weight_names
from vertebra._weights.match import any_match
from vertebra._weights.tensor_layout import holders, put, stored_shape, take
from vertebra.errors import FormatLimitError
from vertebra.handles import PresetHandle
from vertebra.translations import TensorRule, Translation

if TYPE_CHECKING:
    import numpy as np

_KERNELS = ("kernel", "embeddings")


class AdapterNames:
    """Translates between a model's paths and the names in PEFT's files.

    A layer or weight without a name in transformers, such as in a custom Keras model, keeps its path, with dots.
    """

    def __init__(self, model: Any) -> None:
        translation = translation_of(model, transformers.NAME)
        rules = translation.rules(arguments_of(model)) if translation else {}
        self._prefixes = ("", *(translation.prefixes if translation else ()))
        self._ignored = translation.ignored if translation else ()
        self._weights = weight_names(model)
        plain = {name: rules.get(name, TensorRule(name.replace("/", "."))) for name in self._weights}
        written = as_written(plain, self._prefixes)
        self._rules = {name: replace(rule, tensor=in_module(rule), module=None) for name, rule in written.items()}
        self._tensors = holders(self._rules)
        others = {name: (in_module(plain[name]), plain[name].tensor, written[name].tensor) for name in plain}
        self._others = {other: self._rules[name].tensor for name, spellings in others.items() for other in spellings}
        """The tensor of the library's model by its other spellings: without a prefix, and as checkpoints have it."""
        self._others |= {_module(other): _module(tensor) for other, tensor in self._others.items()}
        self._roots = {_root(name) for name in (*self._tensors, *self._others, *self._prefixes[1:])}
        kernels = {name: rule for name, rule in self._rules.items() if name.rpartition("/")[2] in _KERNELS}
        self._modules = {name.rpartition("/")[0]: _module(rule.tensor) for name, rule in kernels.items()}
        self._layers: dict[str, list[str]] = {}
        for name in sorted(kernels, key=lambda name: kernels[name].part or (0, 1)):
            self._layers.setdefault(_module(kernels[name].tensor), []).append(name.rpartition("/")[0])

    def module(self, path: str) -> str:
        """Returns the name of the module that contains a layer."""
        return self._modules[path]

    def layers(self, module: str) -> list[str]:
        """Returns the paths of the layers that form a module, in the module's order; empty if the module is unknown.

        The name may have a checkpoint's prefix.
        """
        return self._find(module, self._layers) or []

    def tensor(self, weight: str) -> str:
        """Returns the name of the tensor that contains a weight."""
        return self._rules[weight].tensor

    def weights(self, tensor: str) -> list[str]:
        """Returns the weights that a tensor contains, in its order; empty if the tensor is unknown."""
        return self._find(tensor, self._tensors) or []

    def is_inside(self, name: str) -> bool:
        """Returns whether a name, known or not, is of the backbone and not of a head on top of it."""
        ignored = (any_match(name.removeprefix(prefix), self._ignored) for prefix in self._prefixes)
        return _root(name) in self._roots and not any(ignored)

    def stored_shape(self, weight: str) -> tuple[int, ...]:
        """Returns the shape of the tensor that contains a weight."""
        return stored_shape(self._rules[weight], tuple(self._weights[weight].shape))

    def take(self, weight: str, array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any] | None:
        """Returns a weight's value from its tensor, or None if the tensor has another shape."""
        try:
            value = take(self._rules[weight], array, tuple(self._weights[weight].shape))
        except ValueError:
            return None
        return value if value.shape == tuple(self._weights[weight].shape) else None

    def is_ambiguous(self, module: str) -> bool:
        """Returns whether another module's name ends with this module's name."""
        return any(_module(tensor) != module and _module(tensor).endswith(module) for tensor in self._tensors)

    def kernels_are_reversed(self, modules: Iterable[str]) -> bool:
        """Returns whether all modules store kernels as (inputs, outputs), as Keras does, unlike torch's `Linear`."""
        rules = (self._rules[f"{path}/{_KERNELS[0]}"] for module in modules for path in self._linear(module))
        return all(not rule.transpose and (rule.axes is None or rule.axes[0] == 0) for rule in rules)

    def put(self, weights: list[str], arrays: list[np.ndarray[Any, Any]]) -> np.ndarray[Any, Any]:
        """Returns the tensor that contains the weights."""
        return put([self._rules[weight] for weight in weights], arrays)

    def _linear(self, module: str) -> list[str]:
        return [path for path in self.layers(module) if f"{path}/{_KERNELS[0]}" in self._rules]

    def _find(self, name: str, table: Mapping[str, list[str]]) -> list[str] | None:
        plain = [name.removeprefix(prefix) for prefix in self._prefixes if name.startswith(prefix)]
        candidates = (*plain, *(self._others[other] for other in plain if other in self._others))
        return next((table[candidate] for candidate in candidates if candidate in table), None)


class KerasHubNames:
    """Translates between a backbone's paths and the layer numbers in KerasHub's `.lora.h5` files."""

    def __init__(self, model: Any) -> None:
        self.translation = translation_of(model, kerashub.NAME)
        arguments = arguments_of(model) if self.translation else {}
        self.paths: Mapping[int, str] = self.translation.numbered_layers(arguments) if self.translation else {}
        rules = self.translation.rules(arguments) if self.translation else {}
        self._rules = {name.rpartition("/")[0]: rule for name, rule in rules.items() if name.endswith("/kernel")}

    def kernel_shape(self, path: str) -> tuple[int, ...] | None:
        """Returns the shape of a layer's kernel in KerasHub, or None if it equals this layer's shape."""
        return self._rules[path].shape if path in self._rules else None

    def axes(self, path: str) -> tuple[int, ...] | None:
        """Returns the permutation of the axes of KerasHub's kernel, or None for the same order."""
        return self._rules[path].axes if path in self._rules else None

    def heads(self, path: str, out_features: int) -> int:
        """Returns the number of heads in a layer's outputs in KerasHub."""
        shape = self.kernel_shape(path)
        return 1 if shape is None else max(1, out_features // shape[-1])


def base_of_peft(model: Any) -> dict[str, Any]:
    """Returns the fields of PEFT's config that name the base: its repository or path, revision and class.

    A base that transformers cannot load is named by its handle. `AutoPeftModel` of PEFT imports the class.
    """
    fields: dict[str, Any] = {"base_model_name_or_path": getattr(model, "_preset", None), "auto_mapping": None}
    if fields["base_model_name_or_path"]:
        handle = PresetHandle.parse(fields["base_model_name_or_path"])
        name = catalog(SOURCES).lookup(handle.scheme).value.transformers_name(handle)
        if name:
            fields |= {"base_model_name_or_path": name, "revision": handle.revision}
    translation = translation_of(model, transformers.NAME)
    try:
        config = translation.config(arguments_of(model)) if translation else {}
    except FormatLimitError:  # transformers has no class that computes the same
        config = {}
    if config.get("architectures"):
        # A decoder of a multimodal model, such as gemma3_text, is in the module of the whole model.
        kind = config["model_type"].replace("-", "_").removesuffix("_text")
        library = f"{transformers.NAME}.models.{kind}.modeling_{kind}"
        fields["auto_mapping"] = {"base_model_class": config["architectures"][0], "parent_library": library}
    return fields


def translation_of(model: Any, format: str) -> Translation | None:
    """Returns the translation of a model's architecture to a format, or None if no plugin has one."""
    name = type(model).__name__
    entry = catalog(BACKBONES).lookup(name) if name in catalog(BACKBONES) else None
    return load_translation(entry, format) if entry is not None and format in entry.value.formats else None


def arguments_of(model: Any) -> dict[str, Any]:
    """Returns the constructor arguments of a backbone, without adapters."""
    arguments: dict[str, Any] = model.constructor_config()
    return arguments


def _module(tensor: str) -> str:
    """Returns the module that owns a tensor such as `encoder.query.weight`."""
    return tensor.rpartition(".")[0]


def _root(name: str) -> str:
    """Returns the outermost module in a name."""
    return name.partition(".")[0]
