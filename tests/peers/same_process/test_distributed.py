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

preset, folder, rank = sys.argv[1], sys.argv[2], int(sys.argv[3])
distributed.init_process_group("gloo", f"file://{folder}/group", rank=rank, world_size=2)


def build(seed, adapted):
    torch.manual_seed(seed)
    module = torch.nn.Module()
    module.backbone = vertebra.Backbone.from_preset(preset, dropout=0.1)
    if adapted:
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
whole = StateDictOptions(full_state_dict=True)


def copied(module, fresh, adapted):
    parallel = torch.nn.parallel.DistributedDataParallel(module)
    train(parallel, mine)
    fresh.load_state_dict({name.removeprefix("module."): value for name, value in parallel.state_dict().items()})


def sharded(module, fresh, adapted):
    fully_shard(module, mesh=init_device_mesh("cpu", (2,)))
    train(module, mine)
    fresh.load_state_dict(get_model_state_dict(module, options=whole))
    checkpoints.save(get_model_state_dict(module), checkpoint_id=f"{folder}/{adapted}")
    other = build(2, adapted)
    states = get_model_state_dict(other)
    checkpoints.load(states, checkpoint_id=f"{folder}/{adapted}")
    set_model_state_dict(other, states)
    torch.testing.assert_close(other(ids), fresh(ids), rtol=0, atol=0)


for adapted in (False, True):
    alone = build(0, adapted)
    start = alone(ids).detach()
    train(alone, ids)
    assert not torch.allclose(alone(ids), start)
    for way in (copied, sharded):
        fresh = build(1, adapted)
        way(build(0, adapted), fresh, adapted)
        torch.testing.assert_close(fresh(ids), alone(ids), atol=1e-5, rtol=0)
distributed.destroy_process_group()
print("equal")
"""


def test_two_processes_train_what_one_would(preset, tmp_path):
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(preset), str(tmp_path), str(rank)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in (0, 1)
    ]
    shown = [process.communicate(timeout=300)[0] for process in processes]
    for text in shown:
        assert text.rstrip().endswith("equal"), text
