"""Converting: from one preset folder to another, tensor by tensor; no model with values is ever built."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from vertebra import _runtimes
from vertebra._identity import identity_of
from vertebra._presets import notices
from vertebra._presets.card import CARD, is_generated
from vertebra._presets.certificate import carry_certificate
from vertebra._presets.certified import open_certificate
from vertebra._presets.contents import PresetContents
from vertebra._presets.draft import PresetDraft, plain_config
from vertebra._presets.folder import PresetFolder
from vertebra._presets.formats import FORMATS, read_contents
from vertebra._presets.loading import build_abstract, class_of
from vertebra._presets.reading import of_one_version
from vertebra._presets.saving import check_request, replacing_preset
from vertebra._weights.checkpoint import Checkpoint
from vertebra._weights.layout import take
from vertebra._weights.matching import Match
from vertebra._weights.safetensors import layout_of, numpy_dtype
from vertebra._weights.writing import Tensors
from vertebra.backbone import Backbone
from vertebra.errors import PresetConfigError, WeightsFileError
from vertebra.specs import TensorRule

DTYPES = ("float32", "float16", "bfloat16", "float64")
_ASSETS = ("token", "vocab", "merges", "special_tokens", "preprocessor", "assets/")
"""How the names of files begin that belong to a preset, hold no weights, and mean something else in other formats."""
_TEXTS = ("README", "LICENSE", "NOTICE")
"""How those for people do."""


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
    return of_one_version(preset, convert)


def _convert(
    folder: PresetFolder,
    target: Path,
    format: str,
    dtype: str | None,
    size: float | None,
    advance: Callable[[int, int], None] | None,
) -> Conversion:
    contents = read_contents(folder)
    _runtimes.bind_any()
    checkpoint = contents.open()
    contents = contents.seen(checkpoint.entries)
    draft, found = _draft(contents, checkpoint, dtype)
    notices.second_checkpoint(contents)
    heads = notices.other_logits(contents, checkpoint, found, _WITHOUT_HEAD)
    tensors = draft.tensors if advance is None else _counted(draft.tensors, advance)
    sizes = [entry.size for entry in draft.tensors.layouts.values()]
    certificate = open_certificate(folder) if dtype is None else None
    certified = certificate is not None and certificate.same_config
    with replacing_preset(target) as stage:
        FORMATS[format].write(replace(draft, tensors=tensors), stage, size)
        _copy_assets(contents, stage, format)
        if certificate is not None and certified:
            carry_certificate(certificate, stage)
    facts = len(sizes), sum(sizes), certified, contents.not_read, tuple(heads)
    return Conversion(str(folder.handle), target, format, *facts)


def _draft(contents: PresetContents, checkpoint: Checkpoint, dtype: str | None) -> tuple[PresetDraft, Match]:
    backbone, weights, found, _ = build_abstract(class_of(contents, Backbone), contents, checkpoint, {})
    if found.fresh:
        problem = f"it has no values for {', '.join(found.fresh)}, which from_preset would newly initialise"
        raise WeightsFileError(checkpoint.path, problem, "Load it with from_preset, train them, and save that")
    notices.unused_tensors(contents, found)
    layouts, arrays = {}, {}
    for name, variable in weights.items():
        rule = found.sources[name]
        stored = checkpoint.entries[rule.tensor].dtype
        wanted = dtype if dtype and "float" in stored else stored
        layouts[name] = layout_of(name, wanted, tuple(variable.shape))
        arrays[name] = _reader(checkpoint, name, rule, tuple(variable.shape), wanted)
    return PresetDraft(contents.backbone, plain_config(backbone), Tensors(layouts, arrays)), found


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


def _copy_assets(contents: PresetContents, stage: Path, format: str) -> None:
    """Copies what belongs to the preset beside its weights, where the other format understands the same files."""
    kept = _TEXTS + (_ASSETS if format in ("native", contents.format) else ())
    for name in sorted(name for name in contents.folder.names if name.startswith(kept)):
        path = contents.folder.fetch(name)
        if name == CARD and is_generated(path):
            continue  # it speaks of another format
        (stage / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, stage / name)
        contents.folder.check_read(name, identity_of(path.stat()))
