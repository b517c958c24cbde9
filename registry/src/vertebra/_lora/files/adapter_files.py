"""The files of an adapter, wherever they are: found in the folder of a path or handle, and read at one moment."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from vertebra import _arguments
from vertebra._resolve.candidates import is_plain_path
from vertebra._resolve.consistent_read import read_consistently
from vertebra._resolve.header_stub import LengthOf
from vertebra._resolve.preset_folder import PresetFolder
from vertebra._resolve.subfolders import named_subfolders
from vertebra._system.file_identity import identity_at
from vertebra._system.user_paths import full_path
from vertebra._weights.pickles.mapping import map_pickle, notes_of
from vertebra._weights.safetensors.format import MappedTensors
from vertebra._weights.tensor_entry import Header
from vertebra.errors import (
    AdapterNotFoundError,
    LoraConfigError,
    PresetNotFoundError,
    WeightsFileError,
)
from vertebra.file_names import (
    ADAPTER_CONFIG,
    ADAPTER_PICKLE,
    ADAPTER_SUFFIXES,
    ADAPTER_TENSORS,
    CONFIG,
    PICKLE_SUFFIXES,
    adapter_files,
    adapter_folders,
)

T = TypeVar("T")
SHORT, PEFT, KERASHUB = "short", "peft", "kerashub"
"""The formats of adapters."""
_CONVERT_PICKLE = "It is a pickle, which only a conversion reads. Run: vertebra lora convert {} TARGET, and load TARGET"


@dataclass(frozen=True, slots=True)
class AdapterFiles:
    """The files of one adapter."""

    folder: PresetFolder
    format: str
    names: tuple[str, ...]
    """Config and tensors of PEFT's format, or the only file of another."""

    @property
    def is_pickled(self) -> bool:
        """Whether the tensors are in a pickle."""
        return self.names[-1] == ADAPTER_PICKLE

    @property
    def source(self) -> str:
        """The path or pinned handle, for messages and receipts."""
        requested = self.folder.requested
        return str(full_path(requested)) if is_plain_path(requested) else str(self.folder.handle)

    def fetch(self) -> list[Path]:
        """Returns the local paths of the files."""
        return self.folder.fetch_all(self.names)

    def fetch_headers(self, length_of: LengthOf) -> list[Path]:
        """Returns the paths of the files; the last one may have its header only, if it is not on this machine."""
        *whole, last = self.names
        return [*self.folder.fetch_all(whole), *self.folder.fetch_headers([last], length_of)]

    def map_tensors(self, path: Path) -> MappedTensors:
        """Maps the tensors of PEFT's format or of the short form; a child process reads those of a pickle.

        Args:
            path: The local path of the last of the files.

        Raises:
            WeightsFileError: the file is corrupt, or a pickle that holds more than tensors and plain values.
        """
        return map_pickle(path) if self.is_pickled else MappedTensors(path)

    def pickle_notes(self, header: Header) -> list[str]:
        """Returns notes on the pickle from which mapped tensors are; none if they are from another file."""
        if not self.is_pickled:
            return []
        return [f"its tensors are from {ADAPTER_PICKLE}, a pickle", *notes_of(header.metadata)]

    def check_read(self, paths: Sequence[Path]) -> None:
        """Compares the files with their listing, after they were read.

        Raises:
            PresetChangedError: one of them was replaced or written to.
        """
        for name, path in zip(self.names, paths, strict=True):
            self.folder.check_read(name, identity_at(path))


def read_files(
    adapter: str | Path, read: Callable[[AdapterFiles], T], locked: bool | None = None, pickles: bool = False
) -> T:
    """Opens an adapter and reads its files, which are all of one version.

    Args:
        adapter: A path or handle.
        read: Reads the files and compares them with `AdapterFiles.check_read`; it may be called several times.
        locked: Whether the adapter must match the lockfile; None means as in the settings.
        pickles: Whether the tensors of PEFT's format may be in a pickle.

    Raises:
        AdapterNotFoundError: there is no adapter at the path or handle.
        PresetError: its source, the lockfile, a policy or the cache refuses or fails.
    """
    if not adapter:  # an empty text is neither
        _arguments.path("load_lora_weights", "filepath", adapter)
    adapter = _arguments.preset("load_lora_weights", adapter, "filepath")
    try:
        return read_consistently(adapter, lambda folder: read(find_files(folder, pickles)), locked)
    except PresetNotFoundError as error:
        raise AdapterNotFoundError(adapter, error.problem, error.suggestions) from error


