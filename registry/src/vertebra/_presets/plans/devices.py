"""Plans many devices: the bytes of each by kind, what each process reads, and the meshes on which a preset fits."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from vertebra._placement.placing import Layout, place_weights
from vertebra._presets.plans.activations import Tokens, activation_bytes, score_bytes, tensor_parts
from vertebra._presets.plans.meshes import MOST_DEVICES, axes_of, meshes_of
from vertebra._presets.plans.weights import Shape, StoredWeight, loaded_dtype, rules_of
from vertebra._weights.tensor_entry import itemsize
from vertebra.errors import ArgumentError, LayoutError
from vertebra.specs import LayoutRule, MeshAxis, Placement, WeightPlacement

LENGTH = 2048
"""Tokens of each sequence in training, if none are given, as far as the backbone has positions."""
RANK = 8
"""Rank of an adapter, if none is given."""
_ADAPTER_BYTES = 4
"""Bytes of a number of an adapter: adapters are float32, whatever the dtype of the base weights."""
Training = Literal["full", "lora"]


@dataclass(frozen=True, slots=True)
class DevicesRequest:
    """The devices that are to be planned, and their work."""

    devices: int
    mesh: tuple[int, ...] | None = None
    """The sizes of the mesh's axes, or None to compare all meshes of fsdp and tensor parallelism."""
    parallel: tuple[str, ...] | None = None
    """The use of each axis of `mesh`, or None for those of `axes_of`."""
    train: Training | None = None
    """Whether all weights are trained, an adapter, or nothing."""
    replicates_uneven: bool = False
    """Whether a weight that cannot be divided evenly is replicated; otherwise the mesh cannot be used."""
    sequences: int = 1
    """Number of sequences in each part of the batch: each index of the data- and fsdp-parallel axes has one part."""
    length: int | None = None
    """Number of tokens of each sequence in training, or None for `LENGTH` of a text, and for unknown activations of
    other inputs."""
    recompute: bool = False
    """Whether blocks keep their inputs alone, and compute their activations again for the gradients."""
    rank: int = RANK
    """Rank of the adapter."""
    memory: int | None = None
    """Bytes of memory of each device, or None if unknown."""

    def __post_init__(self) -> None:
        numbers = {"devices": self.devices, "batch-size": self.sequences, "length": self.length}
        for option, value in numbers.items():
            if value is not None and not 1 <= value <= MOST_DEVICES:
                expected = f"a number from 1 to {MOST_DEVICES:,}"
                raise ArgumentError("vertebra plan", f"--{option}", value, expected)


@dataclass(frozen=True, slots=True)
class PlannedModel:
    """A backbone whose weights are divided."""

    backbone: str
    weights: Mapping[str, StoredWeight]
    shapes: Mapping[str, Shape]
    """The shapes of the weights by name."""
    layout: tuple[LayoutRule, ...]
    """The rules of the architecture; empty to derive them from the shapes."""
    arguments: Mapping[str, Any]
    dtype: str
    """Dtype or dtype policy of the weights."""
    head: int = 0
    """Number of parameters of a task's head, which is replicated."""
    adapter: int = 0
    """Number of parameters of the adapter, which is replicated."""
    cache: int = 0
    """Bytes of the cache of all sequences of a part of the batch."""
    is_decoder: bool = False


@dataclass(frozen=True, slots=True)
class MeshPlan:
    """The bytes of one device of a mesh."""

    axes: tuple[MeshAxis, ...]
    problem: str | None
    """Why the weights cannot be divided along the mesh; then all sizes are 0."""
    weights: int = 0
    """The device's parts of the weights, with those that are replicated, and with adapter and head."""
    replicated: int = 0
    """The share of `weights` that is whole on each device."""
    gathered: int = 0
    """Weights of the two largest layers, which fsdp gathers for a while; in full training, a gradient of one, too."""
    gradients: int = 0
    optimizer: int = 0
    """Adam's two moments."""
    activations: int | None = 0
    """Activations that are kept for the gradients; None without a declared layout, or without a length."""
    scores: int = 0
    """Further activations if attention is not fused; not in `total`."""
    cache: int = 0
    """Keys and values of the text that is generated."""
    total: int = 0
    reads: int = 0
    """Bytes of the files that the device's process reads."""
    fits: bool | None = None
    """Whether the device has so much memory; None if the memory or the activations are unknown, and False for a mesh
    that cannot be used."""


@dataclass(frozen=True, slots=True)
class ReplicatedWeights:
    """Weights that are whole along an axis of the mesh."""

    weights: str
    """Their name, with `*` for numbers."""
    count: int
    bytes: int
    """Bytes of all of them on each device."""
    along: tuple[str, ...]
    """The axes of the mesh."""
    reason: str


