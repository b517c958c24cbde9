"""Publishes a preset or adapter: checks it, adds a model card if it has none, and uploads it."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import metadata
from pathlib import Path

from vertebra import _arguments
from vertebra._configuration.settings import settings
from vertebra._discovery import runtimes
from vertebra._discovery.backbone_classes import bind_any
from vertebra._discovery.catalog import BACKBONES, catalog
from vertebra._formats.description import OpenPreset
from vertebra._formats.registry import read_description
from vertebra._lora.files.adapter_files import PEFT, find_files, holds_adapter
from vertebra._lora.files.describe import describe_files
from vertebra._presets import load_warnings
from vertebra._presets.certificate_header import open_certificate
from vertebra._presets.inspect import describe
from vertebra._presets.model_card import CARD, Card, adapter_card, is_generated, is_path, model_card
from vertebra._resolve.candidates import is_plain_path, source_of, upload_target
from vertebra._resolve.consistent_read import read_consistently
from vertebra._resolve.filenames import impossible_on_some, is_hidden
from vertebra._resolve.preset_folder import PresetFolder
from vertebra._resolve.signatures import sign
from vertebra._resolve.span_attributes import attributes_of_push
from vertebra._system.links import targets_outside
from vertebra._system.spans import annotate, public_handle, traced
from vertebra._weights.match import any_match
from vertebra.errors import (
    PresetAccessError,
    PresetChangedError,
    PresetConfigError,
    PresetNotFoundError,
    PresetUploadError,
    RuntimeChoiceError,
    SourceUnavailableError,
    VertebraError,
    WeightsMismatchError,
)
from vertebra.file_names import ADAPTER_CONFIG, SIGNATURE
from vertebra.handles import PresetHandle
from vertebra.interfaces import PresetSource


@dataclass(frozen=True, slots=True)
class SigningKey:
    """The key that signs a preset when it is published."""

    path: Path
    """The file with the private key."""
    certificates: Sequence[Path] = ()
    """Files with its certificate, and with those between it and the root."""


@dataclass(frozen=True, slots=True)
class PublishResult:
    """The result of publishing a preset or adapter."""

    handle: PresetHandle
    """The handle of the published preset; a pinned handle if the source has revisions."""
    files: tuple[str, ...]
    """Names of the published files."""
    size: int
    """Bytes of these files."""
    notes: tuple[str, ...]
    """Messages for the author, such as missing or unchecked items."""


@traced("push", attributes_of_push)
def upload(
    uri: str | Path,
    preset: str | Path,
    replace: bool = False,
    message: str | None = None,
    any_runtime: bool = False,
    signing: SigningKey | None = None,
) -> PublishResult:
    """Checks and publishes a preset; `vertebra.upload_preset` documents it.

    Args:
        uri: The handle or folder to publish to.
        preset: A folder, or any other preset or adapter that can be loaded.
        replace: Whether another preset at `uri` may be replaced.
        message: The commit message or version note, for services that have one.
        any_runtime: Whether to check the weights with any installed runtime, if none was chosen.
        signing: The key that signs the preset, or None to publish it as it is.
    """
    preset = _arguments.preset("upload_preset", preset, "preset_dir")
    replace = _arguments.flag("upload_preset", "replace", replace)
    message = None if message in (None, "") else _arguments.text("upload_preset", "message", message)
    handle = upload_target(_arguments.preset("upload_preset", uri, "uri"))
    source = source_of(handle, str(uri))
    if settings().offline and source.is_remote:
        raise PresetAccessError(handle, "VERTEBRA_OFFLINE is set", "Unset it to publish, or publish to a local folder")
    if type(source).upload is PresetSource.upload:
        source.upload(handle, {}, replace, "")  # raises: the source has no uploads, so nothing needs to be checked
    plain = isinstance(preset, Path) or is_plain_path(preset)
    annotate(preset=public_handle(handle), signed=signing is not None)
    check = partial(_check, any_runtime=any_runtime)
    # A folder of the user is neither locked nor signed yet.
    checked = read_consistently(preset, check, locked=False if plain else None, keys=() if plain else None)
    files, notes = dict(checked.files), list(checked.notes)
    with tempfile.TemporaryDirectory(prefix="vertebra-card-") as folder:
        if CARD not in files or is_generated(files[CARD]):
            files[CARD] = Path(folder, CARD)
            files[CARD].write_text(_card(handle, source, checked), encoding="utf-8")
            advice = "add the licence, training data and intended use"
            notes.append(f"{CARD} was generated, because the preset has none of its own: {advice}")
        if signing is not None:
            files[SIGNATURE] = Path(folder, SIGNATURE)
            files[SIGNATURE].write_bytes(_signature(handle, files, signing))
        elif SIGNATURE in files and files.get(CARD) != checked.files.get(CARD):
            notes.append(f"its {SIGNATURE} does not cover the new {CARD}, so it is not valid: sign the preset again")
        elif SIGNATURE in files and plain:
            notes.append(
                f"its {SIGNATURE} is not valid if a file has changed since it was made: --sign makes a new one"
            )
        message = message or f"Upload a {checked.subject} with vertebra {metadata.version('vertebra')}"
        size = sum(path.stat().st_size for path in files.values())
        pinned = _publish(source, handle, files, replace, message, checked.folder)
    return PublishResult(pinned, tuple(sorted(files)), size, tuple(notes))


@dataclass(frozen=True, slots=True)
class _Checked:
    """A preset or adapter that passed the checks."""

    folder: PresetFolder
    subject: str
    """The class of a backbone, or `LoRA adapter`."""
    files: dict[str, Path]
    notes: list[str]
    card: Card


def _check(folder: PresetFolder, any_runtime: bool) -> _Checked:
    folder.require_complete()
    names = [name for name in sorted(file.name for file in folder.files) if not is_hidden(name)]
    _check_portable(folder, names)
    check = _check_adapter if holds_adapter(folder) else partial(_check_preset, any_runtime=any_runtime)
    subject, notes, card = check(folder)
    files = dict(zip(names, folder.fetch_all(names), strict=True))
    _check_links(folder, files)
    return _Checked(folder, subject, files, [*_hidden_notes(folder), *notes], card)


def _check_adapter(folder: PresetFolder) -> tuple[str, list[str], Card]:
    facts = describe_files(find_files(folder))
    base = facts["base_model"]
    notes = []
    if facts["form"] == PEFT and (base is None or _is_local(base)):
        named = "names no base model" if base is None else f"names its base model by a path, {base!r}"
        cure = "write a repository or handle of the base as its base_model_name_or_path, and push again with --replace"
        notes.append(f"{ADAPTER_CONFIG} {named}: users cannot tell which one it needs; {cure}")
    return "LoRA adapter", notes, partial(adapter_card, facts)


def _is_local(base: str) -> bool:
    """Returns whether the name of a base model is a path, and not a handle that is valid on other machines, too."""
    return base.startswith("file://") or (is_path(base) and "://" not in base)


def _check_preset(folder: PresetFolder, any_runtime: bool) -> tuple[str, list[str], Card]:
    opened = read_description(folder).open_headers()
    description = opened.description
    notes = [*opened.backbone_tensors().notes, *_check_weights(opened, any_runtime)]
    if description.not_read is not None:
        notes.append(load_warnings.second_checkpoint_text(description))
    if description.difference is not None:
        notes.append(load_warnings.computed_otherwise_text(description))
    certificate = open_certificate(folder)
    if certificate is None:
        notes.append("it has no parity certificate: save it again with save_to_preset to write one")
    elif not certificate.same_config:
        notes.append("its parity certificate was made with another config.json and is not valid: save the preset again")
    return description.backbone, notes, partial(model_card, describe(opened))


def _publish(
    source: PresetSource,
    handle: PresetHandle,
    files: Mapping[str, Path],
    replace: bool,
    message: str,
    folder: PresetFolder,
) -> PresetHandle:
    """Publishes the files of a preset.

    Raises:
        PresetChangedError: the preset was replaced meanwhile; its `__notes__` say if files were uploaded before that.
    """
    try:
        pinned = source.upload(handle, files, replace, message)
    except SourceUnavailableError as error:  # its message is about fetching
        raise PresetUploadError(handle, error.problem) from error
    except (VertebraError, OSError):
        folder.check_all()  # raises a clearer error if a file is gone
        raise
    try:
        folder.check_all()
    except PresetChangedError as error:
        error.add_note(f"The upload to {pinned} may mix two versions of the preset: upload it again and replace it")
        raise
    return pinned


def _signature(handle: PresetHandle, files: Mapping[str, Path], signing: SigningKey) -> bytes:
    name = handle.path.rstrip("/").rpartition("/")[2] or handle.scheme
    others = {file: path for file, path in files.items() if file != SIGNATURE}
    return sign(others, name, signing.path, signing.certificates)


def _card(handle: PresetHandle, source: PresetSource, checked: _Checked) -> str:
    listed = checked.folder.files
    sizes = {file.name: file.size for file in listed if not is_hidden(file.name) and file.name != CARD}
    name = handle.path.rstrip("/").rpartition("/")[2]
    # An absolute path would be meaningless on other machines.
    where = str(handle.without_revision()) if source.is_remote else f"./{name}"
    return checked.card(name, where, sizes)


def _check_portable(folder: PresetFolder, names: Sequence[str]) -> None:
    """Refuses files that are left out of the preset, and names that are not possible on every system.

    Raises:
        PresetConfigError: the preset has such a file.
    """
    left_out = {name: reason for name, reason in folder.left_out.items() if not is_hidden(name)}
    for name, reason in (left_out | impossible_on_some(names)).items():
        problem = f"it has a file named {name!r}, which {reason}, so it cannot be published"
        raise PresetConfigError(f"Preset {str(folder.handle)!r}", problem, "Rename or remove the file")


def _check_links(folder: PresetFolder, files: Mapping[str, Path]) -> None:
    """Refuses links that lead out of a local preset: another user may have made a link to a private file there.

    Raises:
        PresetNotFoundError: a file is such a link.
    """
    for name, target in ({} if folder.source.is_remote else targets_outside(files)).items():
        problem = f"{name} is a link that leads out of the folder, to {target}, and such links are not published"
        remedy = "Copy the folder with files instead of links (cp -RL FOLDER COPY), check the files, and push the copy"
        raise PresetNotFoundError(folder.handle, problem, remedy=remedy)


def _hidden_notes(folder: PresetFolder) -> list[str]:
    hidden = sorted(filter(is_hidden, folder.names))
    return [f"hidden files are not published: {', '.join(hidden)}"] if hidden else []


def _check_weights(preset: OpenPreset, any_runtime: bool) -> list[str]:
    """Compares the weights with the architecture; returns notes on the checks that could not be made.

    Raises:
        WeightsMismatchError: a tensor is missing, is not needed, or has a wrong shape.
        PresetConfigError: the config has an argument that the class does not take.
    """
    name = preset.description.backbone
    if name not in catalog(BACKBONES):
        return [f"no installed plugin provides {name}, so the weights were not checked; users need one to load it"]
    try:
        bind_any(name) if any_runtime else runtimes.bind()
    except RuntimeChoiceError:
        return [*_check_names(preset), "no runtime was chosen, so the shapes of the weights were not checked"]
    _match(preset)
    return []


def _check_names(preset: OpenPreset) -> list[str]:
    """Compares the tensors' names with those of the translation, if the format has one."""
    tensors = preset.backbone_tensors()
    translation = preset.description.translation
    if translation is None:
        return []
    absent = [weight for weight, rule in tensors.rules.items() if rule.tensor not in preset.entries]
    missing = [weight for weight in absent if not any_match(weight, translation.optional)]
    used = {rule.tensor for rule in tensors.rules.values()}
    unused = [name for name in tensors.own if name not in used]
    if missing or unused:
        raise WeightsMismatchError(preset.description.folder.handle, missing, unused, cause=tensors.cause)
    return []


def _match(preset: OpenPreset) -> None:
    from vertebra._presets.backbones.build import build_abstract, class_of

    build_abstract(class_of(preset.description), preset, {})
