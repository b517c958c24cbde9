"""The fixtures of `BackboneSuite`: an architecture, its inputs and capabilities, and models of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import pytest

import vertebra
from vertebra._discovery.catalog import known_formats
from vertebra._discovery.runtimes import bind
from vertebra.errors import LoraTargetError
from vertebra.specs import BackboneSpec, LoraReceipt
from vertebra.testing.backbones.inputs import disturb, has_free_length, inputs_for
from vertebra.testing.plugins import PluginSuite, entry_module_of

Build = Callable[..., Any]
MakeInputs = Callable[..., Any]

NO_LAYERS = "the backbone has no layers that LoRA adapts"
"""Why a test is skipped."""
_LONGEST = 24
"""Length of a long input for a backbone that declares no largest one."""
_ROUNDING, _TENSOR_CORES = 1e-5, 3e-3
"""Relative differences of float32 outputs: of sums in another order, and on accelerators with 10 bits of mantissa."""


class BackboneFixtures(PluginSuite):
    """The fixtures; a subclass of the suite defines the first two, and others where the defaults do not fit."""

    _shared: ClassVar[dict[tuple[Any, ...], Any]] = {}
    """Models and files that several tests only read, by the architecture and its arguments."""

    # === Fixtures of a subclass ===

    @pytest.fixture
    def spec(self) -> BackboneSpec:
        """The architecture, as the plugin contributes it."""
        raise NotImplementedError

    @pytest.fixture
    def arguments(self) -> dict[str, Any]:
        """Arguments of the constructor for a tiny model, by name."""
        raise NotImplementedError

    @pytest.fixture
    def set_values(self) -> Callable[[Any], None]:
        """A function that gives a new model values as after training, so that biases and scales matter."""
        return lambda backbone: disturb(backbone.weights)

    @pytest.fixture
    def make_inputs(self) -> MakeInputs:
        """A function of a backbone, a number of rows and optionally a length that returns inputs for a call."""
        return inputs_for

    @pytest.fixture
    def lengths(self, backbone: Any) -> Sequence[int]:
        """Sizes of the inputs' free axes to compute with, the longest last; empty if only the rows are free."""
        longest = getattr(backbone, "max_sequence_length", _LONGEST)
        return (0, 1, longest) if has_free_length(backbone) else ()

    @pytest.fixture
    def formats(self, spec: BackboneSpec) -> Sequence[str]:
        """The formats of presets that the tiny model is saved in."""
        return ("native", *known_formats(spec))

    @pytest.fixture
    def format_arguments(self) -> Mapping[str, Mapping[str, Any]]:
        """Arguments that replace those of `arguments` for a format that cannot represent these, by its name."""
        return {}

    @pytest.fixture
    def quantizations(self) -> Sequence[str]:
        """Keras's modes of quantisation that the layers support."""
        return ("int8",)

    @pytest.fixture
    def precisions(self) -> Sequence[str]:
        """Keras's dtype policies with less precision than float32 that the backbone supports."""
        return ("mixed_bfloat16", "mixed_float16", "bfloat16", "float16")

    @pytest.fixture
    def full_precision(self) -> Sequence[str]:
        """Globs of the names of layers that compute in float32 whatever the dtype policy is, such as a softmax."""
        return ()

    @pytest.fixture
    def without_gradient(self) -> Sequence[str]:
        """Globs of the names of weights that have no effect, such as a bias that a softmax cancels."""
        return ()

    @pytest.fixture
    def tolerance(self) -> float:
        """The largest relative difference of float32 outputs that are computed in two ways."""
        on_accelerator = any(device.kind != "cpu" for device in bind().devices()[:1])
        return _TENSOR_CORES if on_accelerator else _ROUNDING

    # === Fixtures of the suite ===

    @pytest.fixture(autouse=True)
    def computing(self, spec: BackboneSpec) -> None:
        """Skips the rules on a runtime that the architecture does not declare."""
        if not spec.computes_on(bind().name):
            pytest.skip(f"the architecture is for {' and '.join(spec.runtimes)}")

    @pytest.fixture
    def entry_module(self, spec: BackboneSpec, tested_modules: set[str]) -> str:
        """Name of the module that contributes the architecture."""
        return entry_module_of("vertebra_backbones", spec.name, tested_modules)

    @pytest.fixture
    def light_references(self, spec: BackboneSpec) -> Sequence[str]:
        """The translations and heads of the architecture."""
        return [*(format.translation for format in spec.formats.values()), *spec.heads.values()]

    @pytest.fixture
    def build(self, spec: BackboneSpec, arguments: dict[str, Any], set_values: Callable[[Any], None]) -> Build:
        """A function that builds a model, with arguments that override those of the fixture."""

        def build(**overrides: Any) -> Any:
            backbone = getattr(vertebra.models, spec.name)(**arguments | overrides)
            set_values(backbone)
            return backbone

        return build

    @pytest.fixture
    def key(self, spec: BackboneSpec, arguments: dict[str, Any]) -> tuple[Any, ...]:
        """The key of models and files that several tests share."""
        return (type(self), spec.name, repr(arguments))

    @pytest.fixture
    def backbone(self, build: Build, key: tuple[Any, ...]) -> Any:
        """A model that tests must not change: several share it."""
        if key not in self._shared:
            self._shared[key] = build()
        return self._shared[key]

    @pytest.fixture
    def compiled(self, backbone: Any, key: tuple[Any, ...]) -> Any:
        """The compiled function of `backbone`, which takes less time for further shapes where each is compiled."""
        if (key, "compiled") not in self._shared:
            self._shared[key, "compiled"] = vertebra.compile(backbone)
        return self._shared[key, "compiled"]

    @pytest.fixture
    def inputs(self, backbone: Any, make_inputs: MakeInputs) -> Any:
        """Inputs of two rows, as the sample's, so that few shapes are compiled."""
        return make_inputs(backbone, 2)


def adapted(backbone: Any, **settings: Any) -> bool:
    """Adds an adapter with values as after training; returns whether the backbone has layers that LoRA adapts."""
    if not enabled(backbone, **settings):
        return False
    disturb(backbone.trainable_weights, seed=len(settings.get("name", "")))
    return True


def enabled(backbone: Any, **settings: Any) -> LoraReceipt | None:
    """Adds a new adapter at the default targets of a class, or at all linear layers if it has none.

    Returns the receipt, or None if the backbone has no layers that LoRA adapts.
    """
    try:
        return backbone.enable_lora(2, **settings)  # type: ignore[no-any-return]
    except LoraTargetError:
        if type(backbone).lora_targets is not vertebra.Backbone.lora_targets:
            raise
    try:
        return backbone.enable_lora(2, ["all-linear"], **settings)  # type: ignore[no-any-return]
    except LoraTargetError:
        return None