def holds_adapter(folder: PresetFolder) -> bool:
    """Returns whether a folder holds an adapter, or several, and no preset."""
    adapters = ADAPTER_CONFIG in folder.names or adapter_files(folder.names)
    return CONFIG not in folder.names and bool(adapters)


def find_files(folder: PresetFolder, pickles: bool = False) -> AdapterFiles:
    """Finds the files of the adapter in a folder.

    Args:
        folder: The folder.
        pickles: Whether the tensors of PEFT's format may be in a pickle; those of safetensors come first.

    Raises:
        AdapterNotFoundError: the folder holds no adapter, or several.
        LoraConfigError: PEFT's config is missing.
        WeightsFileError: PEFT's tensors are missing.
        OfflineError: the file list is incomplete, so that missing files may exist.
    """
    try:
        return _find(folder, pickles)
    except (AdapterNotFoundError, LoraConfigError, WeightsFileError):
        folder.require_complete()
        raise


def _find(folder: PresetFolder, pickles: bool) -> AdapterFiles:
    names = folder.names
    if folder.is_file:
        _check_file(folder, pickles)
    elif _is_peft(names):
        is_pickled = pickles and ADAPTER_TENSORS not in names and ADAPTER_PICKLE in names
        files = AdapterFiles(folder, PEFT, (ADAPTER_CONFIG, ADAPTER_PICKLE if is_pickled else ADAPTER_TENSORS))
        _check_complete(files)
        return files
    found = list(names) if folder.is_file else adapter_files(names)
    if len(found) == 1 and CONFIG not in names:
        return AdapterFiles(folder, KERASHUB if found[0].endswith(".h5") else SHORT, (found[0],))
    raise AdapterNotFoundError(folder.requested, *_why_none(folder, found))


def _is_peft(names: Collection[str]) -> bool:
    """Returns whether files are those of an adapter in PEFT's format; some may be missing."""
    is_pickle_alone = ADAPTER_PICKLE in names and CONFIG not in names and not adapter_files(names)
    return ADAPTER_CONFIG in names or ADAPTER_TENSORS in names or is_pickle_alone


def _check_file(folder: PresetFolder, pickles: bool) -> None:
    """Raises an error for a path that leads to a file that is no adapter by itself, or a pickle."""
    (name,) = folder.names
    if name in (ADAPTER_CONFIG, ADAPTER_PICKLE):
        problem = "it is one file of an adapter in PEFT's format: pass the folder"
        if name == ADAPTER_PICKLE and not pickles:
            problem += ", to vertebra lora convert, which alone reads such a pickle"
        raise AdapterNotFoundError(folder.requested, problem, [str(Path(folder.requested).parent)])
    if name.lower().endswith(PICKLE_SUFFIXES):
        remedy = "Save the adapter with PEFT's save_pretrained, and pass the folder"
        raise WeightsFileError(folder.requested, "it is a pickle by its name, which is not opened", remedy)


def _check_complete(files: AdapterFiles) -> None:
    """Raises an error that names the missing file of an adapter in PEFT's format."""
    config, tensors = (f"{files.source}/{name}" for name in files.names)
    if ADAPTER_CONFIG not in files.folder.names:
        found = ADAPTER_TENSORS if ADAPTER_TENSORS in files.folder.names else ADAPTER_PICKLE
        expected = f"PEFT's {ADAPTER_CONFIG} next to {found}"
        raise LoraConfigError(config, "the file", ..., expected, "Add the file")
    if files.names[-1] in files.folder.names:
        return
    if ADAPTER_PICKLE in files.folder.names:
        problem = f"it is missing; the adapter has {ADAPTER_PICKLE} instead"
        raise WeightsFileError(tensors, problem, _CONVERT_PICKLE.format(files.folder.requested))
    raise WeightsFileError(tensors, "it is missing", "Copy the whole folder of the adapter")


def _why_none(folder: PresetFolder, found: Sequence[str]) -> tuple[str, Sequence[str]]:
    """Returns why a folder is not an adapter, and suggestions."""
    if CONFIG in folder.names:
        return "it is a preset, a whole model, and not an adapter: load it with from_preset", ()
    inside = adapter_folders(folder.names)
    if inside:
        words, handles = named_subfolders(folder, "adapters", inside)
        return words, [handle.path if is_plain_path(folder.requested) else str(handle) for handle in handles]
    if found:
        remedy = "name the file, or put each into a folder of its own"
        return f"it has several files that may be one: {', '.join(found)}; {remedy}", ()
    return f"it has neither {ADAPTER_CONFIG} nor a single file that ends with {' or '.join(ADAPTER_SUFFIXES)}", ()
