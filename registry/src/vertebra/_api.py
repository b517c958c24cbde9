"""The public functions that are not methods of a backbone."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from vertebra import _arguments, lora
from vertebra._discovery import catalog, plugins, runtimes
from vertebra._lora.choices.call_lock import call_lock
from vertebra._system.user_warnings import warn
from vertebra.errors import ArgumentError, PluginError
from vertebra.handles import PresetHandle
from vertebra.interfaces import Runtime


def use(runtime: str | None = None) -> Runtime:
    """Makes Keras run on a runtime for the rest of the process; call it before Keras is imported.

    Args:
        runtime: Its name, or None for the one that the environment or the settings choose.

    Raises:
        RuntimeBoundError: Keras already runs on another backend.
        RuntimeUnavailableError: the backend is not installed.
        UnknownNameError: no plugin provides the runtime.
        RuntimeChoiceError: none was named or chosen, and there is not exactly one to take.
    """
    return runtimes.bind(runtime)


def compile(backbone: Any) -> Callable[..., Any]:
    """Returns a function of a backbone's inputs, for inference, without Python overhead at each layer.

    Args:
        backbone: A backbone, or any functional Keras model.

    Returns:
        A function that takes what the backbone takes and returns what it returns, as tensors of the backend. It
        follows later changes of the weights, and is traced for each new shape of the inputs. `adapters=` chooses LoRA
        adapters for one call, as in `vertebra.lora.rows`. Several threads may call it at once.

    Raises:
        ArgumentError: it is not a Keras model.
    """
    runtime = runtimes.bind()
    import keras

    from vertebra._lora.choices import calls

    if not isinstance(backbone, keras.Model):
        raise ArgumentError("compile", "backbone", backbone, "a Keras model")
    program = runtime.compile(backbone)

    def compiled(inputs: Any, *, adapters: lora.Choice | None = None) -> Any:
        chosen = contextlib.nullcontext() if adapters is None else calls.calling_with(backbone, adapters)
        with call_lock(backbone).calling(), chosen:
            calls.check_compiled(backbone, inputs)
            return program(inputs)

    return compiled


def load_model(filepath: str | Path, *, runtime: str | None = None, **kwargs: Any) -> Any:
    """Loads a `.keras` file that holds backbones, or layers of them, of any installed plugin.

    Keras finds the classes in a file only once they are imported; this imports them and calls
    `keras.saving.load_model`. Load only files that you trust: Keras rebuilds whatever objects a file names.

    Args:
        filepath: The file.
        runtime: Name of the runtime, as in `Backbone.from_preset`.
        **kwargs: Passed on.

    Raises:
        ArgumentError: `filepath` is not a path.
    """
    filepath = _arguments.path("load_model", "filepath", filepath)
    runtimes.bind(runtime)
    import keras

    for entry in catalog.catalog(catalog.BACKBONES):
        try:
            catalog.backbone_class(entry.name)
        except PluginError as error:  # the file may well hold none of that plugin's
            warn(str(error))
    return keras.saving.load_model(filepath, **kwargs)


def upload_preset(
    uri: str | Path, preset_dir: str | Path, *, replace: bool = False, message: str | None = None
) -> PresetHandle:
    """Publishes a preset, all of it at once or nothing; what could not be loaded again is refused.

    Its config and the headers of its weights are checked, and whether they belong together: by all names and shapes on
    the runtime that was chosen, which this binds; where none was, by the names of tensors, if the format has others
    than Keras. It gets a model card if it has no `README.md`; your folder is not written to. Hidden files are left out.

    Args:
        uri: Where to: a handle, whose source must take uploads, or a path.
        preset_dir: A preset folder, or anything else that `from_preset` takes.
        replace: Whether another preset that stands there may be replaced.
        message: The reason, for services that keep one.

    Returns:
        A handle of just what was uploaded, where the source has revisions.

    Raises:
        ArgumentError: `replace` is not a bool, or another argument not of its type.
        PresetExistsError: another preset stands there, and `replace` is False.
        PresetAccessError: the source takes no uploads, or none of this user's.
        PresetError: the preset is not sound.
    """
    from vertebra._presets.publish import upload

    return upload(uri, preset_dir, replace, message).handle


def add_plugin(module: object, name: str) -> None:
    """Adds a plugin that is not installed, such as one in a notebook, for the rest of the process.

    Args:
        module: A module or other object with hook implementations.
        name: Name to report it by.

    Raises:
        ArgumentError: the name is not a text, or empty.
        PluginError: it has no hooks, or they are wrong.
    """
    _arguments.text("add_plugin", "name", name)
    owner = plugins.Owner(name, "", getattr(module, "__name__", type(module).__name__))
    plugin = plugins.registry().add(module, name, owner)
    catalog.forget()
    catalog.catalog(catalog.BACKBONES)
    if plugin.status != "loaded":
        raise PluginError(name, plugin.reason, "Correct it and add it again in a new process")
