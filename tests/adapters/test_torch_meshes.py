"""Backbones on meshes of two and four processes compute and train as undivided ones do, and read only their parts."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from benchmarks.sparse import write_sparse

import vertebra

pytestmark = pytest.mark.keras

PROGRAM = Path(__file__).with_name("torch_mesh_program.py")
SIZES = {"vocabulary_size": 64, "num_layers": 1, "hidden_dim": 32, "intermediate_dim": 64}
TEXT = SIZES | {"num_heads": 4, "max_sequence_length": 32, "dropout": 0.0}
GROUPED = SIZES | {"num_query_heads": 4, "num_key_value_heads": 2, "head_dim": 8}
SPARSE = GROUPED | {"vocabulary_size": 65536, "hidden_dim": 1024, "intermediate_dim": 16384, "head_dim": 256}
MESHES = {2: ("1x2", "2x1", "fsdp"), 4: ("2x2", "fsdp and tensor")}
COMPARED = [(2, name, mesh) for mesh in MESHES[2] for name in ("bert", "gpt2", "gemma")]
COMPARED += [(4, "bert", "2x2"), (4, "gpt2", "2x2"), (4, "gemma", "2x2"), (4, "gemma", "fsdp and tensor")]


@pytest.fixture(scope="module")
def presets(tmp_path_factory, runtime):
    if runtime != "torch":
        pytest.skip("the meshes are torch's")
    folder = tmp_path_factory.mktemp("meshes")
    vertebra.models.BertBackbone(**TEXT).save_to_preset(folder / "bert")
    vertebra.models.GPT2Backbone(**TEXT).save_to_preset(folder / "gpt2")
    vertebra.models.GemmaBackbone(**GROUPED).save_to_preset(folder / "gemma")
    write_sparse(folder / "sparse", SPARSE, "bfloat16", None)
    return folder


@pytest.fixture(scope="module")
def found(presets):
    """What the program found with two, and with four processes."""
    environment = os.environ | {"KERAS_BACKEND": "torch", "OMP_NUM_THREADS": "1"}
    run = subprocess.run(
        [sys.executable, str(PROGRAM), str(presets)], env=environment, capture_output=True, text=True, timeout=360
    )
    paths = {count: presets / f"found-{count}.json" for count in MESHES}
    assert all(path.exists() for path in paths.values()), run.stdout + run.stderr
    return {count: json.loads(path.read_text()) for count, path in paths.items()}


@pytest.mark.parametrize(("count", "name", "mesh"), COMPARED)
def test_outputs_gradients_and_a_step_are_those_of_the_undivided_backbone(found, count, name, mesh):
    result = found[count][f"{name} on {mesh}"]
    assert isinstance(result, dict), result
    assert result.pop("gradients are placed as weights")
    assert set(result) == {"outputs", "compiled", "gradients", "weights", "lora"}
    assert max(result.values()) < 1e-5


@pytest.mark.parametrize(("count", "mesh"), [(count, mesh) for count in MESHES for mesh in MESHES[count]])
def test_dropout_differs_where_parts_do_and_is_computed_again_alike(found, count, mesh):
    result = found[count][f"dropout on {mesh}"]
    assert isinstance(result, dict), result
    assert result.pop("computed again") < 1e-6
    assert all(result.values()), result


def test_optimisers_of_torch_train_divided_weights(found):
    result = found[2]["optimizers"]
    assert isinstance(result, dict), result
    assert len(result) == 2
    assert max(result.values()) < 1e-5


@pytest.mark.parametrize("case", ["rows on 2x1", "fit on 1x2"])
def test_rows_have_their_own_adapters_and_keras_fits_one(found, case):
    result = found[2][case]
    assert isinstance(result, float), result
    assert result < 1e-5


def test_gathered_weights_are_not_kept_for_the_backward_pass(found):
    """Each is gathered again, but for the table of tokens, whose values its gradient does not need."""
    result = found[2]["gathers"]
    assert isinstance(result, dict), result
    assert result["divided"] > 5
    assert result["call"] == result["backward"] + 1 == result["divided"]


def test_a_process_maps_its_part_and_reads_no_other_pages(found):
    result = found[2]["mapped"]
    assert isinstance(result, dict), result
    assert 0.5 * result["whole"] <= result["part"] < 0.51 * result["whole"]
    assert result["new"] < 0.1 * result["part"]
    assert result["untouched"] < 0.05 * result["part"]
    assert 0.9 * result["part"] < result["read"] < 1.1 * result["part"]


def test_training_goes_on_from_a_distributed_checkpoint_on_another_mesh(found):
    result = found[2]["resumed"]
    assert isinstance(result, float), result
    assert result < 1e-5


def test_a_process_that_is_gone_is_an_error_in_time(found):
    result = found[2]["silent"]
    assert isinstance(result, dict), result
    assert result["answers"] == ["0 1", "1 1", "2 1", "3 1"]
    assert "rank 1" in result["error"]
    assert result["seconds"] < 10


def test_the_parts_of_all_processes_are_the_whole_tensor(found):
    result = found[4]["parts"]
    assert isinstance(result, dict), result
    assert all(result.values()), result


def test_a_mesh_of_keras_is_refused_as_long_as_keras_has_none_on_torch(runtime):
    if runtime != "torch":
        pytest.skip("the meshes are torch's")
    import keras

    from vertebra._discovery import runtimes

    mesh = keras.distribution.DeviceMesh((1, 2), ["batch", "model"], ["cpu:0", "cpu:1"])
    with pytest.raises(vertebra.errors.MeshError, match="init_device_mesh"):
        runtimes.bind().mesh_sizes(mesh)
    assert runtimes.bind().mesh_sizes(object()) is None
