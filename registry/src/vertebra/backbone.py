"""`Backbone(keras.Model)`: the base class of every architecture."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import keras

from vertebra import lora
from vertebra._arguments import constructor_arguments, flag, refuse_call_arguments, refuse_constructor_arguments
from vertebra._discovery import runtimes
from vertebra._discovery.catalog import BACKBONES, catalog
from vertebra._lora.choices import calls
from vertebra._lora.choices.call_lock import call_lock
from vertebra._lora_methods import LoraMethods
from vertebra._weights.quantized import quantization_plan, quantize_as_planned
from vertebra.errors import LoraStateError
from vertebra.specs import PresetSpec

if TYPE_CHECKING:
    from vertebra._resolve.preset_folder import PresetFolder


class _Presets:
    """Gives each backbone class its own built-in presets, and the base class those of all."""

    def __get__(self, instance: object, owner: type) -> Mapping[str, PresetSpec]:
        is_base_class = owner.__name__ == "Backbone"
        specs = [entry.value for entry in catalog(BACKBONES) if is_base_class or entry.name == owner.__name__]
        return {preset.name: preset for spec in specs for preset in spec.presets}


class Backbone(LoraMethods, runtimes.bind().model_class()):  # type: ignore[misc]
    """A model without a task: token ids and masks in, hidden states out.

    A backbone is a functional model, built when it is constructed: extend it from `inputs` and `output`, compile and
    fit it, save it as `.keras`, or call it as a layer of another model. A subclass builds its layers in `__init__`,
    passes `inputs`, `outputs` and `arguments` to `super().__init__`, and then sets its attributes.

    Args:
        arguments: The constructor's arguments beyond those of this class, by name. They become attributes, and
            `get_config` returns them.
        dtype: Dtype or dtype policy of the whole model, or None for Keras's dtype policy.
        trainable: Whether the weights train.
        name: Name of the model, or None for one made from the class's name.
    """

    presets = _Presets()
    """The built-in presets of the class, by id."""
    lora_roles: ClassVar[Mapping[str, Sequence[str]]] = {}
    """Globs of layer paths for each role that LoRA targets may name, such as `attention.query`: a tuple or list each.
    Each glob must match a layer. Where only some configurations have one, the constructor sets those of its own."""
    lora_targets: ClassVar[Sequence[str]] = ("query", "value")
    """What `enable_lora` adapts unless it is told: the query and value projections."""

    token_embedding: keras.layers.Embedding
    """The layer that embeds token ids."""

    def __init__(
        self,
        *args: Any,
        arguments: Mapping[str, Any] | None = None,
        dtype: Any = None,
        trainable: bool = True,
        name: str | None = None,
        **kwargs: Any,
    ) -> None:
        refuse_constructor_arguments(type(self), kwargs)
        super().__init__(*args, name=name, **kwargs)
        if dtype is not None:
            self.dtype_policy = keras.dtype_policies.get(dtype)
        if not flag(type(self).__name__, "trainable", trainable):
            self.trainable = False
        self._arguments = dict(arguments or {})
        for argument, value in self._arguments.items():
            setattr(self, argument, value)
        self._preset: str | None = None
        self._origin: PresetFolder | None = None

    @classmethod
    def _constructor_arguments(cls) -> dict[str, Any]:
        """The arguments that the class adds to those of this one, with their types."""
        return constructor_arguments(cls, Backbone)

    # === Calls ===

    def __call__(self, *args: Any, adapters: lora.Choice | None = None, **kwargs: Any) -> Any:
        """Computes the outputs.

        Args:
            *args: The inputs, in the structure of `inputs`, as in `keras.Model`.
            adapters: LoRA adapters that act in this call alone, as in `vertebra.lora.rows`; None means those that act.
            **kwargs: `training`, whether dropout is applied, and `mask`, as in `keras.Model`.

        Raises:
            TypeError: an argument is none of these.
            LoraStateError: the adapters cannot be chosen.
        """
        refuse_call_arguments(type(self), kwargs)
        if adapters is None:
            with call_lock(self).calling():
                calls.check_call(self, args or kwargs)
                return super().__call__(*args, **kwargs)
        _refuse_symbolic(args, kwargs)
        with call_lock(self).calling(), calls.calling_with(self, adapters):
            calls.check_call(self, args or kwargs)
            return super().__call__(*args, **kwargs)

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
        **kwargs: Any,
    ) -> Any:
        """Builds the backbone that a preset describes.

        From `Backbone` itself the class is inferred from the preset; from a subclass the preset must be of it.
        Weights are viewed in the preset's own file wherever their dtype allows, copied on the first write, and
        never written back.

        Args:
            preset: A built-in preset id, a handle such as `file:///data/bert`, or the path of a preset folder.
            load_weights: Whether to load the weights; without them the backbone starts from random values.
            runtime: Name of the runtime; it must be the one that Keras runs on, if Keras is imported already.
            verify: Whether to replay the preset's parity certificate: the small input and output that were stored
                when it was saved. The output must be the same, within the rounding of the dtype.
            locked: Whether the preset must be the one that `vertebra.lock` names, with the same contents; None means
                as `VERTEBRA_LOCKED` says.
            **kwargs: Arguments of the class's constructor, such as `dtype`, `trainable`, `name` or `dropout`,
                that override what the preset says. Without `dtype`, floats follow Keras's dtype policy.

        Raises:
            ArgumentError: a switch is not a bool, or the preset or runtime is nothing that can name one.
            PresetNotFoundError: there is no such preset.
            PresetClassError: the preset is of another class.
            PresetConfigError: the config or an override cannot be used.
            WeightsFileError: a weights file is missing or unsound.
            WeightsMismatchError: the weights are not those of the architecture.
            CertificateError: `verify` was asked for, and there is no certificate, its output is another, or
                `load_weights` is False.
            LockError: `locked`, and the lockfile does not have the preset, or has another one.
            OfflineError: something must be fetched, and `VERTEBRA_OFFLINE` is set.
            RuntimeBoundError: Keras already runs on another backend.
        """
        runtimes.bind(runtime)
        from vertebra._presets.load import load_backbone

        return load_backbone(cls, preset, load_weights, verify, kwargs, locked)

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

        An existing preset is replaced in one step; files in it that are not the preset's own, such as a tokenizer,
        are kept. In the native format, an attached LoRA adapter is saved with it, and so is how layers are quantised.

        The files that the backbone's own preset has besides config and weights, such as a tokenizer, and the fields of
        its config that only other libraries read, are saved with it, as far as they are on this machine. Each of them
        that is left out is named in a warning of the logger `vertebra`. Files that the folder has already win.

        Args:
            preset_dir: The folder.
            max_shard_size: Most gigabytes (10⁹ bytes) in one weights file, or None for a single file.
            format: `native`; `kerashub`, which KerasHub loads; or `transformers`, which transformers loads.
            certificate: Whether to store a small input and the output for it, which `from_preset(verify=True)` and
                `vertebra verify` replay. It costs a forward pass of a few tokens.
            assets: Whether to save these files; or another preset to take them from, as `from_preset` takes it, from
                which those that are not on this machine are fetched.

        Raises:
            ArgumentError: `certificate` is not a bool, or `preset_dir` not a path.
            PresetSaveError: the folder cannot be written; what stood there is unchanged.
            PresetFormatError: the format is not known, or no plugin says how the class is written in it.
            FormatLimitError: the format has no way to say something that the backbone computes.
            PresetConfigError: a layer is quantised in a way that no format can say, or shares its name with another.
        """
        from vertebra._presets import load_warnings
        from vertebra._presets.save import save_backbone

        outcome = save_backbone(self, preset_dir, format, max_shard_size, certificate, assets)
        load_warnings.assets_left_out(outcome)

    # === Files of Keras's: the adapters stay as they are while one is written, and are alone while one is read ===

    def save_weights(self, *args: Any, **kwargs: Any) -> None:
        """Saves the weights as `keras.Model.save_weights`, with the adapters that act merged into the kernels."""
        with calls.reading(self):
            super().save_weights(*args, **kwargs)

    def load_weights(self, *args: Any, **kwargs: Any) -> None:
        """Loads weights as `keras.Model.load_weights`; if it has adapters, all weights of the file or none.

        Raises:
            LoraStateError: other adapters act than when the file was saved, or at other strengths.
            ValueError: the file holds other weights.
        """
        from vertebra._lora.files.keras_weights import check_file
        from vertebra._lora.state import adapters_of

        with call_lock(self).changing():
            load = functools.partial(super().load_weights, *args, **kwargs)
            if adapters_of(self) is not None:
                check_file(load)
            load()

    def save(self, *args: Any, **kwargs: Any) -> Any:
        """Saves the model as `keras.Model.save`, with the adapter that acts."""
        with calls.reading(self):
            return super().save(*args, **kwargs)

    def get_weights(self) -> list[Any]:
        """Returns the values of the weights, as `keras.Model.get_weights`."""
        with calls.reading(self):
            found: list[Any] = super().get_weights()
            return found

    def set_weights(self, weights: list[Any]) -> None:
        """Gives the weights values, as `keras.Model.set_weights`."""
        with call_lock(self).changing():
            super().set_weights(weights)

    def sample_inputs(self) -> Any:
        """Returns a small input, always the same, in the structure of `inputs`: two short rows, the second padded.

        A subclass whose inputs must satisfy more than their shapes and dtypes say returns its own.
        """
        from vertebra._presets.sample_inputs import sample_of

        return sample_of(self)

    def quantize(self, *args: Any, **kwargs: Any) -> Any:
        """Quantises the layers, as `keras.Model.quantize`; adapters are put on what is quantised already.

        Raises:
            LoraStateError: the backbone has adapters.
        """
        with call_lock(self).changing():
            if self.lora_adapters:
                problem = "The backbone has LoRA adapters, and other kernels would take the place of those beside them"
                raise LoraStateError(problem, "Quantise it first, and enable or load the adapters then")
            return super().quantize(*args, **kwargs)

    def default_lora_layer_names(self) -> list[str]:
        """Returns the targets that `enable_lora` adapts unless it is told others."""
        return list(self.lora_targets)

    # === Configuration ===

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments, and the adapter that acts.

        Raises:
            LoraStateError: several adapters act, which no config holds.
        """
        from vertebra._lora.config import adapter_config

        config = self.constructor_config()
        adapter = adapter_config(self)
        return config if adapter is None else config | {"lora": adapter}

    def constructor_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments and how layers are quantised, adapters aside."""
        # Not what functional models return: that is a config of layers, which no constructor of a backbone takes.
        config = {
            "name": self.name,
            "trainable": self.trainable,
            "dtype": keras.dtype_policies.serialize(self.dtype_policy),
        }
        quantized = quantization_plan(self)
        if quantized:
            config["quantized"] = quantized
        return config | self._arguments

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Any:
        """Builds a backbone from what `get_config` returned."""
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


def _refuse_symbolic(args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
    """A model that is built on a backbone has no adapters of one call."""
    if any(isinstance(leaf, keras.KerasTensor) for leaf in keras.tree.flatten((args, dict(kwargs)))):
        problem = "Adapters were chosen in a symbolic call, which only builds a model"
        raise LoraStateError(problem, "Choose them around calls of that model: with backbone.lora_rows(...): ...")
