"""The contract of LoRA strategies: `LoraStrategy`, which a plugin author subclasses, and the objects that it gets.

Subclasses are final: to vary one, wrap it in another class. Importing a subclass must not import a framework; its
methods do that.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from vertebra.specs import AdapterTensor


class LinearView(ABC):
    """A layer seen as one linear map, `outputs = inputs · kernel`, with the kernel flattened to two dimensions.

    The core creates a linear view for each adapted layer and passes it to strategies; plugins do not subclass it.
    """

    in_features: int
    """Rows of the flattened kernel."""
    out_features: int
    """Columns of the flattened kernel."""
    is_lookup: bool = False
    """Whether the inputs are row numbers of the kernel, as in an embedding."""
    is_convolution: bool = False
    """Whether the inputs are windows of a convolution: several rows of the kernel belong to one input channel."""

    @abstractmethod
    def down(self, inputs: Any, matrix: Any) -> Any:
        """Applies a matrix of shape `(in_features, rank)` to the layer's inputs."""

    def indices(self, inputs: Any) -> Any:
        """Returns the row numbers that a lookup takes for the layer's inputs, as int32."""
        raise NotImplementedError("only a lookup takes rows by number")

    @abstractmethod
    def up(self, hidden: Any, matrix: Any) -> Any:
        """Applies a matrix of shape `(rank, out_features)`; the result has the shape of the layer's outputs."""

    @abstractmethod
    def apply(self, inputs: Any, matrix: Any) -> Any:
        """Applies a matrix of shape `(in_features, out_features)` to the inputs, as the layer applies its kernel."""

    @abstractmethod
    def matrix(self) -> Any:
        """Returns the kernel, dequantised if necessary, as a float32 tensor of shape `(in_features, out_features)`."""

    @abstractmethod
    def bias(self) -> Any:
        """Returns the bias as a float32 tensor of shape `(out_features,)`, or None if the layer has none."""

    @abstractmethod
    def without_bias(self, outputs: Any) -> Any:
        """Returns the layer's outputs before its bias was added."""

    @abstractmethod
    def multiply(self, outputs: Any, vector: Any) -> Any:
        """Multiplies the layer's outputs by a vector of shape `(out_features,)`."""


class AdapterLayer(ABC):
    """The variables that a strategy creates for one linear view, and the adapter's settings for it.

    The core creates adapter layers, which are Keras layers; plugins do not subclass it.
    """

    rank: int
    """The rank of the layer; 1 if the strategy has none."""
    scale: float
    """Factor of the low-rank path, from the strategy's `scale`."""
    seed: int | None
    """Seed of the initial values, different for each layer."""
    heads: int
    """Number of heads in the layer's outputs, if the layer or its architecture declares it; else 1."""
    options: Mapping[str, Any]
    """The strategy's options for the layer, with defaults filled in."""
    shared: Any
    """The layer with the variables that the strategy's `share` created; None if there are none."""

    @abstractmethod
    def add_weight(
        self,
        *,
        name: str,
        shape: tuple[int, ...],
        initializer: Any,
        trainable: bool = True,
        autocast: bool = True,
        constraint: Any = None,
    ) -> Any:
        """Creates a float32 variable, as `keras.layers.Layer.add_weight`; assign it to an attribute of that name.

        In a half-precision layer, the variable is cast when it is used, unless `autocast` is False. Keras optimisers
        apply `constraint`, a function of the value, after each step.
        """


@dataclass(frozen=True, slots=True)
class PeftMethod:
    """A method of PEFT other than LoRA, for a strategy that reads and writes its folders.

    A field of PEFT's config and the strategy's option for it have the same name.
    """

    name: str
    """The method, as `peft_type` names it, such as `IA3`."""
    prefix: str
    """The start of the names of its tensors, after the module's name, such as `ia3_`."""
    modules: tuple[str, ...]
    """The kinds of modules that PEFT can adapt: `linear`, `reversed` (a linear map whose kernel is `(in, out)`, as
    transformers' `Conv1D`), or `embedding`."""
    rank: str | None = None
    """The field of the rank, if the strategy has one and the config gives it. Then there is a `rank_pattern`."""
    alpha: str | None = None
    """The field of alpha, if the scale depends on it. Then there is an `alpha_pattern`."""
    options: tuple[str, ...] = ()
    """Fields that affect the outputs or the training, which are options of the strategy."""
    without_effect: tuple[str, ...] = ()
    """Fields that do not affect what a trained adapter computes, such as those of the initial values, or whose values
    the tensors tell."""
    biases: str | None = None
    """The value of the field `bias` if the biases of adapted modules train; None if there is no such field."""
    is_tied: bool = False
    """Whether PEFT also applies the adapter of a tied table where the table projects to logits."""
    lora_field: str | None = None
    """The field of PEFT's LoRA configuration that adds this method for some layers to a LoRA adapter. Its value is that
    of the first of `options`, or a mapping from names of modules to values."""
    lora_infix: str = ""
    """What comes before the names of the tensors then."""


