"""Converting: from one preset folder to another, tensor by tensor; no model with values is ever built."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from vertebra._discovery import runtimes
from vertebra._formats.description import OpenPreset
from vertebra._formats.export import PresetExport, plain_config
from vertebra._formats.registry import FORMATS, read_description
from vertebra._presets import load_warnings
from vertebra._presets.assets import CarriedAssets, select_assets
from vertebra._presets.certificate import carry_certificate
from vertebra._presets.certificate_header import open_certificate
from vertebra._presets.load import build_abstract, class_of
from vertebra._presets.replace_folder import carry_others
from vertebra._presets.save import check_request
from vertebra._resolve.consistent_read import read_consistently
from vertebra._resolve.preset_folder import PresetFolder
from vertebra._system.atomic_save import replacing_folder
from vertebra._weights.checkpoint import Checkpoint
from vertebra._weights.match import Match
from vertebra._weights.tensor_entry import layout_of, numpy_dtype
from vertebra._weights.tensor_layout import take
from vertebra._weights.writing import Tensors
from vertebra.errors import PresetConfigError, WeightsFileError
from vertebra.specs import TensorRule

DTYPES = ("float32", "float16", "bfloat16", "float64")


_WITHOUT_HEAD = "; the new preset has no head, and a reader that ties one to the token table computes other logits"


@dataclass(frozen=True, slots=True)
class Conversion:
    """What was converted."""

    source: str
    target: Path
    format: str
    tensors: int
    """Weights that were written."""
    size: int
    """Their bytes."""
    certificate: bool
    """Whether the source's parity certificate holds for the target, too, and went with it."""
    unused: tuple[str, ...]
    """Tensors of the source that are not the backbone's, such as those of a head, and were not written."""
    assets: CarriedAssets
    """Which of the source's other files, such as a tokenizer's, were carried, and which were left out."""
    not_read: str | None = None
    """The index of a second checkpoint of the source, whose shards were not read, or None if there is just one."""
    untied_heads: tuple[str, ...] = ()
    """What gives the source's model other logits than its token table: heads, or a field of its config."""


def convert_preset(
    preset: str | Path,
    target_dir: str | Path,
    format: str = "native",
    dtype: str | None = None,
    max_shard_size: float | None = 10,
    advance: Callable[[int, int], None] | None = None,
) -> Conversion:
    """Writes a preset again, in another format or dtype; memory holds about one tensor at a time.

    Every other file of the preset, such as a tokenizer's, is carried along or named in the result.

    Args:
        preset: What `from_preset` takes.
        target_dir: The folder, which appears complete or not at all.
        format: The format to write.
        dtype: Dtype of the floats, or None to keep each as it is stored.
        max_shard_size: Most gigabytes (10⁹ bytes) in one weights file, or None for a single file.
        advance: Told the bytes that were written so far, and all there are; None if nobody asks.

    Raises:
        PresetError: as `from_preset` and `save_to_preset` do.
    """
    target = check_request(target_dir, format, max_shard_size)
    if dtype not in (None, *DTYPES):
        raise PresetConfigError("convert", f"dtype={dtype!r} is not a dtype of floats", f"Use {', '.join(DTYPES)}")
    convert = partial(_convert, target=target, format=format, dtype=dtype, size=max_shard_size, advance=advance)
    return read_consistently(preset, convert)


def _convert(
    folder: PresetFolder,
    target: Path,
    format: str,
    dtype: str | None,
    size: float | None,
    advance: Callable[[int, int], None] | None,
) -> Conversion:
    described = read_description(folder)
    runtimes.bind_any()
    preset = described.open()
    contents, checkpoint = preset.description, preset.mapped()
    export, found = _draft(preset, dtype)
    load_warnings.second_checkpoint(contents)
    heads = load_warnings.untied_logits(contents, checkpoint, found, _WITHOUT_HEAD)
    tensors = export.tensors if advance is None else _counted(export.tensors, advance)
    sizes = [entry.size for entry in export.tensors.layouts.values()]
    certificate = open_certificate(folder) if dtype is None else None
    certified = certificate is not None and certificate.same_config
    assets = select_assets(folder, format, folder.fetch_all)
    with replacing_folder(target) as stage:
        fields = FORMATS[format].write(replace(export, tensors=tensors, original=assets.original), stage, size)
        assets = assets.copy(stage)
        folder.check_all()
        if certificate is not None and certified:
            carry_certificate(certificate, stage)
        carry_others(target, stage, format)
    facts = len(sizes), sum(sizes), certified, tuple(found.outside), assets.outcome(target, fields)
    return Conversion(str(folder.handle), target, format, *facts, contents.not_read, tuple(heads))


def _draft(preset: OpenPreset, dtype: str | None) -> tuple[PresetExport, Match]:
    contents, checkpoint = preset.description, preset.mapped()
    backbone, weights, found, _ = build_abstract(class_of(contents), preset, {})
    if found.fresh:
        problem = f"it has no values for {', '.join(found.fresh)}, which from_preset would newly initialise"
        raise WeightsFileError(checkpoint.path, problem, "Load it with from_preset, train them, and save that")
    load_warnings.unused_tensors(contents, found)
    layouts, arrays = {}, {}
    for name, variable in weights.items():
        rule = found.sources[name]
        stored = checkpoint.entries[rule.tensor].dtype
        wanted = dtype if dtype and "float" in stored else stored
        layouts[name] = layout_of(name, wanted, tuple(variable.shape))
        arrays[name] = _reader(checkpoint, name, rule, tuple(variable.shape), wanted)
    return PresetExport(contents.backbone, plain_config(backbone), Tensors(layouts, arrays)), found


def _reader(
    checkpoint: Checkpoint, weight: str, rule: TensorRule, shape: tuple[int, ...], dtype: str
) -> Callable[[], np.ndarray[Any, Any]]:
    def read() -> np.ndarray[Any, Any]:
        checkpoint.release(rule.tensor)  # what was read before this tensor
        stored = take(rule, checkpoint.view(rule.tensor), shape)
        with np.errstate(over="ignore"):
            converted = stored.astype(numpy_dtype(dtype), copy=False)
        if converted is not stored and np.isinf(converted).sum() > np.isinf(stored).sum():
            problem = f"{weight} holds numbers up to {np.abs(stored).max():.3g}, which {dtype} cannot hold"
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
