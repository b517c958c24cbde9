"""The private Keras APIs that Vertebra uses: every use is in this module.

A new release of Keras may change any of them. `tests/registry/keras/test_internals.py` has a test for each, whose
failure names the API that changed. Importing this module does not import Keras: each function has its own imports.
"""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any

# === Variables ===


def has_value(variable: Any) -> bool:
    """Says whether a variable holds a tensor.

    Public Keras has `variable.value`, which initialises a variable that has no value.
    """
    return variable._value is not None


def give_value(variable: Any, tensor: Any) -> None:
    """Makes a tensor the value of a variable that has none, without a copy if the backend allows it.

    Public Keras has `variable.assign`, which first runs the initialiser, and copies on torch.
    """
    variable._initialize(tensor)
    variable._initializer = None


def give_divided(variable: Any, tensor: Any) -> None:
    """Gives a variable a divided tensor, as `give_value`: later values, and an optimiser's state, are divided as well.

    Public Keras takes a layout as an argument of `keras.Variable` alone.
    """
    variable._layout = getattr(tensor, "sharding", None)  # of a tensor of jax
    give_value(variable, tensor)


def run_initializer(variable: Any) -> None:
    """Runs the initialiser of a variable that has no value.

    Public Keras does this at the end of a `StatelessScope`, for all variables that were created in it.
    """
    variable._deferred_initialize()


def pending_variables() -> list[Any]:
    """Returns Keras's own list of variables that wait to be initialised, which the caller may change.

    Public Keras initialises them at the end of the next `StatelessScope`, and does not list them.
    """
    from keras.src.backend.common import global_state

    pending: list[Any] = global_state.get_global_attribute("uninitialized_variables", [], set_to_default=True)
    return pending


@contextlib.contextmanager
def own_pending(admit: Callable[[int], None]) -> Iterator[list[Any]]:
    """Lets Keras note variables that wait to be initialised in a list of the block's own, and forget it afterwards.

    Args:
        admit: Called with the number of variables before one more is noted; it may raise.
    """
    from keras.src.backend.common import global_state

    class Pending(list[Any]):
        def append(self, variable: Any) -> None:
            admit(len(self))
            super().append(variable)

    before, pending = pending_variables(), Pending()
    global_state.set_global_attribute("uninitialized_variables", pending)
    try:
        yield pending
    finally:
        global_state.set_global_attribute("uninitialized_variables", before)


def is_autocast(variable: Any) -> bool:
    """Says whether a variable is cast to the compute dtype of the layer that uses it.

    Public Keras takes this as an argument of `keras.Variable`, and does not return it.
    """
    return bool(variable._autocast)


def autocast(dtype: str | None) -> contextlib.AbstractContextManager[Any]:
    """Returns a context in which float variables are read in a dtype, or with None in their stored dtype.

    Public Keras does this only within the call of a layer, in the dtype of that layer's policy.
    """
    from keras.src.backend.common.variables import AutocastScope

    scope: contextlib.AbstractContextManager[Any] = AutocastScope(dtype)
    return scope


# === Layers below a layer, and their variables ===


def all_layers(layer: Any, include_self: bool = True) -> list[Any]:
    """Returns a layer and every layer below it, each once.

    Public Keras has `model.layers`, the direct sublayers of a model; other layers have no such list.
    """
    layers: list[Any] = layer._flatten_layers(include_self=include_self)
    return layers


def child_layers(layer: Any) -> list[Any]:
    """Returns the direct sublayers of a layer.

    Public Keras has `model.layers`; layers that are not models lack it.
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

    Public Keras has `layer.variables`, with the generators' states and without their seeds.
    """
    return list(layer._seed_generators)


def set_trainable(layer: Any, trainable: bool) -> None:
    """Sets only a layer's own trainable flag, not that of its weights or sublayers.

    Public Keras has the setter of `layer.trainable`, which visits all weights and sublayers, once for each parent.
    """
    layer._trainable = trainable


def snake_case(name: str) -> str:
    """Returns the name of a class as in the names that Keras gives layers without one.

    Public Keras has no function for it.
    """
    from keras.src.utils.naming import to_snake_case

    written: str = to_snake_case(name)
    return written


def is_saved(value: Any) -> bool:
    """Says whether Keras's weights files have a group for a value, such as a layer.

    Public Keras has no such class.
    """
    from keras.src.saving.keras_saveable import KerasSaveable

    return isinstance(value, KerasSaveable)


def saved_attributes(layer: Any) -> list[tuple[str, Any]]:
    """Returns the attributes of a layer by name, in the order in which Keras's weights files save them.

    Public Keras has the names only in the files that it writes, for which it needs the values of all weights.
    """
    from keras.src.saving.saving_lib import _walk_saveable

    return list(_walk_saveable(layer))


def track_parameters(layer: Any) -> None:
    """Registers a layer's variables as parameters of its torch module; does nothing on other backends.

    Public Keras does this once, after `build`, before values are assigned and adapter layers are attached.
    """
    layer._post_build()


@contextlib.contextmanager
def unlocked(layer: Any) -> Iterator[None]:
    """Allows new layers and variables as attributes of a built layer within the block.

    Public Keras refuses new state once a layer is built.
    """
    layer._tracker.unlock()
    try:
        yield
    finally:
        layer._tracker.lock()


