"""Gives the variables of a backbone their values on a mesh: each device holds its parts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras

from vertebra._keras.internals import give_divided
from vertebra._placement.division import Division, MeshChoice
from vertebra._weights.abstract import finish, initialize
from vertebra._weights.assign import assign_seeds, assign_weights
from vertebra._weights.checkpoint import Checkpoint
from vertebra._weights.layer_paths import weight_names
from vertebra._weights.match import Match
from vertebra._weights.tensor_layout import outermost_axis


def fill_divided(
    mesh: MeshChoice,
    backbone: Any,
    weights: Mapping[str, Any],
    checkpoint: Checkpoint,
    match: Match,
    created: list[Any],
) -> None:
    """Fills a backbone that was built without values from a checkpoint.

    Raises:
        LayoutError: the weights cannot be divided.
    """
    shapes = {name: tuple(variable.shape) for name, variable in weights.items()}
    outermost = {
        name: outermost_axis(rule, checkpoint.entries[rule.tensor].shape, shapes[name])
        for name, rule in match.sources.items()
    }
    division = mesh.division(backbone, shapes, outermost)
    assign_weights(mesh.runtime, weights, checkpoint, match, division)
    assign_seeds(mesh.runtime, backbone)  # divided below
    initialize(created)
    _divide(division, backbone, [name for name in weights if name not in match.sources])
    finish(backbone)
    _keep(backbone, division)


def divide_built(mesh: MeshChoice, backbone: Any) -> None:
    """Divides the weights of a backbone that was built with values.

    Raises:
        LayoutError: the weights cannot be divided.
    """
    shapes = {name: tuple(variable.shape) for name, variable in weight_names(backbone).items()}
    division = mesh.division(backbone, shapes, {})
    _divide(division, backbone, list(shapes))
    _keep(backbone, division)


def _divide(division: Division, backbone: Any, names: list[str]) -> None:
    """Divides the named weights, and copies variables that are no weights, such as seeds, to all devices."""
    weights = weight_names(backbone)
    for name in names:
        _replace(weights[name], lambda array, dtype, name=name: division.tensor(name, dtype, array.__getitem__))
    known = {id(variable) for variable in weights.values()}
    for variable in backbone.variables:
        if id(variable) not in known:
            _replace(variable, division.whole)


def _replace(variable: Any, divided: Any) -> None:
    give_divided(variable, divided(keras.ops.convert_to_numpy(variable.value), str(variable.dtype)))


def _keep(backbone: Any, division: Division) -> None:
    backbone.placement, backbone._mesh = division.placement, division.mesh
