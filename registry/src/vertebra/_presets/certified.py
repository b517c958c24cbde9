"""Which config a parity certificate was made with; replaying it is another matter, and takes a runtime."""

from __future__ import annotations

import hashlib
from pathlib import Path

from vertebra._presets.folder import CONFIG, PresetFolder
from vertebra._weights.safetensors import open_header

CERTIFICATE = "certificate.safetensors"


def is_certified(folder: PresetFolder) -> bool:
    """Says whether a preset has a certificate, and that was made with its config.

    Raises:
        WeightsFileError: the certificate is damaged.
    """
    if CERTIFICATE not in folder.names:
        return False
    metadata = open_header(folder.fetch(CERTIFICATE)).metadata
    return metadata.get("config") == digest_of_config(folder.fetch(CONFIG))


def digest_of_config(path: Path) -> str:
    """Returns what a certificate calls a config."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
