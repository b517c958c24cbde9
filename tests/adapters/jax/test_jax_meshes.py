"""Backbones on meshes of virtual devices compute as undivided ones."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import vertebra
from vertebra.errors import ArgumentError, LayoutError, MeshError

pytestmark = pytest.mark.keras

PROGRAM, RANK = (Path(__file__).with_name(name) for name in ("mesh_program.py", "rank_program.py"))
FAST_TO_COMPILE = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
NAMES = ("BertBackbone", "GPT2Backbone", "GemmaBackbone")
MESHES = ("1x2", "2x1", "2x2", "2x4")
CASES = [
    *(f"{name} {mesh}" for name in NAMES for mesh in MESHES),
    "GemmaBackbone 2x2 data",
    "int8",
    "int4",
    "fit",
    "random",
    "adapters",
]


@pytest.fixture(scope="module", autouse=True)
def on_jax(runtime):
    if runtime != "jax":
        pytest.skip("a process has several virtual devices on jax only")


def started(devices, program, *arguments):
    """Starts a program on some virtual devices, which JAX makes once in a process."""
    flags = f"--xla_force_host_platform_device_count={devices} {FAST_TO_COMPILE}"
    environment = os.environ | {"XLA_FLAGS": flags, "VERTEBRA_RUNTIME": "jax", "KERAS_BACKEND": "jax"}
    command = [sys.executable, program, *map(str, arguments)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def shown_by(process):
    shown, told = process.communicate(timeout=600)
    assert process.returncode == 0, told
    return json.loads(shown.splitlines()[-1])


@pytest.fixture(scope="module")
def failures(tmp_path_factory):
    with started(8, PROGRAM, tmp_path_factory.mktemp("presets")) as process:
        return shown_by(process)


@pytest.mark.parametrize("case", CASES)
def test_a_divided_backbone_computes_as_an_undivided_one(failures, case):
    assert failures[case] is None, failures[case]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux lists the resident pages of a mapping")
def test_each_process_reads_its_parts_and_computes_with_the_others(tmp_path):
    sizes = {"vocabulary_size": 65536, "num_layers": 1, "num_heads": 4, "hidden_dim": 128, "intermediate_dim": 256}
    whole = vertebra.models.BertBackbone(**sizes, dropout=0.0)
    for format in ("native", "transformers"):
        whole.save_to_preset(tmp_path / format, format=format, certificate=False)
    adapted = vertebra.Backbone.from_preset(tmp_path / "native", dropout=0.0)
    adapted.enable_lora(2)
    for variable in adapted.trainable_weights:
        variable.assign(np.full(variable.shape, 0.1, "float32"))
    adapted.save_lora_weights(tmp_path / "adapter.safetensors")
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        port = probe.getsockname()[1]
    with started(1, RANK, port, 0, tmp_path) as first, started(1, RANK, port, 1, tmp_path) as second:
        ranks = [shown_by(process) for process in (first, second)]
    size = (tmp_path / "native" / "model.safetensors").stat().st_size
    for rank in ranks:
        for format in ("native", "transformers"):  # all but vectors is divided, and little is copied
            assert 0.4 * size < rank[f"read {format}"] < 0.6 * size
            assert rank[f"sums {format}"] == ranks[0][f"sums {format}"]
        assert rank["adapter"] == ranks[0]["adapter"]
        assert rank["fresh"] == ranks[0]["fresh"]
        expected = np.abs(adapted(adapted.sample_inputs())["sequence_output"]).sum()
        assert rank["adapted"] == pytest.approx(expected, rel=1e-5)
    expected = np.asarray(whole(whole.sample_inputs())["sequence_output"])
    for number in range(2):
        assert np.abs(np.load(tmp_path / f"outputs_{number}.npy") - expected).max() < 1e-5


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
