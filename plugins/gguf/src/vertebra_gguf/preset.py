"""A GGUF file as a preset of transformers: its config, the names of its tensors, and the files of its tokenizer."""

from __future__ import annotations

import json
from pathlib import Path

from vertebra import FileHeader, FileTensor
from vertebra.errors import WeightsFileError
from vertebra_gguf.models.architecture import Architecture, Source
from vertebra_gguf.models.names import translated
from vertebra_gguf.models.table import architecture_of
from vertebra_gguf.reading.container import READ_WITH_HEADER, StoredTensor, read_container
from vertebra_gguf.tokenizers.files import tokenizer_files

CONFIG = "config.json"
_MOST_NAMES = 5


def read_preset(path: Path, data: memoryview) -> FileHeader:
    """Reads the header of a file.

    Raises:
        WeightsFileError: the file is unsound.
        PresetConfigError: the model in it cannot be read.
    """
    source = Source(path, read_container(path, data), data)
    _refuse_others(source)
    _refuse_parts(source)
    architecture = architecture_of(source)
    tensors = _tensors(source, architecture)
    files, notes = tokenizer_files(source)
    config = json.dumps(architecture.config(source), indent=2).encode()
    return FileHeader({CONFIG: config, **files}, tensors, notes)


def _refuse_others(source: Source) -> None:
    """Refuses files that are not whole models, such as adapters, and the part of a model that reads images."""
    fields = source.container.fields
    kind = fields.text("general.type", "model")
    if kind != "model":
        raise fields.refusal("general.type", f"is {kind!r}, and only models are read", "Name the file of the model")


def _refuse_parts(source: Source) -> None:
    fields = source.container.fields
    parts = fields.count("split.count", 1)
    if parts > 1:
        part = fields.count("split.no", 0) + 1
        problem = f"it is part {part} of {parts} of a model"
        raise WeightsFileError(source.path, problem, "Join the parts with: llama-gguf-split --merge FIRST JOINED")


def _tensors(source: Source, architecture: Architecture) -> dict[str, FileTensor]:
    """Returns the tensors by transformers' names.

    Raises:
        WeightsFileError: the file has tensors that the architecture has not.
    """
    tensors: dict[str, FileTensor] = {}
    unknown = []
    for name, one in source.tensors.items():
        theirs = translated(name, architecture.names)
        if theirs is not None:
            tensors[theirs] = _described(source, architecture, one, theirs)
        elif name not in READ_WITH_HEADER:
            unknown.append(name)
    if unknown:
        shown = ", ".join(unknown[:_MOST_NAMES]) + (
            f" and {len(unknown) - _MOST_NAMES:,} more" if unknown[_MOST_NAMES:] else ""
        )
        problem = f"it has tensors that {source.name} does not have here: {shown}"
        raise WeightsFileError(source.path, problem, "Use the model's safetensors files")
    return tensors


def _described(source: Source, architecture: Architecture, one: StoredTensor, name: str) -> FileTensor:
    layout, encoding = architecture.layout(source, one.name), one.encoding
    as_it_is = layout is None and encoding.is_plain
    shape = one.shape if layout is None else layout.stored(one.shape)
    dtype = "float32" if layout is not None and layout.shift else encoding.dtype
    return FileTensor(name, dtype, shape, one.start, one.size, None if as_it_is else (encoding.name, layout))
