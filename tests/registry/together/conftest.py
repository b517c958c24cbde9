"""Presets for the processes of a mesh, and what each process found."""

import json
import os
import shutil
from pathlib import Path

import pytest

PROGRAM = Path(__file__).with_name("processes.py").read_text(encoding="utf-8")
GEMMA = {
    "vocabulary_size": 64,
    "num_layers": 2,
    "num_query_heads": 4,
    "num_key_value_heads": 2,
    "hidden_dim": 32,
    "intermediate_dim": 64,
    "head_dim": 8,
    "name": "gemma",
}
GPT2 = {
    "vocabulary_size": 64,
    "num_layers": 2,
    "num_heads": 4,
    "hidden_dim": 32,
    "intermediate_dim": 64,
    "max_sequence_length": 16,
    "dropout": 0.0,
    "name": "gpt2",
}
SAVES = ("native 10", "native 2e-5", "transformers 10", "transformers 2e-5", "kerashub 10", "kerashub 2e-5")
"""Formats and shard sizes."""
SECONDS = 8
"""For which a process may be silent in these tests."""


@pytest.fixture(scope="session")
def launch(on_runtime, runtime):
    """Runs scenarios in several processes; returns the results of each, until it was killed."""

    def run(folder, count, mesh, *scenarios):
        os.environ["VERTEBRA_MESH_TIMEOUT"] = str(SECONDS)
        try:
            done = on_runtime(runtime, ["-c", PROGRAM, runtime, str(folder), str(count), mesh, *scenarios], timeout=200)
        finally:
            del os.environ["VERTEBRA_MESH_TIMEOUT"]
        assert done.returncode == 0, done.stderr.decode()
        found = json.loads(done.stdout.decode().splitlines()[-1])
        if None in found:
            pytest.fail(done.stderr.decode())
        return found

    return run


def prepared(folder, kind, arguments):
    """Writes the preset `base` and what an undivided backbone saves of it, and `kept`, which must stay as it is."""
    import keras

    import vertebra

    keras.utils.set_random_seed(1)
    getattr(vertebra.models, kind)(**arguments).save_to_preset(folder / "base", certificate=False)
    base = vertebra.Backbone.from_preset(folder / "base")
    for name in SAVES:
        format, size = name.split(" ")
        base.save_to_preset(folder / f"undivided {name}", float(size), format=format, certificate=False)
    shutil.copytree(folder / "base", folder / "kept")


@pytest.fixture(scope="session")
def two(tmp_path_factory, launch):
    """The folder of two processes, and what they found; the second one is killed at the end."""
    import vertebra

    folder = tmp_path_factory.mktemp("two")
    prepared(folder, "GemmaBackbone", GEMMA)
    other = vertebra.models.GemmaBackbone(**GEMMA)
    other.save_to_preset(folder / "other", certificate=False)
    other.enable_lora(2, seed=1)
    other.save_lora_weights(folder / "of-other.safetensors")
    for seed, name in enumerate(("one", "two")):
        adapted = vertebra.Backbone.from_preset(folder / "base")
        adapted.enable_lora(2, seed=seed)
        adapted.save_lora_weights(folder / f"{name}.safetensors")
    differences = ["other_preset", "missing_preset", "other_argument", "other_version", "other_mesh", "other_adapter"]
    saves = ["save", "train_and_save", "load_adapter", "wrong_base"]
    saves += ["save_certified"] if launch_is_on_torch() else []
    failures = ["other_target", "full_disk", "save_again", "killed_last"]
    return folder, launch(folder, 2, "2", *saves, *differences, "other_base", *failures)


def launch_is_on_torch():
    """Says whether a forward pass takes less than the time of a test: JAX compiles each operation for all processes."""
    return os.environ["KERAS_BACKEND"] == "torch"


@pytest.fixture(scope="session")
def four(tmp_path_factory, launch):
    """The folder of four processes on a mesh of two axes, and what they found; the first one is killed at the end."""
    folder = tmp_path_factory.mktemp("four")
    prepared(folder, "GPT2Backbone", GPT2)
    return folder, launch(folder, 4, "2x2", "save", "killed_first")