@dataclass(frozen=True, slots=True)
class DevicesPlan:
    """What each of many devices needs."""

    devices: int
    dtype: str
    """Dtype or dtype policy of the weights."""
    train: Training | None
    sequences: int
    """Number of sequences in each part of the batch."""
    length: int | None
    """Number of tokens of each sequence, in training; None if it is not known."""
    recompute: bool
    derived: bool
    """Whether the layout was derived from the shapes, as the architecture declares none."""
    adapter_parameters: int | None
    """Number of parameters of the adapter, or None if none is trained."""
    memory: int | None
    """Bytes of memory of each device, or None if unknown."""
    meshes: tuple[MeshPlan, ...]
    """The mesh that was given, or else all of fsdp and tensor parallelism; those of less tensor parallelism first."""
    others: tuple[MeshPlan, ...]
    """The meshes of fsdp and tensor parallelism that fit, if the one that was given does not."""
    first_fit: int | None
    """The number, in `meshes`, of the first that fits."""
    replicated: tuple[ReplicatedWeights, ...]
    """The weights that are replicated: of the mesh that was given, or else of the first that fits."""


def plan_devices(model: PlannedModel, request: DevicesRequest) -> DevicesPlan:
    """Works out the bytes of each device.

    Raises:
        MeshError: the mesh is not one of so many devices, or the uses of its axes do not fit.
        LayoutError: the weights cannot be divided along the mesh that was given.
        ArgumentError: the sequences are longer than the backbone allows.
    """
    planner = _Planner(model, request)
    if request.mesh is None:
        meshes = tuple(map(planner.try_mesh, meshes_of(request.devices)))
    else:
        meshes = (planner.plan(axes_of(request.mesh, request.devices, request.parallel)),)
    first = next((number for number, mesh in enumerate(meshes) if mesh.fits), None)
    others: tuple[MeshPlan, ...] = ()
    if request.mesh is not None and meshes[0].fits is False:
        others = tuple(mesh for mesh in map(planner.try_mesh, meshes_of(request.devices)) if mesh.fits)
    explained = first if request.mesh is None else 0
    return DevicesPlan(
        devices=request.devices,
        dtype=model.dtype,
        train=request.train,
        sequences=request.sequences,
        length=planner.tokens.length if request.train and planner.has_length else None,
        recompute=request.recompute,
        derived=not model.layout,
        adapter_parameters=model.adapter if request.train == "lora" else None,
        memory=request.memory,
        meshes=meshes,
        others=others,
        first_fit=first,
        replicated=() if explained is None else planner.replicated(meshes[explained].axes),
    )


