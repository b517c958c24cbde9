"""Converts a preset to another format or dtype, tensor by tensor, without building a model with values."""

from __future__ import annotations

import json
import shlex
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from vertebra._discovery.backbone_classes import bind_any
from vertebra._formats.description import OpenPreset, PresetDescription
from vertebra._formats.export import PresetExport, plain_config
from vertebra._formats.other_weights import choose_weights
from vertebra._formats.registry import formats, read_description
from vertebra._formats.translation import translation_for
from vertebra._presets import load_warnings
from vertebra._presets.assets import CarriedAssets, select_assets
from vertebra._presets.backbones.arguments import BASE_ARGUMENTS, check_overrides
from vertebra._presets.backbones.build import build_abstract, class_of
from vertebra._presets.certificate_header import carry_certificate, open_certificate
from vertebra._presets.replace_folder import check_request, keep_user_files, replaces_tokenizer
from vertebra._resolve.consistent_read import read_consistently
from vertebra._resolve.preset_folder import PresetFolder
from vertebra._system.atomic_save import replacing_folder
from vertebra._tasks.tasks import describe_uses, export_task, write_task
from vertebra._weights.checkpoint import Checkpoint
from vertebra._weights.match import Match, any_match
from vertebra._weights.safetensors.file_kind import SAFETENSORS
from vertebra._weights.tensor_entry import layout_of, numpy_dtype
from vertebra._weights.tensor_layout import take
from vertebra._weights.tensor_views import TensorViews
from vertebra._weights.writing import Tensors
from vertebra.errors import PresetConfigError, PresetFormatError, WeightsFileError
from vertebra.specs import TaskPreset

DTYPES = ("float32", "float16", "bfloat16", "float64")
_FORMAT, _MAX_SHARD_SIZE = "native", 10
_WITHOUT_HEAD = "; the new preset has no head, so a reader that uses the token table as its head gets other logits"


@dataclass(frozen=True, slots=True)
class Conversion:
    """The result of a conversion."""

    source: str
    target: Path
    format: str
    tensors: int
    """Number of weights that were written."""
    size: int
    """Bytes of these weights."""
    certificate: bool
    """Whether the source's parity certificate also holds for the target and was copied to it."""
    unused: tuple[str, ...]
    """Tensors of the source that were not written because they are not the backbone's, such as those of a head."""
    assets: CarriedAssets
    """The source's other files, such as a tokenizer: which were carried, and which were left out."""
    not_read: str | None = None
    """The shard index of a second checkpoint in the source, which was not read, or None if there is just one."""
    untied_heads: tuple[str, ...] = ()
    """Why the source's logits differ from those of its token table: names of heads, or a field of its config."""
    difference: str | None = None
    """How the library of the source's format computes otherwise than its config says."""
    notes: tuple[str, ...] = ()
    """How an untidy source was read, such as with names under a wrapper's prefix."""
    task: str | None = None
    """The task whose head was converted with the backbone, or None if there is none."""


@dataclass(frozen=True, slots=True)
class _Options:
    target: Path
    format: str
    dtype: str | None
    max_shard_size: float | None
    overrides: dict[str, Any]
    runtime: str | None

    @property
    def keeps_outputs(self) -> bool:
        """Whether the new preset computes the outputs of the source, to the bit."""
        return self.dtype is None and not self.overrides

    def words(self) -> list[str]:
        """Returns the options of the command line that differ from its defaults, but for the overrides."""
        given = {"--format": self.format, "--dtype": self.dtype, "--max-shard-size": self.max_shard_size}
        defaults = {"--format": _FORMAT, "--dtype": None, "--max-shard-size": _MAX_SHARD_SIZE}
        changed = {option: value for option, value in given.items() if value != defaults[option]}
        return [word for option, value in changed.items() for word in (option, str(value))]


def convert_preset(
    preset: str | Path,
    target_dir: str | Path,
    format: str = _FORMAT,
    dtype: str | None = None,
    max_shard_size: float | None = _MAX_SHARD_SIZE,
    advance: Callable[[int, int], None] | None = None,
    overrides: Mapping[str, Any] | None = None,
    runtime: str | None = None,
) -> Conversion:
    """Writes a preset to another folder, in another format or dtype; holds about one tensor in memory at a time.

    Every other file of the preset, such as a tokenizer, is either carried or listed in the result as left out.

    Args:
        preset: A preset, as passed to `from_preset`.
        target_dir: The folder, which appears complete or not at all.
        format: The format to write.
        dtype: Dtype of the floats, or None to keep each as it is stored.
        max_shard_size: Most gigabytes (10⁹ bytes) in one weights file, or None for a single file.
        advance: Called with the bytes written so far and the total bytes, or None for no progress.
        overrides: Arguments of the class's constructor, such as `vocabulary_size`, that override the preset's config,
            as in `from_preset`. The new preset has no certificate then.
        runtime: Name of the runtime that builds the class, which does not affect the result; None means any.

    Raises:
        PresetError: for the same reasons as in `from_preset` and `save_to_preset`.
    """
    target = check_request(target_dir, format, max_shard_size)
    if dtype not in (None, *DTYPES):
        raise PresetConfigError("convert", f"dtype={dtype!r} is not a dtype of floats", f"Use {', '.join(DTYPES)}")
    options = _Options(target, format, dtype, max_shard_size, dict(overrides or {}), runtime)
    convert = partial(_convert, options=options, advance=advance)
    return read_consistently(preset, convert)


