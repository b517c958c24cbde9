"""The classes that a plugin author subclasses: `LocalSource`, `Translation`, `LoraStrategy` and `Runtime`.

Each is abstract, and each subclass is final: to vary one, write another that holds it. Importing a subclass must not
import a framework or a client library; its methods do that when they are called.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from vertebra.errors import PresetAccessError

if TYPE_CHECKING:
    import numpy as np

    from vertebra.handles import PresetHandle
    from vertebra.specs import AdapterTensor, Device, PresetFile, TensorRule


class PresetSource(ABC):
    """What every source of presets has, local or remote; subclass `LocalSource` or `RemoteSource`."""

    scheme: ClassVar[str]
    """The scheme of the handles that it reads."""
    is_remote: ClassVar[bool]
    """Whether its presets are downloaded into the cache; fixed by the two subclasses."""
    supports_revisions: ClassVar[bool] = False
    """Whether handles may name a revision."""
    supports_absolute_paths: ClassVar[bool] = False
    """Whether the path of a handle may begin with `/`; a source that joins it to a root of its own must not."""
    revision_hint: ClassVar[str] = "Leave it out"
    """What to do in place of a revision, where handles have none; for error messages."""

    def handle_for(self, text: str) -> PresetHandle | None:
        """Returns a handle for a text without a scheme that can only mean this source, or None.

        This is how a plain path reaches the source of local folders; most sources leave it.
        """
        return None

    def suggest(self, text: str) -> str | None:
        """Returns a handle that a text without a meaning may have been meant as, for messages; uses no network."""
        return None

    def is_pinned(self, handle: PresetHandle) -> bool:
        """Says whether a handle names an immutable revision; uses no network."""
        return self.supports_revisions and handle.revision is not None

    def unpinned(self, handle: PresetHandle) -> PresetHandle:
        """Returns the handle of the same preset without a revision."""
        return handle.without_revision()

    def upload(self, handle: PresetHandle, files: Mapping[str, Path], replace: bool, message: str) -> PresetHandle:
        """Publishes files as a preset, all at once or not at all, and returns a pinned handle of it.

        Args:
            handle: Where to.
            files: Local paths by the names that the files get.
            replace: Whether another preset at the handle may be replaced.
            message: The reason that the service shows.

        Raises:
            PresetExistsError: another preset is at the handle, and `replace` is False.
            PresetAccessError: the user may not write there.
        """
        raise PresetAccessError(handle, f"presets cannot be uploaded to {self.scheme}://", "Choose another place")


class LocalSource(PresetSource):
    """A source whose files are on this machine, and read in place."""

    is_remote: ClassVar[bool] = False

    def resolve(self, handle: PresetHandle) -> PresetHandle:
        """Returns the handle of one immutable revision, so that all files of a load come from the same one."""
        return handle

    @abstractmethod
    def files(self, handle: PresetHandle) -> list[PresetFile]:
        """Lists the files of a preset.

        Raises:
            PresetNotFoundError: there is no preset at the handle.
        """

    @abstractmethod
    def fetch(self, handle: PresetHandle, name: str) -> Path:
        """Returns the path of one complete file of a preset, which stays while this process runs.

        Raises:
            PresetNotFoundError: there is no such file.
        """


class Translation(ABC):
    """How one architecture's config and tensors are written in a format that others defined."""

    prefixes: ClassVar[tuple[str, ...]] = ("",)
    """What tensor names may begin with; a checkpoint with a head puts the backbone under a prefix of its own.

    A rule whose tensor is not found under the prefix may name one outside, in full, such as `lm_head.weight`.
    """
    ignored: ClassVar[tuple[str, ...]] = ()
    """Globs of tensors, without prefix, that checkpoints may have and that are not weights."""
    optional: ClassVar[tuple[str, ...]] = ()
    """Globs of weights that checkpoints may lack; they are newly initialised, and reported."""

    @abstractmethod
    def arguments(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """Returns the constructor arguments that the config means.

        Raises:
            PresetConfigError: the config describes what the class cannot compute; the field is named.
        """

    @abstractmethod
    def config(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Returns the config that means these constructor arguments, which are all but the base class's.

        In the transformers format, fields of a preset's original config that `arguments` ignores are added to it, or
        replace the constants that it has for them, such as the ids of tokens.

        Raises:
            FormatLimitError: the format has no way to say an argument's value; the argument is named.
        """

    @abstractmethod
    def rules(self, arguments: Mapping[str, Any]) -> dict[str, TensorRule]:
        """Returns, for each weight of a backbone with these arguments, the tensor that holds it, without prefix."""

    def numbered_layers(self, arguments: Mapping[str, Any]) -> Mapping[int, str]:
        """Returns the path of each linear layer by its number in the format's adapter files, if these have numbers."""
        return {}

    def current_name(self, tensor: str) -> str:
        """Returns the present name of a tensor that older files call otherwise."""
        return tensor


class LinearView(ABC):
    """A layer seen as one linear map, `outputs = inputs · kernel`, with the kernel flattened to two dimensions.

    The core gives strategies a site for each layer that is adapted; plugins do not subclass it.
    """

    in_features: int
    """Rows of the flattened kernel."""
    out_features: int
    """Columns of the flattened kernel."""
    is_lookup: bool = False
    """Whether the inputs are row numbers of the kernel, as in an embedding."""

    @abstractmethod
    def down(self, inputs: Any, matrix: Any) -> Any:
        """Applies a matrix of shape `(in_features, rank)` to the layer's inputs."""

    @abstractmethod
    def up(self, hidden: Any, matrix: Any) -> Any:
        """Applies a matrix of shape `(rank, out_features)`; the result has the shape of the layer's outputs."""

    @abstractmethod
    def matrix(self) -> Any:
        """Returns the kernel as a float32 tensor of shape `(in_features, out_features)`; a quantised one as floats."""

    @abstractmethod
    def without_bias(self, outputs: Any) -> Any:
        """Returns the layer's outputs before its bias was added."""

    @abstractmethod
    def multiply(self, outputs: Any, vector: Any) -> Any:
        """Multiplies the layer's outputs with a vector of shape `(out_features,)`."""


class AdapterLayer(ABC):
    """What one layer is given by an adapter: the variables that a strategy created for it, and its settings.

    The core makes parts, which are Keras layers; plugins do not subclass it.
    """

    rank: int
    scale: float
    """Factor of the low-rank path, from the strategy's `scale`."""
    seed: int | None
    """Seed of the initial values, another one for each layer."""
    heads: int
    """How many heads the layer's outputs are made of, where the layer or its architecture says so; else 1."""
    options: Mapping[str, Any]
    """The strategy's options, with defaults filled in."""
    shared: Any
    """What the strategy's `share` was given, with its variables; None if it shares nothing."""

    @abstractmethod
    def add_weight(
        self,
        *,
        name: str,
        shape: tuple[int, ...],
        initializer: Any,
        trainable: bool = True,
        autocast: bool = True,
    ) -> Any:
        """Creates a float32 variable, as `keras.layers.Layer.add_weight`; assign it to an attribute of that name.

        In a layer of half precision it is cast where it is used, unless `autocast` is False.
        """


class LoraStrategy(ABC):
    """A way of adapting a layer: which variables are added, how they start, and what they change.

    A strategy whose change of the kernel is a product of two matrices defines `build` and `factors`. Another one
    defines `delta` and `kernel_delta`, too. Strategies keep nothing in themselves. Before one of a plugin trains, it
    is tried on a small layer; a rule that it breaks is a `LoraStrategyError`.
    """

    name: ClassVar[str]
    options: ClassVar[Mapping[str, Any]] = {}
    """What it takes beyond the settings that all have: names, with defaults."""
    peft_fields: ClassVar[Mapping[str, bool] | None] = None
    """Switches of PEFT's LoRA configuration that mean this strategy, or None if PEFT does not have it."""
    is_low_rank: ClassVar[bool] = True
    """Whether the kernel changes by the product of its factors and nothing else."""
    per_head: ClassVar[bool] = False
    """Whether its variables are those that Keras's own `enable_lora` gives layers with heads, as `.lora.h5` keeps them:
    `a` of shape `(in, heads · rank)` and `b` of shape `(rank, out / heads)`."""

    def scale(self, rank: int, alpha: float) -> float:
        """Returns the factor of the low-rank path (Hu et al. 2021, arXiv:2106.09685, section 4.1)."""
        return alpha / rank

    def learning_rates(self, options: Mapping[str, Any]) -> Mapping[str, float]:
        """Returns, by name of a variable, a factor of the learning rate; those not named train at the rate itself."""
        return {}

    def share(self, shared: Any, views: Sequence[LinearView], rank: int, seed: int | None) -> bool:
        """Creates, with `shared.add_weight(...)`, variables that all layers of an adapter use; says whether it did."""
        return False

    @abstractmethod
    def build(self, layer: Any, view: LinearView) -> None:
        """Creates the variables of one layer, so that its output does not change yet.

        Initial values may depend on the kernel: give `initializer` a function of shape and dtype that asks
        `view.matrix()`, which is not called where values are loaded.
        """

    @abstractmethod
    def factors(self, layer: Any, view: LinearView) -> tuple[Any, Any]:
        """Returns tensors of shapes `(in, r)` and `(r, out)` whose product, scaled, is what the kernel changes by."""

    def delta(self, layer: Any, view: LinearView, inputs: Any, outputs: Any) -> Any:
        """Returns what is added to the layer's outputs before its activation.

        Args:
            layer: The adapter layer, with the variables.
            view: The linear view of the adapted layer.
            inputs: What the layer was given, after the dropout of the low-rank path.
            outputs: What the layer computed from its inputs, before its activation.
        """
        a, b = self.factors(layer, view)
        hidden = view.down(inputs, a)
        return view.up(hidden if layer.scale == 1 else hidden * layer.scale, b)

    def kernel_delta(self, layer: Any, view: LinearView) -> Any:
        """Returns what merging adds to the kernel, as a tensor of shape `(in_features, out_features)`."""
        import keras

        a, b = self.factors(layer, view)
        return keras.ops.matmul(a, b) * layer.scale

    def tensors(self, view: LinearView) -> Mapping[str, AdapterTensor]:
        """Returns the tensors of PEFT's files by what they are called after the module's name, as `lora_A.weight`."""
        return {}


class Runtime(ABC):
    """An adapter to one Keras backend."""

    name: ClassVar[str]
    """The backend's name in Keras."""

    @abstractmethod
    def unavailable_reason(self) -> str | None:
        """Returns why the backend cannot be used here and what to do about it, or None if it can. Imports nothing."""

    @abstractmethod
    def model_class(self) -> type:
        """Returns the class that backbones derive from: `keras.Model`, or one with what users of the backend expect."""

    @abstractmethod
    def devices(self) -> list[Device]:
        """Lists the devices that the backend sees."""

    @abstractmethod
    def tensor(self, array: np.ndarray[Any, Any], dtype: str) -> Any:
        """Returns a tensor of the given Keras dtype that views the array's memory, or a copy where it cannot.

        The array may view a private mapping of a file: writing to the tensor must never reach the file.
        """

    @abstractmethod
    def snapshot(self, tensor: Any) -> Any:
        """Returns a copy of a variable's value, which stays whatever becomes of the variable.

        It is a copy also where tensors never change: training may give their memory away, as JAX does with what a
        compiled function is donated.
        """

    def assign(self, variable: Any, tensor: Any) -> None:
        """Gives a variable the value of a tensor, which it shares with no other variable afterwards.

        Where tensors never change, Keras's own `assign` makes the variable refer to the tensor; training may then take
        the tensor's memory, and with it the value of every other variable that refers to it.
        """
        variable.assign(self.snapshot(tensor))

    def is_tracing(self) -> bool:
        """Says whether a function is being traced in this thread, so that values are not known yet."""
        return False

    @abstractmethod
    def can_view(self, start: int, contiguous: bool) -> bool:
        """Says whether `tensor` views numbers of the wanted dtype that start at a byte of a mapped file.

        Args:
            start: Position of the first byte.
            contiguous: Whether they lie in the order of the array, or transposed or with others between them.
        """

    def dropout(self, inputs: Any, rate: float, generator: Any) -> Any:
        """Sets a share of the inputs to zero and scales the others, so that what is expected stays the same.

        Args:
            inputs: A tensor of floats.
            rate: The share, in (0, 1); it may be rounded to a multiple of 2⁻¹⁶.
            generator: A `keras.random.SeedGenerator` without a seed of its own.
        """
        import keras

        return keras.random.dropout(inputs, rate, seed=generator)

    @abstractmethod
    def compile(self, backbone: Any) -> Callable[..., Any]:
        """Returns a function of the backbone's inputs, for inference, without Python overhead at each layer.

        It reads the backbone's weights at each call, so that it follows later training; it is traced anew for each
        new shape or dtype of the inputs.
        """
