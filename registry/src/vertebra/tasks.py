"""How plugins that contribute tasks open a preset, and read and write its files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    from vertebra.specs import CacheLayer, HeadSpec, LayoutRule, PresetFiles, TaskExport, TaskPreset

    Tensors = Mapping[str, np.ndarray[Any, Any]]


def open_preset(
    preset: str | Path,
    backbone_class: type | None = None,
    load_weights: bool = True,
    *,
    locked: bool | None = None,
    copy: bool | None = None,
    mesh: Any = None,
    layout: str | Sequence[LayoutRule] | None = None,
    parallel: str | Sequence[str] | Mapping[str, str] | None = None,
    on_uneven: str = "error",
    **overrides: Any,
) -> TaskPreset:
    """Opens a preset for a task: loads its backbone, and gives access to its other tensors and files.

    Args:
        preset: A built-in preset id, a handle or a path, as in `Backbone.from_preset`.
        backbone_class: The class that the backbone must be of, or None for any.
        load_weights: Whether to load weights; if False, those of the backbone are random, and there are no tensors.
        locked: As in `Backbone.from_preset`.
        copy: As in `Backbone.from_preset`.
        mesh: The mesh of the backbone's weights, with `layout`, `parallel` and `on_uneven` as there; a head is whole.
        layout: As in `Backbone.from_preset`.
        parallel: As in `Backbone.from_preset`.
        on_uneven: As in `Backbone.from_preset`.
        **overrides: Arguments of the backbone's constructor that override the preset's config.

    Raises:
        PresetError: as in `Backbone.from_preset`.
    """
    from vertebra._discovery.runtimes import bind

    runtime = bind()
    from vertebra._placement.division import chosen_mesh
    from vertebra._presets.load import load_for_task
    from vertebra.backbone import Backbone

    chosen = chosen_mesh(runtime, mesh, layout, parallel, on_uneven)
    return load_for_task(backbone_class or Backbone, preset, load_weights, overrides, locked, copy, chosen)


def save_preset(
    backbone: Any, preset_dir: str | Path, task: TaskExport, format: str = "native", **options: Any
) -> None:
    """Saves a backbone and its task as a preset folder, which appears complete or not at all.

    Args:
        backbone: The backbone.
        preset_dir: The folder.
        task: What the task adds.
        format: As in `Backbone.save_to_preset`.
        **options: `max_shard_size`, `certificate` and `assets`, as in `Backbone.save_to_preset`.

    Raises:
        PresetSaveError: as in `Backbone.save_to_preset`.
        FormatLimitError: the format cannot represent a setting of the backbone.
    """
    from vertebra._presets import load_warnings
    from vertebra._presets.save import save_backbone

    outcome = save_backbone(backbone, preset_dir, format, task=task, **options)
    load_warnings.assets_left_out(outcome)
    load_warnings.followed_links(outcome)


def declared_head(task: str, backbone: Any, config: Mapping[str, Any]) -> HeadSpec | None:
    """Returns the head that the architecture of a backbone declares for a task, or None.

    Args:
        task: Name of the task.
        backbone: The backbone.
        config: The config of a transformers checkpoint, or an empty dict for the defaults of the architecture.
    """
    return head_of_architecture(task, type(backbone).__name__, backbone.constructor_config(), config)


def head_of_architecture(
    task: str, backbone: str, arguments: Mapping[str, Any], config: Mapping[str, Any]
) -> HeadSpec | None:
    """Returns the head that an architecture declares for a task, or None; imports no framework.

    Args:
        task: Name of the task.
        backbone: Name of the backbone's class.
        arguments: Arguments of the backbone's constructor.
        config: The config of a transformers checkpoint, or an empty dict for the defaults of the architecture.

    Raises:
        PresetConfigError: the head cannot be as the config says.
    """
    from vertebra._discovery.catalog import BACKBONES, catalog
    from vertebra._formats.checked_translation import Recorded
    from vertebra.errors import PresetConfigError, VertebraError, exception_text
    from vertebra.specs import resolve_reference

    backbones = catalog(BACKBONES)
    reference = backbones.lookup(backbone).value.heads.get(task) if backbone in backbones else None
    if reference is None:
        return None
    recorded = Recorded(config)
    try:
        head: HeadSpec = resolve_reference(reference)(arguments, recorded)
    except VertebraError:
        raise
    except Exception as error:
        fields = [f"{name} is {config[name]!r}" for name in sorted(recorded.read & config.keys())]
        if not fields:  # a fault of the architecture
            raise
        problem = f"{' and '.join(fields)}, which the head of {task} cannot be made from"
        raise PresetConfigError("config.json", f"{problem} ({exception_text(error)})") from error
    return head


def cache_of_architecture(backbone: str, arguments: Mapping[str, Any]) -> tuple[CacheLayer, ...] | None:
    """Returns what each attention layer of an architecture caches, or None if the architecture declares no cache.

    There are no layers if it is no decoder with its arguments, such as attention in both directions. It imports no
    framework.

    Args:
        backbone: Name of the backbone's class.
        arguments: Arguments of the backbone's constructor.

    Raises:
        TypeError: the function of the architecture returns something else.
    """
    from vertebra._tasks import caches

    return caches.cache_of_architecture(backbone, arguments)


def kerashub_config(backbone: Any) -> dict[str, Any]:
    """Returns the config of a backbone in KerasHub's format, which the config of a KerasHub task contains.

    Raises:
        PresetFormatError: no plugin has a translation of the backbone to this format.
        FormatLimitError: the format cannot represent a setting of the backbone.
    """
    from vertebra._formats.export import export_of
    from vertebra._formats.kerashub import expressed
    from vertebra._weights.layer_paths import weight_names

    return expressed(export_of(backbone, weight_names(backbone)))[0]


def tokenizer_classes() -> list[Any]:
    """Imports and returns the classes of tokenizers that plugins contribute, in order of name.

    Raises:
        PluginError: a class cannot be imported.
    """
    from vertebra._tasks import tokenizers

    return tokenizers.tokenizer_classes()


def variables_of_output(backbone: Any, output: str) -> list[Any]:
    """Returns the variables of the layer that computes an output of a backbone, such as `pooled_output`."""
    from vertebra._keras.internals import layer_of

    outputs = backbone.output
    return list(layer_of(outputs[output]).variables) if isinstance(outputs, Mapping) and output in outputs else []


def read_tensors(files: PresetFiles, name: str) -> Tensors:
    """Returns the tensors of a file of a preset, by name, as views of the file.

    Args:
        files: The preset.
        name: The name of a safetensors file, or of an HDF5 file that Keras wrote.

    Raises:
        PresetNotFoundError: the preset has no such file.
        WeightsFileError: the file is unsound, or of another kind.
    """
    from vertebra._weights.tensor_views import read_file

    return read_file(files.fetch(name), name)


def write_tensors(path: Path, arrays: Tensors) -> None:
    """Writes arrays as a safetensors file, or as an HDF5 file as Keras writes it if the name ends with `.h5`.

    Raises:
        OSError: the file cannot be written, as on a full disk.
    """
    from vertebra._weights.tensor_views import write_file

    write_file(path, arrays)
