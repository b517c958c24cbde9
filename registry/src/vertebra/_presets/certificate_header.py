"""Opening a parity certificate, checking its config and copying it; unlike replaying it, this needs no runtime."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from vertebra._resolve.preset_folder import PresetFolder
from vertebra._system.file_identity import identity_of
from vertebra._system.strict_json import limited_bytes
from vertebra._weights.safetensors.format import MappedTensors
from vertebra._weights.safetensors.writing import write_tensors
from vertebra.errors import CertificateError
from vertebra.file_names import CERTIFICATE, CONFIG
from vertebra.handles import PresetHandle

TEXTS, TASK = "texts", "task"
"""Keys of the metadata: the texts of the input, as JSON, and the task that computed outputs for them."""
TASK_OUTPUTS = "task/"
"""Prefix of the names of these outputs."""


@dataclass(frozen=True, slots=True)
class Certificate:
    """A preset's certificate, mapped: it stays readable and unchanged if the preset is replaced."""

    handle: PresetHandle
    tensors: MappedTensors
    same_config: bool
    """Whether it was made with the preset's present config."""


def open_certificate(folder: PresetFolder) -> Certificate | None:
    """Maps a preset's certificate; returns None if the preset has none.

    Raises:
        WeightsFileError: the certificate is damaged.
        PresetChangedError: the certificate or the config was replaced since the files were listed.
    """
    if CERTIFICATE not in folder.names:
        return None
    tensors = MappedTensors(folder.fetch(CERTIFICATE))
    folder.check_read(CERTIFICATE, tensors.header.identity)
    config = folder.fetch(CONFIG)
    digest = digest_of_config(config)
    folder.check_read(CONFIG, identity_of(config.stat()))
    return Certificate(folder.handle, tensors, tensors.header.metadata.get("config") == digest)


def require_certificate(folder: PresetFolder) -> Certificate:
    """Maps a preset's certificate.

    Raises:
        CertificateError: the preset has none.
        WeightsFileError: the certificate is damaged.
        PresetChangedError: the certificate or the config was replaced since the files were listed.
    """
    certificate = open_certificate(folder)
    if certificate is None:
        raise not_certified(folder)
    return certificate


def carry_certificate(certificate: Certificate, stage: Path, task: bool, tokenizer: bool) -> None:
    """Writes a preset's certificate to a folder that has the same weights and an equivalent config.

    Args:
        certificate: The certificate.
        stage: The folder.
        task: Whether the folder has the task of the preset; without it, the outputs of the task are left out.
        tokenizer: Whether the folder has the tokenizer of the preset; without it, the texts are left out, too.
    """
    file = certificate.tensors
    left_out = () if tokenizer and task else (TASK,) if tokenizer else (TASK, TEXTS)
    entries = {
        name: entry
        for name, entry in file.header.entries.items()
        if TASK not in left_out or not name.startswith(TASK_OUTPUTS)
    }
    arrays = {name: partial(file.view, name) for name in entries}
    facts = file.header.metadata | {"config": digest_of_config(stage / CONFIG)}
    write_tensors(
        stage / CERTIFICATE, arrays, entries, {key: text for key, text in facts.items() if key not in left_out}
    )


def not_certified(folder: PresetFolder) -> CertificateError:
    """Returns the error for a preset without a certificate."""
    return CertificateError(folder.handle, "it has no certificate", "Save it again with save_to_preset to write one")


def digest_of_config(path: Path) -> str:
    """Returns the SHA-256 of a config, which certificates record."""
    return hashlib.sha256(limited_bytes(path)).hexdigest()
