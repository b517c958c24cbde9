"""Fixtures for tests of LoRA strategies: values as after training, and edited configs."""

import json

import pytest


@pytest.fixture(scope="session")
def disturb():
    """Changes all trainable values from their initial values, as training would."""
    import numpy as np

    def move(model, seed=0):
        draws = np.random.default_rng(seed)
        for variable in model.trainable_weights:
            variable.assign(variable.numpy() + draws.normal(size=variable.shape).astype("float32") * 0.3)

    return move


@pytest.fixture(scope="session")
def edit_config():
    """Changes fields of PEFT's config in a folder; `...` removes one."""

    def edit(folder, changes):
        path = folder / "adapter_config.json"
        config = json.loads(path.read_text()) | changes
        path.write_text(json.dumps({name: value for name, value in config.items() if value is not ...}))

    return edit
