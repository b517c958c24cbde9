"""The interpolation of positions is that of torch, on every runtime."""

import json

import keras
import numpy as np
import pytest

from vertebra_vit.positions import resize_grid

pytestmark = pytest.mark.keras

TORCH = """
import json, sys, numpy as np, torch
grid = torch.tensor(json.loads(sys.argv[1])).permute(2, 0, 1)[None]
for size in ((5, 3), (2, 9), (4, 1), (11, 14)):
    for antialias in (False, True):
        found = torch.nn.functional.interpolate(grid, size=size, mode="bicubic", antialias=antialias)
        print(json.dumps([size, antialias, found[0].permute(1, 2, 0).reshape(-1, 2).tolist()]))
"""


def test_equals_torch(child):
    grid = np.random.default_rng(0).normal(size=(4, 6, 2)).astype("float32")
    lines = child(TORCH, json.dumps(grid.tolist()), on="torch").splitlines()
    assert len(lines) == 8
    for size, antialias, expected in map(json.loads, lines):
        found = resize_grid(keras.ops.convert_to_tensor(grid.reshape(1, 24, 2)), (4, 6), tuple(size), antialias)
        np.testing.assert_allclose(keras.ops.convert_to_numpy(found)[0], expected, atol=1e-5)
