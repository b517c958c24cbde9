"""The code of docs/how-to/devices.md runs, section by section, on the runtime that each is for."""

import re

import numpy as np
import pytest

import vertebra
from pages import page

pytestmark = pytest.mark.keras

PAGE = page("how-to/devices.md")
BLOCK = re.compile(r"```python\n(.+?)```", flags=re.DOTALL)
SECTIONS = {title: BLOCK.findall(text) for title, text in re.findall(r"^## (.+?)\n(.+?)(?=^## |\Z)", PAGE, re.S | re.M)}
RUN = {
    "Choosing the device": 1,
    "Choosing the dtype": 1,
    "PyTorch: training tools and several GPUs": 3,
    "PyTorch: weights on a mesh": 2,
    "JAX: several devices": 3,
    "Saving from a mesh": 2,
    "Less memory for training": 1,
    "Export": 2,
}
"""Numbers of the code blocks that the tests below run, by section; `make peers` exports to ONNX."""


@pytest.fixture
def names(golden, tmp_path, monkeypatch, inputs):
    """The names that the code of the page uses, in a current directory with its presets."""
    import shutil

    monkeypatch.chdir(tmp_path)
    shutil.copytree(golden / "transformers", "my_bert")
    return {"inputs": inputs, "targets": np.zeros((3, 1))}


def run(block, names):
    exec(compile(block, "devices.md", "exec"), names)


@pytest.mark.keras(once=True)
def test_every_block_is_run():
    assert {title: len(blocks) - (title == "Export") for title, blocks in SECTIONS.items() if blocks} == RUN


def test_devices_and_precision_are_chosen_at_the_load(names, runtime):
    for title in ("Choosing the device", "Choosing the dtype"):
        for block in SECTIONS[title]:
            run(block.replace('use("torch")', f'use("{runtime}")'), names)
    assert {str(weight.dtype) for weight in names["half"].weights} == {"bfloat16"}
    assert {str(weight.dtype) for weight in names["mixed"].weights} == {"float32"}
    assert names["mixed"].compute_dtype == "bfloat16"
    assert {str(weight.dtype) for weight in names["lora"].trainable_weights} == {"float32"}
    assert str(names["lora"].token_embedding.embeddings.dtype) == "bfloat16"


def test_activations_are_computed_again(names):
    run(
        "import keras, vertebra\n" + SECTIONS["Less memory for training"][0].replace("targets", "targets, verbose=0"),
        names,
    )
    assert names["model"].trainable_weights


@pytest.fixture
def torch(runtime, names):
    if runtime != "torch":
        pytest.skip("the code is for torch")
    import torch

    names |= {"torch": torch, "vertebra": vertebra}
    return torch


@pytest.fixture
def one_rank(monkeypatch):
    """Sets the variables of torchrun for a process alone."""
    alone = {"RANK": 0, "LOCAL_RANK": 0, "WORLD_SIZE": 1, "MASTER_ADDR": "localhost", "MASTER_PORT": 0}
    for name, value in alone.items():
        monkeypatch.setenv(name, str(value))


def test_torch_resumes_a_run_on_a_mesh(torch, names, one_rank, tmp_path):
    run(SECTIONS["Saving from a mesh"][0], names)
    names["optimizer"].step()
    saved = vertebra.Backbone.from_preset(tmp_path / "trained")
    assert saved.lora_adapters.keys() == {"default"}


def test_torch_trains_in_parallel_and_sharded(torch, names, one_rank, tmp_path):
    ids = torch.ones((4, 5), dtype=torch.int32)
    names["batch"] = {"input_ids": ids, "attention_mask": ids, "labels": ids[:, 0].long()}
    for block in SECTIONS["PyTorch: training tools and several GPUs"]:
        run(block, names)
    assert vertebra.Backbone.from_preset(tmp_path / "trained").hidden_dim == 16
    names["distributed"].init_process_group("gloo", f"file://{tmp_path}/group", rank=0, world_size=1)
    for block in SECTIONS["PyTorch: weights on a mesh"]:
        run(block, names)
    names["distributed"].destroy_process_group()
    assert names["placed"].placement is not None


def test_torch_exports_any_batch_and_length(torch, names):
    run(SECTIONS["Export"][0], names)
    loaded = torch.export.load("encoder.pt2").module()
    for shape in ((3, 9), (1, 16)):
        ids = torch.ones(shape, dtype=torch.int32)
        assert torch.allclose(loaded(ids, ids), names["encoder"](ids, ids), atol=1e-6)


@pytest.fixture
def only_jax(runtime, names):
    if runtime != "jax":
        pytest.skip("the code is for JAX")
    names |= {"vertebra": vertebra}


def test_jax_exports_any_batch_and_length(only_jax, names):
    run(SECTIONS["Export"][-1], names)
    for shape in ((3, 9), (1, 16)):
        inputs = dict.fromkeys(names["backbone"].input, np.ones(shape, "int32"))
        found, expected = (call(inputs)["pooled_output"] for call in (names["exported"].call, names["backbone"]))
        assert np.allclose(found, expected, atol=1e-6)


ON_TWO_DEVICES = """
import os, sys
os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=2"
import vertebra
import keras, numpy as np
sizes = dict(vocabulary_size=64, num_layers=1, hidden_dim=8, intermediate_dim=16)
gemma = vertebra.models.GemmaBackbone(num_query_heads=4, num_key_value_heads=1, head_dim=4, **sizes)
gemma.save_to_preset("my_gemma")
inputs = {"token_ids": np.arange(1, 13).reshape(2, 6), "padding_mask": np.ones((2, 6), "int32")}
names = {"inputs": inputs, "targets": np.zeros((2, 6, 1))}
for block in sys.argv[1:]:
    exec(block, names)
assert names["divided"].token_embedding.embeddings.value.addressable_shards[0].data.shape == (32, 8)
assert {axis.parallel for axis in names["split"].placement.axes} == {"data", "tensor"}
table = names["split"].token_embedding.embeddings.value
assert table.addressable_shards[0].data.shape == (32, 8)
saved = vertebra.Backbone.from_preset("split_and_trained")
print(float(abs(np.array(names["outputs"]) - np.array(gemma(inputs))).max()))
print(float(abs(np.array(saved(inputs)) - np.array(gemma(inputs))).max()))
"""


def test_jax_divides_batches_and_weights(only_jax, names, child):
    shown = child(ON_TWO_DEVICES, *SECTIONS["JAX: several devices"])
    assert all(float(line) < 1e-5 for line in shown.splitlines()[-2:])


def test_jax_resumes_a_run_on_a_mesh(only_jax, names, tmp_path):
    pytest.importorskip("orbax.checkpoint", reason="orbax is not installed")
    run(SECTIONS["Saving from a mesh"][1], names)
    assert vertebra.Backbone.from_preset(tmp_path / "trained").lora_adapters.keys() == {"default"}
