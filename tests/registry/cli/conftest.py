"""A preset that is written without a framework, and a terminal of any width."""

import io
import json
import sys
from pathlib import Path

import numpy as np
import pytest

from vertebra._weights.safetensors.writing import write_tensors
from vertebra._weights.tensor_entry import layout_of

LAYERS = 3


@pytest.fixture
def sample_preset(tmp_path: Path) -> Path:
    """A native preset of an embedding, three equal layers and a half-precision head."""
    folder = tmp_path / "sample"
    folder.mkdir()
    config = {"vertebra_format": 1, "backbone": "SampleBackbone", "config": {"num_layers": LAYERS}}
    (folder / "config.json").write_text(json.dumps(config))
    shapes = {"token_embedding/embeddings": ("float32", (8, 4)), "head/kernel": ("float16", (4, 2))}
    for number in range(LAYERS):
        shapes[f"layer_{number}/attention/query/kernel"] = ("float32", (4, 4))
        shapes[f"layer_{number}/attention/query/bias"] = ("float32", (4,))
    layouts = {name: layout_of(name, dtype, shape) for name, (dtype, shape) in shapes.items()}
    arrays = {name: lambda d=dtype, s=shape: np.zeros(s, d) for name, (dtype, shape) in shapes.items()}
    write_tensors(folder / "model.safetensors", arrays, layouts, {})
    return folder


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def on_terminal(monkeypatch):
    """Returns a function that prints on a terminal of some columns, and returns the lines."""

    def lines(columns, show, *arguments):
        monkeypatch.setenv("COLUMNS", str(columns))
        with monkeypatch.context() as patch:
            patch.setattr(sys, "stdout", Terminal())
            show(*arguments)
            return sys.stdout.getvalue().splitlines()

    return lines
