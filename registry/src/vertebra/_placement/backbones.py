"""What a backbone says about the places of its weights."""

from __future__ import annotations

from fnmatch import translate
from typing import TYPE_CHECKING, Any

from vertebra._placement.division import declared_layout
from vertebra.errors import LayoutError, MeshError
from vertebra.specs import LayoutRule, Placement

if TYPE_CHECKING:
    from keras.distribution import DeviceMesh, LayoutMap

_AXES = {
    "columns": {"kernel": ("data", "model")},
    "rows": {"kernel": ("model", "data")},
    "vocabulary": {"embeddings": ("model", "data"), "reverse_embeddings": ("data", "model")},
}
"""For each split, the weights of a layer that are divided, and the axes of the mesh for each of their axes."""


class PlacedWeights:
    """The attributes and methods of a backbone for meshes of devices."""

    placement: Placement | None = None
    """Where each weight is on the mesh that `from_preset` was given; None without a mesh."""

    @classmethod
    def get_layout_map(
        cls,
        device_mesh: DeviceMesh,
        model_parallel_dim_name: str = "model",
        data_parallel_dim_name: str = "batch",
    ) -> LayoutMap:
        """Returns the architecture's layout for `keras.distribution.ModelParallel`, as KerasHub's method of this name.

        The axis `model_parallel_dim_name` of the mesh divides weights as the layout says: heads, the feed-forward
        network's width, and the vocabulary; the other one their other axis.

        Raises:
            MeshError: the mesh has no axis of a given name.
            LayoutError: the architecture declares no layout.
        """
        import keras

        axes = {"model": model_parallel_dim_name, "data": data_parallel_dim_name}
        for name in axes.values():
            if name not in device_mesh.axis_names:
                known = ", ".join(device_mesh.axis_names)
                raise MeshError(f"it has no axis {name!r}; its axes are {known}", "Name two of them")
        rules = declared_layout(cls)
        if not rules:
            remedy = "Fill a keras.distribution.LayoutMap by the paths of the weights"
            raise LayoutError(cls.__name__, "its architecture declares no layout", remedy)
        layouts = keras.distribution.LayoutMap(device_mesh)
        for rule in rules:
            for pattern, names in _patterns(rule):
                layouts[pattern] = tuple(axes[name] for name in names)
        return layouts


def _patterns(rule: LayoutRule) -> list[tuple[str, Any]]:
    """Returns regular expressions of the paths of a rule's weights, and the axes that divide each."""
    weights = _AXES[rule.split].items()
    return [(translate(f"{glob}/{weight}"), names) for glob in rule.layers for weight, names in weights]
