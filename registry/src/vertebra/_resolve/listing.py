"""Which of the listed files of a preset are used: sound ones, and of several whole presets the one that was named."""

from __future__ import annotations

from collections.abc import Sequence

from vertebra._discovery.catalog import FORMATS, Entry, catalog
from vertebra._resolve.filenames import shown, unsafe_names
from vertebra.errors import PresetConfigError, PresetNotFoundError, close_names
from vertebra.handles import PresetHandle
from vertebra.interfaces import FileFormat
from vertebra.specs import PresetFile
from vertebra.specs.presets import MOST_FILES


def unusable(handle: PresetHandle, files: Sequence[PresetFile]) -> dict[str, str]:
    """Returns the reason for each file that must not be used, by its name as it is shown.

    Raises:
        PresetConfigError: there are too many files.
    """
    if len(files) > MOST_FILES:
        problem = f"it lists {len(files):,} files; at most {MOST_FILES:,} are allowed"
        raise PresetConfigError(f"Preset {str(handle)!r}", problem, "Remove files, or use another preset")
    reasons = unsafe_names([file.name for file in files])
    reasons |= {file.name: file.problem for file in files if file.problem is not None}
    return {shown(name): reasons[name] for name in sorted(reasons)}


# === Files that are whole presets ===


def file_formats() -> list[Entry[FileFormat]]:
    """Returns the formats of plugins whose presets are single files."""
    return [entry for entry in catalog(FORMATS) if isinstance(entry.value, FileFormat)]


def named_file(handle: PresetHandle) -> tuple[PresetHandle, str] | None:
    """Returns the handle of the folder and the name of the file, if a handle may name a file that is a whole preset."""
    folder, _, name = handle.path.rpartition("/")
    if not folder or not name.lower().endswith(tuple(entry.value.suffix for entry in file_formats())):
        return None
    return PresetHandle(handle.scheme, folder, handle.revision), name


def only(name: str, files: Sequence[PresetFile], handle: PresetHandle) -> list[PresetFile]:
    """Returns the files of a preset without those that are whole presets, but for the one of a name.

    Raises:
        PresetNotFoundError: there is no file of this name.
    """
    suffixes = tuple(entry.value.suffix for entry in file_formats())
    others = [file.name for file in files if file.name != name and file.name.lower().endswith(suffixes)]
    if len(others) == sum(file.name.lower().endswith(suffixes) for file in files):
        likely = [str(PresetHandle(handle.scheme, f"{handle.path}/{one}")) for one in close_names(name, others)]
        raise PresetNotFoundError(handle, f"it has no file {name!r}", likely)
    return [file for file in files if file.name not in others]