class _Planner:
    """Plans the devices of one mesh after the other."""

    def __init__(self, model: PlannedModel, request: DevicesRequest) -> None:
        self._model, self._request = model, request
        self.tokens = _tokens(model, request)
        self.has_length = request.length is not None or "vocabulary_size" in model.arguments
        self._layout = Layout(
            model.backbone, model.layout, model.arguments, not model.layout, request.replicates_uneven
        )
        self._rules = rules_of(model.shapes, model.layout)
        self._float_size = itemsize(_float_dtype(model.dtype))
        self._sizes = {
            name: itemsize(loaded_dtype(model.weights[name].dtype, _float_dtype(model.dtype))) for name in model.shapes
        }

    def try_mesh(self, axes: tuple[MeshAxis, ...]) -> MeshPlan:
        """Returns the plan of a mesh, or why the weights cannot be divided along it."""
        try:
            return self.plan(axes)
        except LayoutError as error:
            return MeshPlan(axes, error.problem, fits=False)

    def plan(self, axes: tuple[MeshAxis, ...]) -> MeshPlan:
        """Returns the plan of a mesh.

        Raises:
            LayoutError: the weights cannot be divided along it.
        """
        model, request = self._model, self._request
        placement, head = self._place_weights(axes), model.head * self._float_size
        held = self._held(placement)
        weights = sum(held.values()) + head
        adapter = model.adapter * max(_ADAPTER_BYTES, self._float_size) if request.train == "lora" else 0
        floats = sum(size for name, size in held.items() if "float" in model.weights[name].dtype)
        gradients = {"full": floats + head, "lora": adapter + head, None: 0}[request.train]
        activations, scores, is_known = 0, 0, bool(self._rules) and self.has_length
        if request.train and is_known:
            activations = activation_bytes(placement, self._rules, self.tokens, model.is_decoder)
            scores = score_bytes(placement, self._rules, model.arguments, self.tokens)
        gathered, cache = self._gathered(placement), self._cache(placement)
        total = weights + adapter + gathered + 3 * gradients + activations + cache
        whole = (size for name, size in held.items() if not any(placement.weights[name].divided))
        return MeshPlan(
            axes=axes,
            problem=None,
            weights=weights + adapter,
            replicated=sum(whole) + head + adapter,
            gathered=gathered,
            gradients=gradients,
            optimizer=2 * gradients,
            activations=activations if is_known or not request.train else None,
            scores=scores,
            cache=cache,
            total=total,
            reads=self._reads(placement),
            fits=_fits(total, request.memory, is_known or not request.train),
        )

    def _place_weights(self, axes: Sequence[MeshAxis]) -> Placement:
        try:
            return place_weights(self._model.shapes, axes, self._layout)
        except LayoutError as error:
            remedy = "Pass --on-uneven replicate to have the weight on all devices, or another --mesh"
            raise LayoutError(error.backbone, error.problem, remedy) from None

    def _held(self, placement: Placement) -> dict[str, int]:
        """Returns the bytes of each weight on one device."""
        sizes = placement.sizes
        return {name: self._sizes[name] * math.prod(weight.share(sizes)) for name, weight in placement.weights.items()}

    def _reads(self, placement: Placement) -> int:
        sizes, stored = placement.sizes, self._model.weights
        return sum(stored[name].stored // math.prod(weight.parts(sizes)) for name, weight in placement.weights.items())

    def _gathered(self, placement: Placement) -> int:
        """Returns the bytes of the layers that fsdp has gathered at once: the one that computes, and the next.

        They have the compute dtype; the gradient of one, before it is divided, has that of the weights.
        """
        fsdp = {axis.name: axis.size for axis in placement.axes if axis.parallel == "fsdp"}
        compute, sizes = itemsize(_compute_dtype(self._model.dtype)), placement.sizes
        layers: dict[str, int] = {}
        gradients: dict[str, int] = {}
        for name, weight in placement.weights.items():
            parts = math.prod(fsdp[axis] for axes in weight.divided for axis in axes if axis in fsdp)
            if parts > 1:
                layer, numbers = name.partition("/")[0], parts * math.prod(weight.share(sizes))
                is_float = "float" in self._model.weights[name].dtype
                layers[layer] = layers.get(layer, 0) + numbers * (compute if is_float else self._sizes[name])
                gradients[layer] = gradients.get(layer, 0) + numbers * self._float_size * is_float
        gradient = max(gradients.values(), default=0) if self._request.train == "full" else 0
        return sum(sorted(layers.values())[-2:]) + gradient

    def _cache(self, placement: Placement) -> int:
        """Returns the bytes of one device's cache: heads are divided if the layout divides the layer of the keys."""
        keys = (name for name, rule in self._rules.items() if rule.role == "attention.key")
        parts = max((tensor_parts(placement, name) for name in keys), default=1)
        return -(-self._model.cache // parts)

    def replicated(self, axes: Sequence[MeshAxis]) -> tuple[ReplicatedWeights, ...]:
        """Returns the weights that are whole along an axis that could divide them, by name and reason."""
        placement = self._place_weights(axes)
        held = self._held(placement)
        groups: dict[tuple[str, tuple[str, ...], str], list[int]] = {}
        for name, weight in placement.weights.items():
            used = {axis for names in weight.divided for axis in names}
            along = [axis.name for axis in axes if axis.size > 1 and axis.parallel != "data" and axis.name not in used]
            if along:
                key = (re.sub(r"_\d+(?=/|$)", "_*", name), tuple(along), weight.reason or _reason(weight))
                groups.setdefault(key, []).append(held[name])
        return tuple(ReplicatedWeights(key[0], len(group), sum(group), *key[1:]) for key, group in groups.items())


def _tokens(model: PlannedModel, request: DevicesRequest) -> Tokens:
    limit = model.arguments.get("max_sequence_length")
    most = limit if isinstance(limit, int) and limit > 0 else None
    if request.length is not None and most is not None and request.length > most:
        expected = f"at most {most:,}, the positions of the backbone"
        raise ArgumentError("vertebra plan", "--length", request.length, expected)
    length = request.length or min(LENGTH, most or LENGTH)
    return Tokens(request.sequences, length, itemsize(_compute_dtype(model.dtype)), request.recompute)


def _compute_dtype(dtype: str) -> str:
    return dtype.removeprefix("mixed_")


def _float_dtype(dtype: str) -> str:
    return "float32" if dtype.startswith("mixed") else dtype


def _fits(total: int, memory: int | None, is_known: bool) -> bool | None:
    """Says whether a device has enough memory; without its activations, it is known of that which does not fit."""
    if memory is None or (not is_known and total <= memory):
        return None
    return total <= memory


def _reason(weight: WeightPlacement) -> str:
    """Returns why a weight is whole for which the placement has no reason, as nothing else was asked for."""
    return "a vector is too small to be divided" if len(weight.shape) < 2 else "the layout divides no such layer"