def _convert(folder: PresetFolder, options: _Options, advance: Callable[[int, int], None] | None) -> Conversion:
    with tempfile.TemporaryDirectory() as task_folder:
        return _convert_folder(folder, options, advance, Path(task_folder))


def _convert_folder(
    folder: PresetFolder, options: _Options, advance: Callable[[int, int], None] | None, task_folder: Path
) -> Conversion:
    described = _with_other_weights(read_description(folder))
    bind_any(described.backbone, options.runtime)
    preset = described.open()
    description, checkpoint = preset.description, preset.mapped()
    backbone, export, match = _export(preset, options)
    task, export, match = _with_task(preset, backbone, export, match, options, task_folder)
    load_warnings.untidy_preset(description, match.notes)
    load_warnings.unused_tensors(description, match)
    load_warnings.second_checkpoint(description)
    load_warnings.computed_otherwise(description)
    heads = load_warnings.untied_logits(description, checkpoint, match, _WITHOUT_HEAD) if task is None else []
    tensors = export.tensors if advance is None else _counted(export.tensors, advance)
    sizes = [entry.size for entry in export.tensors.layouts.values()]
    certificate = open_certificate(folder) if options.keeps_outputs else None
    certified = certificate is not None and certificate.same_config
    assets = select_assets(folder, options.format, folder.fetch_all, kind=description.files)
    if task is not None and description.format_of_files != options.format:
        assets = assets.without_task()
    with replacing_folder(options.target) as stage:
        fields = formats()[options.format].write(
            replace(export, tensors=tensors, original=assets.original), stage, options.max_shard_size
        )
        assets = assets.copy(stage)
        if export.task is not None:
            write_task(export.task, stage)
        folder.check_all()
        if certificate is not None and certified:
            same_texts = assets.has_tokenizer and (export.task is None or export.task.same_texts)
            carry_certificate(certificate, stage, task is not None, same_texts)
        rows = getattr(backbone.token_embedding, "input_dim", None)
        with_tokenizer = not replaces_tokenizer(options.target, assets.paths, rows)
        keep_user_files(options.target, stage, options.format, with_task=task is None, with_tokenizer=with_tokenizer)
    facts = len(sizes), sum(sizes), certified, tuple(match.outside), assets.outcome(options.target, fields)
    return Conversion(
        str(folder.handle),
        options.target,
        options.format,
        *facts,
        description.not_read,
        tuple(heads),
        description.difference,
        match.notes,
        task,
    )


def _with_task(
    preset: OpenPreset, backbone: Any, export: PresetExport, match: Match, options: _Options, folder: Path
) -> tuple[str | None, PresetExport, Match]:
    """Adds the head of the preset's task, if a plugin can read it and the target's format can hold it.

    Returns:
        The name of the task or None, the export, and the match without the tensors of the head.
    """
    described = preset.description
    uses = describe_uses(described, match.outside, download=True, tokenizer=False)
    found = uses.tasks
    problems = [f"a task of the preset cannot be read, so it was not converted: {problem}" for problem in uses.problems]
    match = replace(match, notes=(*match.notes, *problems))
    if not found:
        return None, export, match
    tensors = TensorViews(match.outside, preset.mapped().view)
    heads = load_warnings.heads_with_own_values(preset.mapped(), match)
    opened = TaskPreset(backbone, described.format_of_files, described.folder, tensors, match.fresh, heads)
    task = export_task(found[0].name, opened, options.format, folder)
    if isinstance(task, str):
        return None, export, replace(match, notes=(*match.notes, task))
    arrays = {
        name: array if options.dtype is None else _cast(array, options.dtype) for name, array in task.tensors.items()
    }
    outside = [name for name in match.outside if name not in task.read]
    return found[0].name, replace(export, task=replace(task, tensors=arrays)), replace(match, outside=outside)


def _cast(array: np.ndarray[Any, Any], dtype: str) -> np.ndarray[Any, Any]:
    return array.astype(numpy_dtype(dtype), copy=False)


def _with_other_weights(description: PresetDescription) -> PresetDescription:
    """Returns a description with the weights that only a conversion reads, such as pickles, if there are no others."""
    kind, names = description.files, description.folder.names
    chosen = None
    if kind is SAFETENSORS and not {kind.weights, kind.index} & names:
        chosen = choose_weights(description.folder)
    if chosen is None:
        return description
    return replace(description, files=chosen[0], notes=(*description.notes, chosen[1]))


