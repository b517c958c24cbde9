"""The public functions that are not methods of a backbone."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from vertebra import _arguments, _lazy_class, lora
from vertebra._discovery import catalog, plugins, runtimes, task_classes
from vertebra._lora.choices.call_lock import call_lock
from vertebra._system.user_warnings import warn
from vertebra.errors import ArgumentError, PluginError
from vertebra.handles import PresetHandle
from vertebra.interfaces import Runtime
from vertebra.specs import PresetFiles


def use(runtime: str | None = None) -> Runtime:
    """Makes Keras run on a runtime for the rest of the process; call it before Keras is imported.

    Args:
        runtime: Name of the runtime, or None for the one that the environment or the settings choose.

    Raises:
        RuntimeBoundError: Keras already runs on another backend.
        RuntimeUnavailableError: the backend is not installed.
        UnknownNameError: no plugin provides the runtime.
        RuntimeChoiceError: no runtime was named or chosen, and there are several or none.
    """
    return runtimes.bind(runtime)


def compile(backbone: Any) -> CompiledModel:
    """Returns a compiled function of a backbone's inputs, for inference, without Python overhead at each layer.

    Args:
        backbone: A backbone, or any functional Keras model.

    Returns:
        A function with the inputs and outputs of the backbone; the outputs are tensors of the backend. It follows later
        changes of the weights. JAX compiles it for the first shapes of the inputs, and pads batches of tokens in others
        to few more; torch traces it for the first shape and then for all, apart from sizes of 1. `adapters=` chooses
        LoRA adapters for one call, as in `vertebra.lora.rows`. Several threads may call it at once.

    Raises:
        ArgumentError: `backbone` is not a Keras model.
    """
    runtime = runtimes.bind()
    import keras

    if not isinstance(backbone, keras.Model):
        raise ArgumentError("compile", "backbone", backbone, "a Keras model")
    return CompiledModel(backbone, runtime.compile(backbone))


class CompiledModel:
    """The forward pass of a model as a function, as `vertebra.compile` returns it.

    Args:
        model: The model.
        program: The function, as a runtime compiles it.
    """

    def __init__(self, model: Any, program: Callable[..., Any]) -> None:
        self._model, self._program = model, program

    def __call__(self, inputs: Any, *, adapters: lora.Choice | None = None, tokens: Any = None) -> Any:
        """Returns the outputs of the model.

        Args:
            inputs: The inputs.
            adapters: LoRA adapters for this call, as in `vertebra.lora.rows`; None means the active ones.
            tokens: The `vertebra.layers.Tokens` of the inputs, if layers that treat each token alone are to compute no
                padding; one adapter must serve all rows then. None computes all positions.
        """
        from vertebra._lora.choices import calls
        from vertebra.backbone import Backbone

        if isinstance(self._model, Backbone):
            inputs = _arguments.inputs_of_call(self._model, inputs)
        chosen = contextlib.nullcontext() if adapters is None else calls.calling_with(self._model, adapters)
        with call_lock(self._model).calling(), chosen:
            calls.check_compiled(self._model, inputs)
            return self._program(inputs, tokens)

    def packed(self) -> CompiledModel:
        """Returns the function for weights that do not change as long as it is used.

        On a CPU, torch copies the weights of dense layers into the layout of the processor's fastest product at the
        first call, if that is faster than to use them as they are. Other runtimes return the same function.
        """
        return CompiledModel(self._model, runtimes.bind().pack(self._program))


def load_model(filepath: str | Path, *, runtime: str | None = None, **kwargs: Any) -> Any:
    """Loads a `.keras` file that holds backbones, layers of them, or tasks, of any installed plugin.

    Keras needs the classes in a file to be imported already; this function imports them and calls
    `keras.saving.load_model`. Load only files that you trust: Keras creates every object that a file names.

    Args:
        filepath: The file.
        runtime: Name of the runtime, as in `Backbone.from_preset`.
        **kwargs: Further arguments of `keras.saving.load_model`.

    Raises:
        ArgumentError: `filepath` is not a path.
    """
    filepath = _arguments.path("load_model", "filepath", filepath)
    if filepath.is_dir():
        raise ArgumentError("load_model", "filepath", str(filepath), "a .keras file; from_preset reads folders")
    runtimes.bind(runtime)
    import keras

    problems = {}
    for name in task_classes.class_names():
        try:
            _lazy_class.resolve_class(name)
        except PluginError as error:  # the file may not need the classes of that plugin
            problems[str(error)] = error
    for problem in problems:
        warn(problem)
    return keras.saving.load_model(filepath, **kwargs)


def files(preset: str | Path, *names: str) -> dict[str, Path]:
    """Returns the local paths of files of a preset or adapter, for other programs; downloads those not cached yet.

    Imports no framework. Treat the files as read-only: those of a remote preset are in the cache, under names that are
    hashes. `vertebra pull --to DIR` writes copies under their own names.

    Args:
        preset: An id, a handle or a path, as in `Backbone.from_preset`.
        *names: Names or globs of the files, such as `"tokenizer.json"` or `"*.json"`; without any, all files.

    Returns:
        The path of each file, by its name in the preset.

    Raises:
        ArgumentError: an argument is not a text, or `preset` not a path.
        PresetNotFoundError: there is no such preset, or no file matches a name.
        OfflineError: files are not on this machine, and the network must not be used.

    Examples:
        >>> vertebra.files("hf://acme/bert", "tokenizer.json")["tokenizer.json"].read_text()  # doctest: +SKIP
    """
    from vertebra._resolve.local_files import local_files

    return local_files(preset, [_arguments.text("files", "names", name) for name in names])


def runtime_folder(runtime: str) -> Path | None:
    """Returns the folder of the cache in which a runtime may keep results for later processes, for its adapter.

    The folder may not exist yet, and users may delete it at any time. Other programs may have written to it, so the
    adapter checks its files as it reads them.

    Args:
        runtime: Name of the runtime, such as `"torch"`.

    Returns:
        The folder, or None for a user without a cache.
    """
    from vertebra._cache.default_store import cache_folder
    from vertebra.errors import CacheError

    try:
        return cache_folder() / "runtimes" / runtime
    except CacheError:
        return None


def open_files(preset: str | Path, *, locked: bool | None = None) -> PresetFiles:
    """Opens the files of a preset or adapter, for plugins that read files other than a backbone's.

    Fetches nothing yet; all files are of one revision. `files` fetches files for other programs.

    Args:
        preset: An id, a handle or a path, as in `Backbone.from_preset`.
        locked: As in `Backbone.from_preset`.

    Raises:
        ArgumentError: `preset` is not a path.
        PresetNotFoundError: there is no such preset.
    """
    from vertebra._resolve.open import open_folder

    return open_folder(preset, locked)


def upload_preset(
    uri: str | Path, preset_dir: str | Path, *, replace: bool = False, message: str | None = None
) -> PresetHandle:
    """Uploads a preset, completely or not at all; refuses a preset that could not be loaded again.

    Checks the config, the weights' headers, and that they match: all names and shapes on the chosen runtime, which
    this call binds, or only the names of tensors if no runtime was chosen and the format's names differ from Keras's.
    The upload gets a model card if the preset has no `README.md`; your folder is not written to. Hidden files are not
    uploaded.
    Args:
        uri: Target of the upload: a handle whose source supports uploads, or a path.
        preset_dir: A preset folder, or any other argument of `from_preset`.
        replace: Whether another preset at the target may be replaced.
        message: Commit message, for services that store one.

    Returns:
        The pinned handle of the uploaded preset, if the source has revisions.

    Raises:
        ArgumentError: an argument has the wrong type, such as a `replace` that is not a bool.
        PresetExistsError: another preset is at the target, and `replace` is False.
        PresetAccessError: the source does not support uploads, or the user may not upload.
        PresetError: the preset is not valid.
    """
    from vertebra._presets.publish import upload

    return upload(uri, preset_dir, replace, message).handle


def add_plugin(module: object, name: str, *, replace: bool = False) -> None:
    """Adds a plugin that is not installed, such as one in a notebook, until the process ends.

    Args:
        module: A module or other object with hook implementations.
        name: Name of the plugin, for messages.
        replace: Whether to remove the plugin that was added under this name, or from this module, first. Without it,
            only one that failed is replaced.

    Raises:
        ArgumentError: `name` is not a string, or is empty, or `replace` is not a bool.
        PluginError: the plugin has no hooks, or invalid ones, or is added already.
    """
    _arguments.text("add_plugin", "name", name)
    plugin = plugins.registry().add(module, name, _arguments.flag("add_plugin", "replace", replace))
    catalog.clear_catalog()
    catalog.catalog(catalog.BACKBONES)
    if plugin.status != "loaded":
        raise PluginError(name, plugin.reason, "Correct the plugin, and add it again")


def remove_plugin(name: str) -> None:
    """Removes a plugin that `add_plugin` added; objects that it made stay as they are.

    Args:
        name: Name of the plugin.

    Raises:
        ArgumentError: `name` is not a string, or is empty.
        PluginError: the plugin is installed, and was not added.
        UnknownNameError: there is no plugin of that name.
    """
    plugins.registry().remove(_arguments.text("remove_plugin", "name", name))
    catalog.clear_catalog()
