"""The private parts of Keras that Vertebra uses: each one here, and nowhere but here.

A new release of Keras may move any of them. `tests/registry/test_keras_internals.py` has a test for each, whose failure
names the part that moved. Importing this module imports no Keras: each function imports the part that it needs.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

# === Variables ===


def has_value(variable: Any) -> bool:
    """Says whether a variable holds a tensor.

    Public Keras has `variable.value`, which runs the initialiser of a variable that has none.
    """
    return variable._value is not None


def give_value(variable: Any, tensor: Any) -> None:
    """Makes a tensor the value of a variable that has none, without a copy where the backend can.

    Public Keras has `variable.assign`, which runs the initialiser first, and copies on torch.
    """
    variable._initialize(tensor)
    variable._initializer = None


def run_initializer(variable: Any) -> None:
    """Gives a variable that has no value the one of its initialiser.

    Public Keras does this at the end of a `StatelessScope`, for all variables that were created in it.
    """
    variable._deferred_initialize()


def pending_variables() -> list[Any]:
    """Returns Keras's own list of the variables that wait for a value, to be read and changed.

    Public Keras initialises them at the end of the next `StatelessScope`, and does not say which they are.
    """
    from keras.src.backend.common import global_state

    pending: list[Any] = global_state.get_global_attribute("uninitialized_variables", [], set_to_default=True)
    return pending


def is_autocast(variable: Any) -> bool:
    """Says whether a variable is cast to the compute dtype of the layer that uses it.

    Public Keras takes this as an argument of `keras.Variable`, and does not return it.
    """
    return bool(variable._autocast)


def autocast(dtype: str | None) -> contextlib.AbstractContextManager[Any]:
    """Returns a context in which float variables are read in a dtype, or, with None, as they are stored.

    Public Keras does this within the call of a layer, in the dtype of that layer's policy only.
    """
    from keras.src.backend.common.variables import AutocastScope

    scope: contextlib.AbstractContextManager[Any] = AutocastScope(dtype)
    return scope


# === Layers below a layer, and their variables ===


def all_layers(layer: Any, include_self: bool = True) -> list[Any]:
    """Returns a layer and every layer below it, each once.

    Public Keras has `model.layers`, of the layers right below a model; other layers have no such list.
    """
    layers: list[Any] = layer._flatten_layers(include_self=include_self)
    return layers


def child_layers(layer: Any) -> list[Any]:
    """Returns the layers right below a layer.

    Public Keras has `model.layers`, which other layers than models lack.
    """
    layers: list[Any] = layer._flatten_layers(recursive=False, include_self=False)
    return layers


def tracked_weights(layer: Any) -> list[Any]:
    """Returns the weights that are attributes of a layer.

    Public Keras has `layer.weights`, which adds the weights of every layer below.
    """
    return [*layer._trainable_variables, *layer._non_trainable_variables]


def seed_generators(layer: Any) -> list[Any]:
    """Returns the random seed generators that are attributes of a layer.

    Public Keras has `layer.variables`, with their state and without the seeds that they were given.
    """
    return list(layer._seed_generators)


def set_trainable(layer: Any, trainable: bool) -> None:
    """Makes a layer trainable or not, and none of its weights and of the layers below it.

    Public Keras has the setter of `layer.trainable`, which visits all of these, once for each layer above them.
    """
    layer._trainable = trainable


def track_parameters(layer: Any) -> None:
    """Makes a layer's variables the parameters of its torch module; does nothing on other backends.

    Public Keras does this once, after `build`, before values are placed and adapters added.
    """
    layer._post_build()


@contextlib.contextmanager
def unlocked(layer: Any) -> Iterator[None]:
    """Lets a built layer take further layers and variables as attributes within the block.

    Public Keras refuses new state once a layer is built.
    """
    layer._tracker.unlock()
    try:
        yield
    finally:
        layer._tracker.lock()


def untrack(layer: Any, held: Any) -> None:
    """Makes a built layer forget another layer, if it is one of its own; the attribute stays.

    Public Keras has `del layer.name`, which looks for garbage in the whole process, for each attribute.
    """
    layer._tracker.untrack(held)


# === Kernels ===

_KERNELS = ("_kernel", "_embeddings")


def kernel_variable(layer: Any) -> Any:
    """Returns the variable of a layer's kernel or embedding table, quantised or not, or None if it has neither.

    Public Keras has `layer.kernel` and `layer.embeddings`, which of a quantised layer compute a tensor.
    """
    name = _kernel_name(layer)
    return None if name is None else getattr(layer, name)


def remove_kernel(layer: Any) -> None:
    """Takes the variable of its kernel or embedding table from a layer, which `unlocked` has unlocked.

    Public Keras does this within `layer.quantize`, which computes from the values of the kernel.
    """
    name = _kernel_name(layer)
    layer._untrack_variable(getattr(layer, str(name)))
    setattr(layer, str(name), None)  # Keras's `del` would collect the garbage of the whole process, for each layer


def int4_block_size(layer: Any) -> int | None:
    """Returns how many rows of a layer's int4 kernel share scales, or None or -1 if all of them do.

    Public Keras has `layer.quantization_config.block_size`, which is missing where a dtype policy said the block size.
    """
    size: int | None = layer._int4_block_size
    return size


def _kernel_name(layer: Any) -> str | None:
    return next((name for name in _KERNELS if hasattr(layer, name)), None)


# === Calls and training ===


def is_calling() -> bool:
    """Says whether a Keras layer is being called in this thread.

    Public Keras tells a layer of the call that it is part of in `training`, and not of one that leaves this open.
    """
    return _call_context() is not None


def is_call_training() -> bool:
    """Says whether the outermost call of a Keras layer in this thread trains; False if there is none.

    Public Keras tells layers whose `call` has an argument `training`; `Dense` and others have none.
    """
    context = _call_context()
    return context is not None and bool(context.get_value("training"))


def _call_context() -> Any:
    from keras.src.backend.common import global_state

    return global_state.get_global_attribute("current_call_ctx")


Update = Callable[[list[Any], list[Any], Any], None]
"""What an optimiser does with gradients, variables and a learning rate."""


def wrap_update(optimizer: Any, wrap: Callable[[Update], Update]) -> None:
    """Makes an optimiser update variables by what `wrap` makes of its class's own update.

    Public Keras has a learning rate for all variables. `optimizer.apply`, for a group of variables at a time, would
    count a step for each group, clip gradients by the norm of a group, and average weights for each group.
    """
    vars(optimizer).pop("_backend_update_step", None)  # a former wrapper
    optimizer._backend_update_step = wrap(optimizer._backend_update_step)
