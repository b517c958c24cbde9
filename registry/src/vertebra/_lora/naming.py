"""Names of layers and weights in adapter files: those of the transformers modules, where the architecture has any."""

from __future__ import annotations

from typing import Any

from vertebra._catalog import BACKBONES, catalog
from vertebra._presets import transformers
from vertebra._presets.foreign import load_translation
from vertebra._weights.naming import weight_names
from vertebra.specs import TensorRule

_KERNELS = ("kernel", "embeddings")


class AdapterNames:
    """Translates between a backbone's paths and the names in adapter files."""

    def __init__(self, backbone: Any) -> None:
        self._prefixes, translated = _translation_of(backbone)
        self._rules = {
            name: translated.get(name, TensorRule(name.replace("/", "."))) for name in weight_names(backbone)
        }
        self._modules = {
            name.rpartition("/")[0]: _module(rule.tensor)
            for name, rule in self._rules.items()
            if name.rpartition("/")[2] in _KERNELS
        }
        self._layers = {module: path for path, module in self._modules.items()}
        self._weights = {rule.tensor: name for name, rule in self._rules.items()}

    def module(self, path: str) -> str:
        """Returns the name of a layer's module."""
        return self._modules[path]

    def rule(self, weight: str) -> TensorRule:
        """Returns how a weight is named and laid out."""
        return self._rules[weight]

    def layer(self, module: str) -> str | None:
        """Returns the path of a module's layer, with or without a checkpoint's prefix, or None."""
        return self._without_prefix(module, self._layers)

    def weight(self, tensor: str) -> str | None:
        """Returns the weight that a tensor holds, or None."""
        return self._without_prefix(tensor, self._weights)

    def _without_prefix(self, name: str, table: dict[str, str]) -> str | None:
        plain = (name.removeprefix(prefix) for prefix in self._prefixes if name.startswith(prefix))
        return next((table[candidate] for candidate in plain if candidate in table), None)


def _module(tensor: str) -> str:
    """Returns the module that owns a tensor such as `encoder.query.weight`."""
    return tensor.rpartition(".")[0]


def _translation_of(backbone: Any) -> tuple[tuple[str, ...], dict[str, TensorRule]]:
    name = type(backbone).__name__
    spec = catalog(BACKBONES).lookup(name).value if name in catalog(BACKBONES) else None
    if spec is None or transformers.NAME not in spec.formats:
        return ("",), {}
    translation = load_translation(spec, transformers.NAME)
    return ("", *translation.prefixes), translation.rules(backbone.get_config())
