"""`Task`: a backbone with a head and a preprocessor, as one Keras model."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import keras
import numpy as np

import vertebra
from vertebra.errors import ArgumentError
from vertebra_text.preprocessor import TextPreprocessor
from vertebra_text.tasks.adapters import TaskAdapters
from vertebra_text.tasks.batches import columns, has_texts, is_prepared, is_shuffled_by_keras, steps_of, text_batches
from vertebra_text.tasks.inference import Inference
from vertebra_text.tasks.keras_assets import KerasAssets
from vertebra_text.tasks.presets import TaskPresets
from vertebra_text.tasks.sample import SampledTask
from vertebra_text.tasks.shapes import within
from vertebra_text.tasks.stream import TaskStream


class Task(TaskAdapters, TaskStream, SampledTask, TaskPresets, KerasAssets, vertebra.use().model_class()):  # type: ignore[misc]
    """The base class of tasks: `fit`, `evaluate` and `predict` take raw texts, as does each task's own method.

    A subclass builds its head in `__init__` and passes inputs and outputs to `super().__init__`. It implements
    `head_weights`, so that presets hold the head, and `default_loss` and the like.

    Args:
        backbone: The backbone; its inputs are the task's.
        outputs: The symbolic outputs of the head for `backbone(backbone.input)`.
        preprocessor: A `TextPreprocessor`, a `Tokenizer`, a function of texts that returns the backbone's inputs, or
            None for a model of token ids.
        arguments: The constructor's other arguments, by name; they become attributes, and `get_config` returns them.
        inputs: The symbolic inputs, or None for the backbone's.
        compile: Whether to compile the model with the task's default optimizer, loss and metrics.
        name: Name of the model.
    """

    backbone_class: ClassVar[type | None] = None
    """The class that the backbone must be of, or None for any."""

    head_task: ClassVar[str] = ""
    """The name under which an architecture declares the head of the task, if it does."""
    _backbone: Any
    _arguments: dict[str, Any]
    _inference: Any
    _preprocessor: Any
    needs_labels = False
    """Whether `fit` needs a label for each text."""
    random_weights: Sequence[str] = ()
    """Names of the weights for which the preset has no values, such as those of a head that it lacks."""
    has_output_for_each_token = False
    """Whether the outputs have shape (batch, length, …), with an axis for the tokens."""
    uses_pooled_output = False
    """Whether the head reads the backbone's pooled output."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Gives a constructor without a docstring that of its class, for `help` and editors."""
        super().__init_subclass__(**kwargs)
        constructor = vars(cls).get("__init__")
        if inspect.isfunction(constructor) and not constructor.__doc__:
            constructor.__doc__ = cls.__doc__

    def __init__(
        self,
        backbone: Any,
        outputs: Any,
        preprocessor: Any = None,
        arguments: Mapping[str, Any] | None = None,
        *,
        inputs: Any = None,
        compile: bool = True,
        name: str | None = None,
    ) -> None:
        super().__init__(inputs=backbone.input if inputs is None else inputs, outputs=outputs, name=name)
        # Not registered as a layer a second time: the functional model has it already.
        self.__dict__["_backbone"], self.__dict__["_inference"] = backbone, None
        self.preprocessor = preprocessor
        self.__dict__.update({"_arguments": dict(arguments or {}), **(arguments or {})})
        if compile:
            self.compile()

    # === Parts ===

    @property
    def backbone(self) -> Any:
        """The backbone."""
        return self._backbone

    @property
    def preprocessor(self) -> Any:
        """The function from texts to the backbone's inputs, or None; it can be set."""
        return self._preprocessor

    @preprocessor.setter
    def preprocessor(self, value: Any) -> None:
        from vertebra_text.tokenizers.interface import Tokenizer
        from vertebra_text.tokenizers.vocabulary_check import check_vocabulary

        if isinstance(value, Tokenizer):
            value = TextPreprocessor(value)
        if isinstance(value, TextPreprocessor):
            value = value.bound_to(self._backbone, self.input)
            if self._backbone.token_embedding is not None:  # a token without a row would be NaN on JAX
                check_vocabulary(value.tokenizer, self._backbone.token_embedding.input_dim)
        if value is not None and not callable(value):
            raise ArgumentError(type(self).__name__, "preprocessor", value, "a TextPreprocessor, a Tokenizer, or None")
        self.__dict__["_preprocessor"] = value

    @property
    def tokenizer(self) -> Any:
        """The tokenizer of the preprocessor, or None."""
        return getattr(self._preprocessor, "tokenizer", None)

    def require_tokenizer(self) -> None:
        """Raises ArgumentError if the task has no tokenizer, and cannot take texts."""
        if not isinstance(self._preprocessor, TextPreprocessor):
            expected = "a TextPreprocessor or a Tokenizer, as the task is called with texts; set task.preprocessor"
            raise ArgumentError(type(self).__name__, "preprocessor", self._preprocessor, expected)

    def _check_prepared(self, x: Any) -> None:
        if self._preprocessor is None and has_texts(x):
            self.require_tokenizer()

    # === Training ===

    @property
    def trainable_variables(self) -> list[Any]:
        """The variables that train; without the layer of a pooled output that the head does not read."""
        unused = {id(variable) for variable in self.unused_variables()}
        return [variable for variable in super().trainable_variables if id(variable) not in unused]

    @property
    def trainable_weights(self) -> list[Any]:
        """The weights that train, as `trainable_variables`."""
        unused = {id(variable) for variable in self.unused_variables()}
        return [variable for variable in super().trainable_weights if id(variable) not in unused]

    def unused_variables(self) -> list[Any]:
        """Returns the variables of the backbone that no output depends on: those of its pooled output, if not read."""
        return [] if self.uses_pooled_output else vertebra.tasks.variables_of_output(self._backbone, "pooled_output")

    def compile(self, optimizer: Any = "auto", loss: Any = "auto", *, metrics: Any = "auto", **kwargs: Any) -> None:
        """Configures training as `keras.Model.compile`; `"auto"` is Adam at 5e-5, and the task's loss and metrics."""
        optimizer = keras.optimizers.Adam(5e-5) if _is_auto(optimizer) else optimizer
        loss = self.default_loss() if _is_auto(loss) else loss
        metrics = self.default_metrics() if _is_auto(metrics) else metrics
        super().compile(optimizer=optimizer, loss=loss, metrics=metrics, **kwargs)

    def compile_from_config(self, config: dict[str, Any]) -> None:
        """Compiles the task as the one that was saved.

        Whether Keras itself compiles the model is decided again, as the file may come from another runtime.
        """
        arguments = keras.saving.deserialize_keras_object(config)
        self.compile(**{**arguments, "jit_compile": "auto"})
        if self.optimizer is not None and self.built:
            self.optimizer.build(self.trainable_variables)

    def default_loss(self) -> Any:
        """Returns the loss for `compile(loss="auto")`, or None."""
        return None

    def default_metrics(self) -> Any:
        """Returns the metrics for `compile(metrics="auto")`, or None."""
        return None

    def fit(self, x: Any = None, y: Any = None, *, batch_size: int = 32, shuffle: bool = True, **kwargs: Any) -> Any:
        """Trains the task as `keras.Model.fit`, on texts or on prepared inputs.

        Args:
            x: Texts or pairs of texts, as in `TextPreprocessor`; or batches `(texts, labels)` from a
                `keras.utils.PyDataset`, a torch `DataLoader`, or a generator; or inputs that are token ids already.
            y: A label for each text.
            batch_size: The number of texts in a batch.
            shuffle: Whether texts are in another order in each epoch.
            **kwargs: Further arguments of `keras.Model.fit`, such as `epochs`, `validation_data`, `validation_split`
                and `sample_weight`.

        Raises:
            ArgumentError: texts and labels differ in number, or a label is out of range.
        """
        validation = kwargs.pop("validation_data", None)
        if self._preprocessor is not None and not is_prepared(x):
            weights, split = kwargs.pop("sample_weight", None), kwargs.pop("validation_split", 0.0)
            kwargs.setdefault("steps_per_epoch", steps_of(x))
            x, held_out = text_batches(self, x, y, weights, batch_size, shuffle=shuffle, validation_split=split)
            y, validation = None, validation if held_out is None else held_out
        else:
            self._check_prepared(x)
            kwargs |= {} if y is None else {"batch_size": batch_size}
        if validation is not None:
            kwargs["validation_data"] = self._validation(validation, batch_size)
        # Batches of texts are shuffled already, text by text; Keras warns if it is to shuffle a generator.
        return super().fit(x, y, shuffle=shuffle and is_shuffled_by_keras(x), **kwargs)

    def _validation(self, data: Any, batch_size: int) -> Any:
        if self._preprocessor is None or is_prepared(data) or (isinstance(data, tuple | list) and is_prepared(data[0])):
            return data
        if not isinstance(data, tuple | list):
            return text_batches(self, data, None, None, batch_size, shuffle=False)[0]
        return text_batches(self, *data[:2], data[2] if len(data) > 2 else None, batch_size, shuffle=False)[0]

    def evaluate(self, x: Any = None, y: Any = None, *, batch_size: int = 32, **kwargs: Any) -> Any:
        """Computes loss and metrics as `keras.Model.evaluate`, on texts or on prepared inputs, as in `fit`."""
        if self._preprocessor is not None and not is_prepared(x):
            kwargs.setdefault("steps", steps_of(x))
            x, _ = text_batches(self, x, y, kwargs.pop("sample_weight", None), batch_size, shuffle=False)
            return super().evaluate(x, **kwargs)
        self._check_prepared(x)
        return super().evaluate(x, y, **kwargs | ({} if y is None else {"batch_size": batch_size}))

    def predict(self, x: Any, *, batch_size: int = 32, adapters: Any = None, **kwargs: Any) -> Any:
        """Returns the outputs for texts or for prepared inputs, in their order.

        Texts are sorted by length and padded to the longest of their batch, which changes no result.

        Args:
            x: Texts or pairs of texts, or inputs as in `keras.Model.predict`.
            batch_size: The number of rows in a batch.
            adapters: The name of a LoRA adapter, or a list with one for each text, or None for the active ones.
            **kwargs: Further arguments of `keras.Model.predict`, for prepared inputs.
        """
        if isinstance(self._preprocessor, TextPreprocessor) and not is_prepared(x):
            return self.inference.outputs(x, batch_size, adapters)
        if self._preprocessor is not None and not is_prepared(x):
            x = self._preprocessor(x)
        self._check_prepared(x)
        chosen = contextlib.nullcontext() if adapters is None else self.lora_rows(adapters)
        with chosen:
            return super().predict(x, batch_size=batch_size, **kwargs)

    @property
    def inference(self) -> Inference:
        """Computes outputs for many texts."""
        if self._inference is None:
            self.__dict__["_inference"] = Inference(self)
        return self._inference

    def further_inputs(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Returns the inputs of the model that no tokenizer makes, for the tokenized inputs of a batch."""
        return {}

    def columns(self, x: Any, y: Any) -> Any:
        """Returns the texts and the labels of a table, or the arguments themselves if `x` is none.

        Raises:
            ArgumentError: the table has no column of texts.
        """
        return columns(x, y)

    def check_labels(self, y: Any) -> Any:
        """Returns labels as the loss expects them; a subclass raises ArgumentError if they cannot be the task's."""
        return y

    def prepare(self, texts: Any, labels: Any = None, sample_weight: Any = None) -> Any:
        """Returns one batch for Keras: inputs, labels and weights as arrays; labels are those of `check_labels`."""
        labels = None if labels is None else np.asarray(labels)
        weights = None if sample_weight is None else np.asarray(sample_weight)
        return keras.utils.pack_x_y_sample_weight(self.encode(texts), labels, weights)

    def encode(self, texts: Any, **options: Any) -> Any:
        """Returns the inputs of one batch of texts; padded to a multiple of 16 where each shape is compiled."""
        if not isinstance(self._preprocessor, TextPreprocessor):
            return self._preprocessor(texts)
        if not vertebra.use().compiles_each_shape:
            return self._preprocessor.encode(texts, **options)
        arrays = self._preprocessor.encode(texts, pad_to_multiple_of=16, **options)
        return within(arrays, self._preprocessor.sequence_length)

    # === Names ===

    @classmethod
    def _own_arguments(cls) -> set[str]:
        """Returns the names of the constructors' arguments, apart from the parts and those of every task."""
        classes = [base for base in cls.__mro__ if issubclass(base, Task) and "__init__" in vars(base)]
        names = {name for base in classes for name in inspect.signature(base.__init__).parameters}
        return names - {*inspect.signature(Task.__init__).parameters, "kwargs"}

    @classmethod
    def check_stored(cls, arguments: Mapping[str, Any]) -> None:
        """Raises ArgumentError if arguments of a preset's file are not data, but Keras objects, which would be built.

        The constructor takes them from Python.
        """

    @classmethod
    def task_name(cls) -> str:
        """Returns the name of the task, without that of an architecture."""
        return next(base.__name__ for base in cls.__mro__ if vars(base).get("head_task") or Task in base.__bases__)

    def named_weights(self) -> dict[str, Any]:
        """Returns each weight by name: those of the backbone below `backbone/`, and those of the head."""
        of_backbone = {f"backbone/{name}": weight for name, weight in self._backbone.named_weights().items()}
        return of_backbone | self.head_weights()

    def head_weights(self) -> dict[str, Any]:
        """Returns the variables that are not the backbone's, by name."""
        return {}

    # === Configuration ===

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments; the backbone is serialised, and the preprocessor left out.

        A `.keras` file has the preprocessor among its assets.
        """
        backbone = keras.saving.serialize_keras_object(self._backbone)
        return {"name": self.name, "backbone": backbone, **self.task_arguments()}

    def task_arguments(self) -> dict[str, Any]:
        """Returns the constructor's arguments without the backbone and the preprocessor, as JSON."""
        return dict(self._arguments)

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Any:
        """Builds a task from a config that `get_config` returned."""
        arguments = dict(config)
        if isinstance(arguments.get("backbone"), Mapping):
            arguments["backbone"] = keras.saving.deserialize_keras_object(arguments["backbone"])
        return cls(**arguments)


def _is_auto(value: object) -> bool:
    return isinstance(value, str) and value == "auto"