class LoraStrategy(ABC):
    """A method of adapting a layer: its variables, their initial values, and their effect on the layer.

    A strategy defines `build`, and its effect in one of two ways: `factors`, if the kernel changes by the product of
    two matrices; else `kernel_delta`, with `is_low_rank = False`. It also defines `delta` if the change of the outputs
    has a cheaper formula, and `bias_delta` if the bias changes, too.

    Strategies have no state. Before a plugin's strategy trains, it is tested on a small layer; a broken rule raises
    `LoraStrategyError`.
    """

    name: ClassVar[str]
    options: ClassVar[Mapping[str, Any]] = {}
    """The strategy's own options: names, with defaults. A user may give a value for all layers, or a mapping from
    targets to values."""
    settings: ClassVar[tuple[str, ...]] = ("rank", "alpha", "dropout")
    """Those of rank, alpha and dropout that have a meaning for the strategy; the user may not give the others."""
    rank_name: ClassVar[str] = "rank"
    """What the rank is called in descriptions of adapters, such as `block size`."""
    peft_fields: ClassVar[Mapping[str, bool] | None] = None
    """Switches of PEFT's LoRA configuration that select this strategy, or None if PEFT's LoRA does not have it."""
    peft_method: ClassVar[PeftMethod | None] = None
    """PEFT's method of this strategy, if that is another method than LoRA."""
    is_low_rank: ClassVar[bool] = True
    """Whether the kernel changes only by the product of the factors."""
    is_additive: ClassVar[bool] = True
    """Whether changes of the same layer may be weighted and summed. If False, the adapter may not be mixed with others
    that adapt the same layer, nor be active at a strength other than 0 and 1."""
    per_head: ClassVar[bool] = False
    """Whether its variables are those of Keras's own `enable_lora` for layers with heads, as in `.lora.h5` files:
    `a` of shape `(in, heads · rank)` and `b` of shape `(rank, out / heads)`."""

    def scale(self, rank: int, alpha: float) -> float:
        """Returns the factor of the low-rank path (Hu et al. 2021, arXiv:2106.09685, section 4.1)."""
        return alpha / rank

    def learning_rates(self, options: Mapping[str, Any]) -> Mapping[str, float]:
        """Returns factors of the learning rate by variable name; other variables have the factor 1."""
        return {}

    def share(self, shared: Any, views: Sequence[LinearView], rank: int, seed: int | None) -> bool:
        """Creates variables for all layers of an adapter by `shared.add_weight(...)`; returns whether there are any."""
        return False

    @abstractmethod
    def build(self, layer: Any, view: LinearView) -> None:
        """Creates the variables of one layer, with initial values that do not change the layer's output.

        Initial values may depend on the kernel: `initializer` may be a function of shape and dtype that calls
        `view.matrix()`; it is not called when values are loaded.
        """

    def factors(self, layer: Any, view: LinearView) -> tuple[Any, Any]:
        """Returns tensors of shapes `(in, r)` and `(r, out)`; their product, scaled, is the change of the kernel."""
        raise NotImplementedError(f"{type(self).__name__} defines no factors")

    def delta(self, layer: Any, view: LinearView, inputs: Any, outputs: Any) -> Any:
        """Returns the change of the layer's outputs, which is added before the activation.

        Args:
            layer: The adapter layer, with its variables.
            view: The linear view.
            inputs: The layer's inputs, after the dropout of the low-rank path.
            outputs: The layer's outputs, before its activation.
        """
        if not self.is_low_rank:
            import keras

            return view.apply(inputs, keras.ops.cast(self.kernel_delta(layer, view), outputs.dtype))
        a, b = self.factors(layer, view)
        hidden = view.down(inputs, a)
        return view.up(hidden if layer.scale == 1 else hidden * layer.scale, b)

    def kernel_delta(self, layer: Any, view: LinearView) -> Any:
        """Returns the change of the kernel by merging, a tensor of shape `(in_features, out_features)`."""
        import keras

        a, b = self.factors(layer, view)
        return keras.ops.matmul(a, b) * layer.scale

    def bias_delta(self, layer: Any, view: LinearView) -> Any:
        """Returns the change of the bias by merging, a tensor of shape `(out_features,)`; None if there is none."""
        return None

    def tensors(self, view: LinearView) -> Mapping[str, AdapterTensor]:
        """Returns the tensors of PEFT's files by their names after the module's name, such as `lora_A.weight`."""
        return {}

    def tensors_of(self, view: LinearView, rank: int, options: Mapping[str, Any]) -> Mapping[str, AdapterTensor]:
        """As `tensors`, for a strategy whose tensors depend on the layer's rank or options."""
        return self.tensors(view)

    def peft_problem(self, config: Mapping[str, Any]) -> tuple[str, str] | None:
        """Returns a field of a config of the method that cannot be computed, and the expected value; None if all can.

        Fields that no strategy knows are refused without this.
        """
        return None

    def peft_rank(self, shapes: Mapping[str, tuple[int, ...]]) -> int | None:
        """Returns the rank that PEFT's tensors of a module tell, if the config gives none; None if they tell none.

        Args:
            shapes: Shapes of the tensors in PEFT's file, by their names after the module's name.
        """
        return None

    def peft_layer(
        self, view: LinearView, rank: int, options: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]]
    ) -> tuple[int, Mapping[str, Any]]:
        """Returns the rank of a layer, and options that differ from those of the adapter, from PEFT's tensors.

        Args:
            view: The layer.
            rank: The rank that PEFT's config gives the layer; 1 if it gives none.
            options: The adapter's options.
            shapes: Shapes of the layer's tensors in PEFT's file, by their names after the module's name.

        Raises:
            LoraConfigError: the shapes contradict the options.
        """
        return self.peft_rank(shapes) or rank, {}

    def peft_config(self, modules: Mapping[str, tuple[LinearView, int, Mapping[str, Any]]]) -> Mapping[str, Any]:
        """Returns further fields of PEFT's config of the method.

        Args:
            modules: One of the layers of each module, its rank and its options, by the name of the module.

        Raises:
            LoraConfigError: PEFT's config cannot represent them.
        """
        return {}