def _export(preset: OpenPreset, options: _Options) -> tuple[Any, PresetExport, Match]:
    description, checkpoint = preset.description, preset.mapped()
    backbone_class = class_of(description)
    _check_overrides(backbone_class, options.overrides)
    command = partial(_command, options)
    backbone, weights, match, _ = build_abstract(backbone_class, preset, options.overrides, command)
    match = _without_fresh(preset, match, options.format)
    layouts, arrays = {}, {}
    for name, rule in match.sources.items():
        variable = weights[name]
        stored = checkpoint.entries[rule.tensor].dtype
        wanted = options.dtype if options.dtype and "float" in stored else stored
        layouts[name] = layout_of(name, wanted, tuple(variable.shape))
        arrays[name] = _reader(checkpoint, name, match, tuple(variable.shape), wanted)
    return backbone, PresetExport(description.backbone, plain_config(backbone), Tensors(layouts, arrays)), match


def _check_overrides(backbone_class: Any, overrides: Mapping[str, Any]) -> None:
    """Refuses overrides that the class has not, or that a conversion has not, such as that of the dtype."""
    origin = f"convert of {backbone_class.__name__}"
    refused = sorted(overrides.keys() & BASE_ARGUMENTS)
    if refused:
        remedy = "; --dtype chooses the dtype of the weights" if "dtype" in refused else ""
        raise PresetConfigError(origin, f"--set does not take {', '.join(refused)}", f"Leave it out{remedy}")
    check_overrides(backbone_class, overrides, origin)


def _command(options: _Options, preset: str, overrides: Mapping[str, Any]) -> str:
    """Returns the command that converts a preset with overrides, and with the options that were given."""
    texts = {name: value if isinstance(value, str) else json.dumps(value) for name, value in overrides.items()}
    words = ["vertebra", "convert", preset, "TARGET", *options.words()]
    return shlex.join([*words, *(word for name, text in texts.items() for word in ("--set", f"{name}={text}"))])


def _without_fresh(preset: OpenPreset, match: Match, format: str) -> Match:
    """Returns a match with a note about the weights that the checkpoint lacks.

    Raises:
        WeightsFileError: the checkpoint lacks weights, and presets of the target's format may not lack them.
    """
    if not match.fresh:
        return match
    names = ", ".join(match.fresh)
    optional = {name: _optional(preset.description.backbone, name) for name in formats()}
    if not all(any_match(weight, optional[format]) for weight in match.fresh):
        others = [name for name in formats() if all(any_match(weight, optional[name]) for weight in match.fresh)]
        remedy = "Load it with from_preset, train these weights, and save it"
        if others:
            remedy += f". Or convert it to the {' or '.join(others)} format, in which presets may lack them"
        problem = f"it has no values for {names}, which from_preset would initialise randomly"
        raise WeightsFileError(preset.header.path, problem, remedy)
    return replace(match, notes=(*match.notes, f"it has no values for {names}, and neither has the new preset"))


def _optional(backbone: str, format: str) -> Iterable[str]:
    """Returns globs of the weights of a backbone class that presets of a format may lack."""
    try:
        return translation_for(backbone, format)[1].optional
    except PresetFormatError:  # the native format, or one that the class does not have
        return ()


def _reader(
    checkpoint: Checkpoint, weight: str, match: Match, shape: tuple[int, ...], dtype: str
) -> Callable[[], np.ndarray[Any, Any]]:
    rule, resized = match.sources[weight], match.resized.get(weight)

    def read() -> np.ndarray[Any, Any]:
        checkpoint.release(rule.tensor)  # frees the pages of the tensors that were read before this one
        stored = take(rule, checkpoint.view(rule.tensor), shape) if resized is None else resized
        with np.errstate(over="ignore"):
            converted = stored.astype(numpy_dtype(dtype), copy=False)
        if converted is not stored and np.isinf(converted).sum() > np.isinf(stored).sum():
            problem = f"{weight} has values up to {np.abs(stored).max():.3g}, which {dtype} cannot represent"
            raise WeightsFileError(checkpoint.path, problem, "Choose a dtype with a wider range, such as bfloat16")
        return converted

    return read


def _counted(tensors: Tensors, advance: Callable[[int, int], None]) -> Tensors:
    total = sum(entry.size for entry in tensors.layouts.values())
    done = 0

    def counting(name: str, read: Callable[[], np.ndarray[Any, Any]]) -> Callable[[], np.ndarray[Any, Any]]:
        def counted() -> np.ndarray[Any, Any]:
            nonlocal done
            array = read()
            done += tensors.layouts[name].size
            advance(done, total)
            return array

        return counted

    return replace(tensors, arrays={name: counting(name, read) for name, read in tensors.arrays.items()})