def untrack(layer: Any, held: Any) -> None:
    """Removes a sublayer from a built layer's tracked layers, if it is tracked; the attribute stays.

    Public Keras has `del layer.name`, which runs the garbage collector for each attribute.
    """
    layer._tracker.untrack(held)


# === Kernels ===

_KERNELS = ("_kernel", "_embeddings")
_UNTIED = "reverse_embeddings"


def kernel_variable(layer: Any) -> Any:
    """Returns the variable of a layer's kernel or embedding table, quantised or not, or None if it has neither.

    Public Keras has `layer.kernel` and `layer.embeddings`, which compute a tensor if the layer is quantised.
    """
    name = _kernel_name(layer)
    return None if name is None else getattr(layer, name)


def remove_kernel(layer: Any) -> list[Any]:
    """Removes and returns the variables that quantising replaces; call it within `unlocked`.

    They are that of the kernel or embedding table, and the second table of an untied `ReversibleEmbedding`. Public
    Keras removes them only within `layer.quantize`, which needs their values.
    """
    names = [name for name in (_kernel_name(layer), _UNTIED) if name and getattr(layer, name, None) is not None]
    removed = [getattr(layer, name) for name in names]
    for name, variable in zip(names, removed, strict=True):
        layer._untrack_variable(variable)
        setattr(layer, name, None)  # Keras's `del` would run the garbage collector for each layer
    return removed


def int4_block_size(layer: Any) -> int | None:
    """Returns the number of rows of a layer's int4 kernel that share a scale; None or -1 if all rows share it.

    Public Keras has `layer.quantization_config.block_size`, which is missing if a dtype policy set the block size.
    """
    size: int | None = layer._int4_block_size
    return size


def _kernel_name(layer: Any) -> str | None:
    return next((name for name in _KERNELS if hasattr(layer, name)), None)


# === Calls and training ===


def is_calling() -> bool:
    """Says whether a Keras layer is being called in this thread.

    Public Keras shows a layer only the argument `training` of its call, which is None if the caller left it open.
    """
    return _call_context() is not None


def is_call_training() -> bool:
    """Says whether the outermost call of a Keras layer in this thread has `training=True`; False outside calls.

    Public Keras passes `training` only to layers whose `call` has this argument; `Dense` and others lack it.
    """
    context = _call_context()
    return context is not None and bool(context.get_value("training"))


def _call_context() -> Any:
    from keras.src.backend.common import global_state

    return global_state.get_global_attribute("current_call_ctx")


Update = Callable[[list[Any], list[Any], Any], None]
"""The update step of an optimiser, called with gradients, variables and a learning rate."""


def wrap_update(optimizer: Any, wrap: Callable[[Update], Update]) -> None:
    """Wraps an optimiser's update step: replaces it by the result of `wrap` for the update of its class.

    Public Keras has one learning rate for all variables. Calling `optimizer.apply` for each group of variables would
    count a step, clip gradients by a norm, and average weights separately for each group.
    """
    vars(optimizer).pop("_backend_update_step", None)  # an earlier wrapper
    optimizer._backend_update_step = wrap(optimizer._backend_update_step)


def layer_of(tensor: Any) -> Any:
    """Returns the layer that computes a symbolic tensor; public Keras has only the tensors of a layer."""
    return tensor._keras_history.operation


# === Copies of models ===


def name_counts() -> dict[str, int]:
    """Returns Keras's counts of the names that it generated in this thread, to change; public `get_uid` adds one."""
    from keras.src.backend.common import global_state

    counts: dict[str, int] = global_state.get_global_attribute("object_name_uids", defaultdict(int), True)
    return counts


def has_drawn_seed(value: Any) -> bool:
    """Says whether a value is an initialiser that drew its seed; public `get_config` serialises the seed."""
    return getattr(value, "_init_seed", 0) is None


def state_of_builds() -> dict[str, Any]:
    """Returns what constructors may read, by name: scopes and settings of this thread. Public Keras hides scopes."""
    from keras.src.backend.common import global_state

    unread = {"object_name_uids", "uninitialized_variables", "global_random_seed", "global_seed_generator"}
    known = {name: value for name, value in vars(global_state.GLOBAL_STATE_TRACKER).items() if name not in unread}
    return {name: value for name, value in ({"tracking_on": True} | known).items() if value and "skipset" not in name}


def tracker_class() -> Any:
    """Returns the class of the objects that note the attributes of a layer; public Keras has no such class."""
    from keras.src.utils.tracking import Tracker

    return Tracker


def identities(value: Any) -> dict[str, Any]:
    """Returns the attributes of a Keras object that know other objects by `id`; public Keras has no copies."""
    from keras.src.ops.function import make_node_key

    known = vars(value)
    if isinstance(value, tracker_class()):
        return {"stored_ids": {name: set(map(id, held)) for name, (_, held) in value.config.items()}}
    if "_nodes_by_depth" in known:  # a functional model
        nodes = [node for level in value._nodes_by_depth.values() for node in level]
        keys = {make_node_key(node.operation, node.operation._inbound_nodes.index(node)) for node in nodes}
        return {"_nodes": keys}
    return {"_loss_ids": set()} if "_loss_ids" in known else {}


# === Saving ===


def is_saving_config() -> bool:
    """Says whether Keras is writing the config of a model whose weights it writes next: a `.keras` file, or a pickle.

    Public Keras calls `get_config` in the same way for a config alone, as `clone_model` does.
    """
    from keras.src.backend.common import global_state

    return global_state.get_global_attribute("shared_objects/id_to_config_map") is not None
