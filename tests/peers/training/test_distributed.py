"""DistributedDataParallel, FSDP2 and torch's distributed checkpoints, in two processes on a CPU."""

import subprocess
import sys

import pytest

pytestmark = pytest.mark.keras

PROGRAM = """
import os, sys
import torch
import torch.distributed as distributed
import torch.distributed.checkpoint as checkpoints
import vertebra
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict, set_model_state_dict
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard

preset, folder, kind, adapted, rank = *sys.argv[1:5], int(sys.argv[5])
distributed.init_process_group("gloo", f"file://{folder}/group", rank=rank, world_size=2)


def build(seed):
    torch.manual_seed(seed)
    module = torch.nn.Module()
    module.backbone = vertebra.Backbone.from_preset(preset, dropout=0.1)
    if adapted == "lora":
        module.backbone.enable_lora(2, seed=seed)
    module.head = torch.nn.Linear(module.backbone.hidden_dim, 2)
    module.forward = lambda ids: module.head(module.backbone(token_ids=ids)["pooled_output"])
    return module


def train(module, ids):
    optimizer = torch.optim.SGD([weight for weight in module.parameters() if weight.requires_grad], 0.05)
    for _ in range(2):
        module(ids).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()


ids = torch.randint(1, 90, (4, 5), generator=torch.Generator().manual_seed(0))
mine = ids[2 * rank : 2 * rank + 2]
alone = build(0)
start = alone(ids).detach()
train(alone, ids)
expected = alone(ids).detach()
assert not torch.allclose(start, expected)

module, fresh = build(0), build(1)
if kind == "ddp":
    parallel = torch.nn.parallel.DistributedDataParallel(module)
    train(parallel, mine)
    fresh.load_state_dict({name.removeprefix("module."): value for name, value in parallel.state_dict().items()})
    torch.testing.assert_close(module.state_dict()["head.weight"], alone.state_dict()["head.weight"])
else:
    fully_shard(module, mesh=init_device_mesh("cpu", (2,)))
    train(module, mine)
    whole = StateDictOptions(full_state_dict=True)
    fresh.load_state_dict(get_model_state_dict(module, options=whole))
    sharded = get_model_state_dict(module)
    checkpoints.save(sharded, checkpoint_id=f"{folder}/checkpoint")
    other = build(1)
    states = get_model_state_dict(other)
    checkpoints.load(states, checkpoint_id=f"{folder}/checkpoint")
    set_model_state_dict(other, states)
    torch.testing.assert_close(other(ids), fresh(ids), rtol=0, atol=0)
torch.testing.assert_close(fresh(ids), expected, atol=1e-5, rtol=0)
distributed.destroy_process_group()
print("equal")
"""


@pytest.mark.parametrize("adapted", ["all", "lora"])
@pytest.mark.parametrize("kind", ["ddp", "fsdp"])
def test_two_processes_train_what_one_would(preset, tmp_path, kind, adapted):
    command = [sys.executable, "-c", PROGRAM, str(preset), str(tmp_path), kind, adapted]
    processes = [
        subprocess.Popen([*command, str(rank)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        for rank in (0, 1)
    ]
    shown = [process.communicate(timeout=120)[0] for process in processes]
    for text in shown:
        assert text.rstrip().endswith("equal"), text
