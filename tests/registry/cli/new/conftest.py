"""The projects of all kinds, as `vertebra new` writes them."""

from pathlib import Path

import pytest

from vertebra.cli import main

PRESET = Path(__file__).parents[3] / "golden" / "bert" / "transformers"
PROJECTS = {
    "zoo-llama": ("architecture",),
    "zoo-names": ("command",),
    "zoo-configs": ("format",),
    "zoo-rules": ("policy",),
    "zoo-presets": ("preset-pack", "--preset", f"zoo_tiny={PRESET}"),
    "zoo-numpy": ("runtime",),
    "zoo-web": ("source",),
    "zoo-disk": ("source", "--local"),
    "zoo-lora": ("strategy",),
    "zoo-score": ("task",),
    "zoo-letters": ("tokenizer",),
}
"""Kind and options of each project, by the name of its distribution."""


@pytest.fixture(scope="session")
def projects(tmp_path_factory):
    """The folder with one project of each kind, and of each variant."""
    folder = tmp_path_factory.mktemp("projects")
    for name, (kind, *options) in PROJECTS.items():
        assert main(["new", kind, name, "--output", str(folder / name), *options]) == 0
    return folder
