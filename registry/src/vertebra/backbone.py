"""`Backbone(keras.Model)`: the base class of every architecture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import keras

from vertebra import _arguments, lora
from vertebra._discovery import runtimes
from vertebra._discovery.catalog import BuiltInPresets
from vertebra._lora.choices import calls
from vertebra._lora.choices.call_lock import call_lock
from vertebra._lora.choices.keras_files import KerasFiles
from vertebra._lora_methods import LoraMethods
from vertebra._placement.backbones import PlacedWeights
from vertebra._placement.division import chosen_mesh
from vertebra._weights.layer_paths import weight_names
from vertebra._weights.quantized import quantization_plan, quantize_as_planned
from vertebra.errors import LoraStateError

if TYPE_CHECKING:
    from vertebra._resolve.preset_folder import PresetFolder
    from vertebra.specs import LayoutRule


class Backbone(LoraMethods, PlacedWeights, KerasFiles, runtimes.bind().model_class()):  # type: ignore[misc]
    """A model without a task: inputs such as token ids and masks, or images, in; hidden states out.

    A backbone is a functional model, built when it is constructed: extend it from `inputs` and `output`, compile and
    fit it, save it as `.keras`, or call it as a layer of another model. A subclass builds its layers in `__init__`,
    passes `inputs`, `outputs` and `arguments` to `super().__init__`, and then sets its attributes.

    Args:
        arguments: The constructor's arguments beyond those of this class, by name. They become attributes, and
            `get_config` returns them.
        dtype: Dtype or dtype policy of the whole model, or None for Keras's dtype policy.
        trainable: Whether the weights train.
        name: Name of the model; None generates one from the class's name.
    """

    presets = BuiltInPresets()
    """The built-in presets of the class, by id."""
    lora_roles: ClassVar[Mapping[str, Sequence[str]]] = {}
    """Tuples or lists of globs of layer paths, by role that LoRA targets may name, such as `attention.query`.
    Each glob must match a layer. If only some configurations have the layer, the constructor sets `self.lora_roles`."""
    lora_targets: ClassVar[Sequence[str]] = ("query", "value")
    """The default targets of `enable_lora`: the query and value projections."""

    reuses_structure: ClassVar[bool] = True
    """Whether a later load with equal arguments may copy the layers of the first, instead of calling the constructor.
    Set this to False if the constructor reads more than its arguments, or does more than to build layers."""

    token_embedding: keras.layers.Embedding | None
    """The layer that embeds token ids, or None if a subclass sets none."""

    def __init__(
        self,
        *args: Any,
        arguments: Mapping[str, Any] | None = None,
        dtype: Any = None,
        trainable: bool = True,
        name: str | None = None,
        **kwargs: Any,
    ) -> None:
        _arguments.refuse_constructor_arguments(type(self), args, kwargs)
        super().__init__(*args, name=name, **kwargs)
        if dtype is not None:
            self.dtype_policy = keras.dtype_policies.get(dtype)
        if not _arguments.flag(type(self).__name__, "trainable", trainable):
            self.trainable = False
        self._arguments = dict(arguments or {})
        for argument, value in self._arguments.items():
            if not isinstance(getattr(type(self), argument, None), property):  # such as Keras's input_shape
                setattr(self, argument, value)
        self.token_embedding = getattr(self, "token_embedding", None)
        self._preset: str | None = None
        self._origin: PresetFolder | None = None
        self._saved_to: set[Path] = set()
        self._mesh: Any = None

    @classmethod
    def _constructor_arguments(cls) -> dict[str, Any]:
        """Returns the constructor arguments that the class adds to those of `Backbone`, with their types."""
        return _arguments.constructor_arguments(cls, Backbone)

    # === Calls ===

    def __call__(self, *args: Any, adapters: lora.Choice | None = None, **kwargs: Any) -> Any:
        """Computes the outputs.

        Args:
            *args: The inputs, in the structure of `inputs`, as in `keras.Model`: tensors, arrays, or nested lists of
                numbers. transformers' names are accepted: `input_ids` for `token_ids`, `attention_mask` for
                `padding_mask`, `token_type_ids` for `segment_ids`. Without a padding mask, all tokens count; segment
                ids default to 0. A single input, such as images, may be in a table or a keyword argument, by its name.
            adapters: LoRA adapters for this call alone, as in `vertebra.lora.rows`; None means the active adapters.
            **kwargs: `training`, whether dropout is applied, and `mask`, as in `keras.Model`.

        Raises:
            TypeError: a keyword argument is unknown.
            ValueError: an input is unknown, missing, given twice, or a list that is no array of its dtype and rank.
            LoraStateError: the adapters cannot be chosen.
        """
        args, kwargs = _arguments.call_arguments(self, args, kwargs)
        if adapters is None:
            with call_lock(self).calling():
                calls.check_call(self, args or kwargs)
                return super().__call__(*args, **kwargs)
        calls.refuse_symbolic(args, kwargs)
        with call_lock(self).calling(), calls.calling_with(self, adapters):
            calls.check_call(self, args or kwargs)
            return super().__call__(*args, **kwargs)

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None, **kwargs: Any) -> Any:
        """Computes the outputs; on jax, Keras's `fit` calls this method itself."""
        return super().call(_arguments.inputs_of_call(self, inputs), training=training, mask=mask, **kwargs)

    def predict(self, x: Any, *args: Any, **kwargs: Any) -> Any:
        """Computes the outputs as arrays, as `keras.Model.predict`, which fails if the inputs have no rows."""
        x = _arguments.inputs_of_call(self, x)
        if any(getattr(leaf, "shape", ())[:1] == (0,) for leaf in keras.tree.flatten(x)):
            return keras.tree.map_structure(keras.ops.convert_to_numpy, self(x, training=False))
        return super().predict(x, *args, **kwargs)

    # === Presets ===

    @classmethod
    def from_preset(
        cls,
        preset: str | Path,
        load_weights: bool = True,
        *,
        runtime: str | None = None,
        verify: bool = False,
        locked: bool | None = None,
        copy: bool | None = None,
        mesh: Any = None,
        layout: str | Sequence[LayoutRule] | None = None,
        parallel: str | Sequence[str] | Mapping[str, str] | None = None,
        on_uneven: str = "error",
        **kwargs: Any,
    ) -> Any:
        """Builds the backbone that a preset describes.

        `Backbone.from_preset` infers the class from the preset; on a subclass, the preset must be of that class. Where
        the dtype allows, weights are memory-mapped from the file, copied on the first write, and never written back.

        Args:
            preset: A built-in preset id, a handle such as `file:///data/bert`, or the path of a preset folder.
            load_weights: Whether to load the weights; if False, the weights are random.
            runtime: Name of the runtime; if Keras is already imported, it must be the runtime of its backend.
            verify: Whether to replay the preset's parity certificate: the small input and output that were stored
                when it was saved. The output must be the same, within the rounding of the dtype.
            locked: Whether revision and digests must be those of `vertebra.lock`; None means as `VERTEBRA_LOCKED` says.
            copy: Whether to copy the weights into memory instead, so that programs that overwrite the file or cut it
                short cannot reach them; None means as `VERTEBRA_COPY_WEIGHTS` says.
            mesh: A mesh of the runtime's, `jax.sharding.Mesh`, torch's `DeviceMesh` or `keras.distribution.DeviceMesh`:
                its devices hold parts of the weights, and each process reads those of its devices. The attribute
                `placement` lists them. None means the default device.
            layout: How tensor-parallel axes of the mesh divide the weights: rules that replace those of the
                architecture; None for the architecture's; or `"auto"` for these, or if it has none, by the shapes.
            parallel: The uses of the mesh's axes, `data`, `fsdp` and `tensor`: in order, or by name; None means by
                their names, such as `batch`, `fsdp` and `model`.
            on_uneven: Whether a weight that cannot be divided evenly is an `"error"`, or to `"replicate"`.
            **kwargs: Arguments of the class's constructor, such as `dtype`, `trainable`, `name` or `dropout`,
                that override the preset's config. Without `dtype`, floats follow Keras's dtype policy.

        Raises:
            ArgumentError: a switch is not a bool, or `preset` or `runtime` has a wrong type.
            PresetNotFoundError: the preset does not exist.
            PresetClassError: the preset is of another class.
            PresetConfigError: the config or an override is invalid.
            WeightsFileError: a weights file is missing or corrupt.
            WeightsMismatchError: the weights do not fit the architecture.
            CertificateError: `verify` is True, and the preset has no certificate, the output differs, or
                `load_weights` is False.
            LockError: `locked` is True, and the preset is not in the lockfile or differs from its entry.
            OfflineError: a file must be downloaded, and `VERTEBRA_OFFLINE` is set.
            RuntimeBoundError: Keras already runs on another backend.
            MeshError: the mesh is none of this runtime's, or the use of an axis is not known.
            LayoutError: the weights cannot be divided evenly, or the architecture declares no layout.
        """
        bound = runtimes.bind(runtime)
        from vertebra._presets.load import load_backbone

        chosen = chosen_mesh(bound, mesh, layout, parallel, on_uneven)
        return load_backbone(cls, preset, load_weights, verify, kwargs, locked, copy, chosen)

    def save_to_preset(
        self,
        preset_dir: str | Path,
        max_shard_size: float | None = 10,
        *,
        format: str = "native",
        certificate: bool = True,
        assets: bool | str | Path = True,
    ) -> None:
        """Saves config and weights as a preset folder, which appears complete or not at all.

        An existing preset is replaced in one step; other files in the folder, such as a tokenizer, are kept. In the
        native format, the active LoRA adapter and the quantisation of the layers are saved, too.

        Assets are the other files of the preset that the backbone was loaded from, such as a tokenizer, and the config
        fields that only other libraries read. Cached and local assets are saved, too; the logger `vertebra` warns of
        each asset that is left out. Files that the folder already has are not overwritten by assets.

        Args:
            preset_dir: The folder.
            max_shard_size: Maximum size of a weights file in gigabytes (10⁹ bytes), or None for a single file.
            format: `native`; `kerashub` or `transformers`, for the libraries of these names; or one of a plugin.
            certificate: Whether to store a small input and its output, which `from_preset(verify=True)` and
                `vertebra verify` replay. This costs a forward pass of this input.
            assets: Whether to save assets; or the handle or path of a preset to take them from, whose missing files are
                downloaded.

        Raises:
            ArgumentError: `certificate` is not a bool, or `preset_dir` is not a path.
            PresetSaveError: the folder cannot be written; existing files are unchanged.
            PresetFormatError: the format is unknown, or no plugin has a translation of the class to it.
            FormatLimitError: the format cannot represent a setting of the backbone.
            PresetConfigError: a layer's quantisation cannot be saved in any format, or two layers have the same name.
        """
        from vertebra._presets import load_warnings
        from vertebra._presets.save import save_backbone

        outcome = save_backbone(self, preset_dir, format, max_shard_size, certificate, assets)
        load_warnings.assets_left_out(outcome)
        load_warnings.followed_links(outcome)

    @classmethod
    def resize_weight(cls, name: str, value: Any, shape: tuple[int, ...]) -> Any:  # noqa: ARG003 (for subclasses)
        """Returns the value of a weight, by name, in another shape; None, if it cannot be resized, as by default.

        A subclass overrides this for weights whose shape depends on arguments that `from_preset` may override, such
        as the positions of another image size. `value` is an array of numpy; narrow floats come as float32.
        """
        return None

    def export_to_transformers(self, path: str | Path) -> None:
        """Saves a folder that transformers loads: KerasHub's name for `save_to_preset(path, format="transformers")`."""
        self.save_to_preset(path, format="transformers")

    def replacing_weights(self) -> AbstractContextManager[None]:
        """Blocks calls within a `with` block that replaces weights; runtimes use it for methods of their own.

        Raises:
            LoraStateError: adapters are merged; `unmerge_lora` would discard the new weights.
        """
        return calls.replacing_weights(self)

    def sample_inputs(self) -> Any:
        """Returns a small fixed input in the structure of `inputs`: of texts, two short rows, the second padded.

        A subclass overrides this if shapes and dtypes do not suffice to make valid inputs.
        """
        from vertebra._presets.sample_inputs import sample_of

        return sample_of(self)

    def quantize(self, *args: Any, **kwargs: Any) -> Any:
        """Quantises the layers, as `keras.Model.quantize`; quantise before adding adapters.

        Raises:
            LoraStateError: the backbone has adapters.
        """
        with call_lock(self).changing():
            if self.lora_adapters:
                problem = "The backbone has LoRA adapters, and quantising would replace the kernels that they adapt"
                raise LoraStateError(problem, "Quantise it first, then enable or load the adapters")
            return super().quantize(*args, **kwargs)

    # === Configuration ===

    def named_weights(self) -> dict[str, Any]:
        """Returns each weight by name: the names of its layers and its own, such as `pooled_dense/kernel`.

        The weights of the active adapters are included.
        """
        return weight_names(self)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments and the plan of the active adapter.

        Raises:
            LoraStateError: several adapters are active, which a config cannot represent.
        """
        from vertebra._lora.config import adapter_config

        config = self.constructor_config()
        adapter = adapter_config(self)
        return config if adapter is None else config | {"lora": adapter}

    def constructor_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments and the quantisation of the layers, without adapters."""
        # Functional models return a config of layers instead, which no constructor of a backbone takes.
        config = {
            "name": self.name,
            "trainable": self.trainable,
            "dtype": keras.dtype_policies.serialize(self.dtype_policy),
        }
        if quantized := quantization_plan(self):
            config["quantized"] = quantized
        return config | self._arguments

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Any:
        """Builds a backbone from a config that `get_config` returned."""
        arguments = dict(config)
        plan, quantized = arguments.pop("lora", None), arguments.pop("quantized", {})
        if isinstance(arguments.get("dtype"), dict):
            arguments["dtype"] = keras.dtype_policies.get(arguments["dtype"])
        backbone = cls(**arguments)
        quantize_as_planned(backbone, quantized)
        if plan is not None:
            from vertebra._lora.enable import enable_planned

            enable_planned(backbone, plan)
            if not arguments.get("trainable", True):
                backbone.trainable = False  # the adapter, too
        return backbone
