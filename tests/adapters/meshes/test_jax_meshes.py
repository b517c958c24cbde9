"""Backbones on meshes of virtual devices compute as undivided ones."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

import vertebra
from vertebra.errors import ArgumentError, LayoutError, MeshError

pytestmark = pytest.mark.keras(once=True)

PROGRAM = Path(__file__).with_name("mesh_program.py")
NAMES = ("BertBackbone", "GPT2Backbone", "GemmaBackbone")
MESHES = ("1x2", "2x1", "2x2", "2x2 data", "2x4")
CASES = [*(f"{name} {mesh}" for name in NAMES for mesh in MESHES), "int8", "int4", "fit", "random", "adapters"]


@pytest.fixture(scope="module", autouse=True)
def on_jax(runtime):
    if runtime != "jax":
        pytest.skip("a process has several virtual devices on jax only")


@pytest.fixture(scope="module")
def failures(tmp_path_factory):
    command = [sys.executable, PROGRAM, tmp_path_factory.mktemp("presets")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("case", CASES)
def test_a_divided_backbone_computes_as_an_undivided_one(failures, case):
    assert failures[case] is None, failures[case]


@pytest.fixture(scope="module")
def preset(tmp_path_factory):
    folder = tmp_path_factory.mktemp("preset") / "bert"
    sizes = {"vocabulary_size": 9, "num_layers": 1, "num_heads": 1, "hidden_dim": 4, "intermediate_dim": 4}
    vertebra.models.BertBackbone(**sizes).save_to_preset(folder, certificate=False)
    return folder


def mesh_of(*names):
    import jax
    import numpy as np

    return jax.sharding.Mesh(np.array(jax.devices()[:1]).reshape([1] * len(names)), names)


def test_a_mesh_must_be_of_the_backend(preset):
    with pytest.raises(MeshError, match=r"it is a builtins\.list, and the runtime is jax"):
        vertebra.Backbone.from_preset(preset, mesh=[1, 2])


def test_the_use_of_each_axis_must_be_known(preset):
    with pytest.raises(MeshError, match="the use of its axis 'rows' is not known"):
        vertebra.Backbone.from_preset(preset, mesh=mesh_of("rows"))
    backbone = vertebra.Backbone.from_preset(preset, mesh=mesh_of("rows"), parallel="tensor")
    assert backbone.placement.axes == (vertebra.MeshAxis("rows", 1, "tensor"),)


@pytest.mark.parametrize(("argument", "value"), [("layout", "rows"), ("layout", [1]), ("on_uneven", "ignore")])
def test_other_arguments_are_refused(preset, argument, value):
    with pytest.raises(ArgumentError, match=f"from_preset: {argument}="):
        vertebra.Backbone.from_preset(preset, mesh=mesh_of("model"), **{argument: value})


def test_a_layout_map_needs_a_layout():
    import keras

    mesh = keras.distribution.DeviceMesh((1, 1), ("batch", "model"), keras.distribution.list_devices()[:1])
    with pytest.raises(LayoutError, match="its architecture declares no layout"):
        vertebra.Backbone.get_layout_map(mesh)
