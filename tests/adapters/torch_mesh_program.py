"""Computes with presets on meshes of several processes, and writes what it found: torch_mesh_program.py FOLDER.

FOLDER has presets by the names of their architectures; the program writes `found-N.json` there for N processes.
"""

import faulthandler
import json
import multiprocessing
import os
import re
import socket
import sys
import time
import traceback
from datetime import timedelta
from pathlib import Path

import keras
import numpy as np
import torch
import torch.distributed as distributed
import torch.distributed.checkpoint as checkpoints
from torch.distributed.tensor import DTensor
from torch.utils.checkpoint import checkpoint

import vertebra
from vertebra._discovery import runtimes

torch.set_num_threads(1)
FOLDER = Path(sys.argv[1])
MODELS = {"fsdp and tensor": ("gemma",)}
"""On some meshes, the architectures that are compared; on others, all are."""
MESHES = {
    2: {"1x2": (("batch", 1), ("model", 2)), "2x1": (("batch", 2), ("model", 1)), "fsdp": (("fsdp", 2),)},
    4: {"2x2": (("batch", 2), ("model", 2)), "fsdp and tensor": (("fsdp", 2), ("model", 2))},
}
TARGET = torch.randn(4, 6, 32, generator=torch.Generator().manual_seed(1))


def mesh_of(axes):
    names, sizes = zip(*axes, strict=True)
    return distributed.init_device_mesh("cpu", sizes, mesh_dim_names=names)


def load(name, axes=None, **options):
    placed = {} if axes is None else {"mesh": mesh_of(axes), "layout": "auto"}
    return vertebra.Backbone.from_preset(FOLDER / name, **placed, **options)


def inputs_of(name, rows=4):
    ids = (torch.arange(6 * rows).reshape(rows, 6) * 7 % 64).int()
    mask = (ids % 5 > 0).int()
    mask[:, 0] = 1
    return {"token_ids": ids, "padding_mask": mask} | ({"segment_ids": ids % 2} if name == "bert" else {})


def sequence(outputs):
    found = outputs["sequence_output"] if isinstance(outputs, dict) else outputs
    return found.full_tensor() if isinstance(found, DTensor) else found


def whole(tensor):
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def train(backbone, inputs, steps=1, **options):
    weights = [weight.value for weight in backbone.trainable_variables]
    optimizer = torch.optim.AdamW(weights, 1e-2, eps=0.1, **options)  # so that rounding of small gradients stays small
    for _ in range(steps):
        optimizer.zero_grad()
        (sequence(backbone(inputs)) * TARGET).sum().backward()
        optimizer.step()
    return optimizer


def error(found, expected):
    """Returns the largest difference, as a share of the largest value if that is above 1."""
    pairs = [(whole(one).detach(), whole(other).detach()) for one, other in zip(found, expected, strict=True)]
    return max(float((one - other).abs().max() / other.abs().max().clamp(min=1)) for one, other in pairs)


# === What is equal to the undivided backbone ===


def compare(name, axes):
    inputs, alone, placed = inputs_of(name), load(name), load(name, axes)
    found = {"outputs": error([sequence(placed(inputs))], [sequence(alone(inputs))])}
    found["compiled"] = error([sequence(vertebra.compile(placed)(inputs))], [sequence(alone(inputs))])
    for backbone in (placed, alone):
        train(backbone, inputs)
    weights = [list(backbone.named_weights().values()) for backbone in (placed, alone)]
    gradients = [[weight.value.grad for weight in of if weight.value.grad is not None] for of in weights]
    found["gradients"] = error(*gradients)
    same = [
        weight.value.grad.placements == weight.value.placements
        for weight in weights[0]
        if weight.value.grad is not None
    ]
    found["gradients are placed as weights"] = all(same)
    found["weights"] = error(*([weight.value for weight in of] for of in weights))
    return found | {"lora": adapt(name, axes)}


def adapt(name, axes):
    inputs, alone, placed = inputs_of(name), load(name), load(name, axes)
    torch.manual_seed(distributed.get_rank())
    keras.utils.set_random_seed(distributed.get_rank())  # the processes draw different factors
    for backbone in (placed, alone):
        backbone.enable_lora(4)
    pairs = list(zip(placed.trainable_variables, alone.trainable_variables, strict=True))
    for own, other in pairs:
        other.assign(own.value.detach() + 0.02)
        own.assign(other.value.detach())
    for backbone in (placed, alone):
        train(backbone, inputs)
    return error([own.value for own, _ in pairs], [other.value for _, other in pairs])


def optimizers(axes):
    found = {}
    for options in ({"foreach": True}, {"fused": True}):
        alone, placed = load("bert"), load("bert", axes)
        for backbone in (placed, alone):
            train(backbone, inputs_of("bert"), 2, **options)
        weights = [list(backbone.named_weights().values()) for backbone in (placed, alone)]
        found[str(options)] = error(*([weight.value for weight in of] for of in weights))
    return found


def rows_with_adapters(axes):
    alone, placed = load("gemma"), load("gemma", axes)
    for backbone in (placed, alone):
        for adapter in ("one", "two"):
            keras.utils.set_random_seed(1)
            backbone.enable_lora(2, name=adapter, seed=len(adapter))
        for number, variable in enumerate(backbone.trainable_variables):
            variable.assign(torch.full(tuple(variable.shape), 0.01 * (number + 1)))
    chosen = ["one", "two", None, "one"]
    inputs = inputs_of("gemma")
    return error([sequence(placed(inputs, adapters=chosen))], [sequence(alone(inputs, adapters=chosen))])


def fit(axes):
    found = []
    for backbone in (load("bert"), load("bert", axes)):
        keras.utils.set_random_seed(2)
        backbone.enable_lora(2, seed=1)
        arrays = {name: np.asarray(values) for name, values in inputs_of("bert").items()}
        inputs = {name: keras.Input(array.shape[1:], dtype="int32", name=name) for name, array in arrays.items()}
        model = keras.Model(inputs, keras.layers.Dense(1)(backbone(inputs)["pooled_output"]))
        model.compile(keras.optimizers.Adam(1e-2), "mse")
        model.fit(arrays, np.arange(4.0)[:, None], batch_size=2, epochs=2, verbose=0)
        found.append([variable.value for variable in model.trainable_variables])
    return error(*found)


# === Dropout, memory, resuming ===


def dropped(axes):
    backbone, inputs = load("bert", axes, dropout=0.5), inputs_of("bert", rows=1)
    inputs = {name: torch.cat([values] * 4) for name, values in inputs.items()}
    torch.manual_seed(distributed.get_rank())
    outputs = sequence(backbone(inputs, training=True))
    all_outputs = [None] * distributed.get_world_size()
    distributed.all_gather_object(all_outputs, outputs.detach())
    torch.manual_seed(5)
    sequence(backbone(inputs, training=True)).sum().backward()
    expected = [weight.value.grad for weight in backbone.named_weights().values() if weight.value.grad is not None]
    for weight in backbone.variables:
        weight.value.grad = None
    torch.manual_seed(5)
    sequence(checkpoint(lambda given: backbone(given, training=True), inputs, use_reentrant=False)).sum().backward()
    again = [weight.value.grad for weight in backbone.named_weights().values() if weight.value.grad is not None]
    return {
        "processes agree": all(torch.equal(outputs, other) for other in all_outputs),
        "rows differ": all(not torch.equal(outputs[0], outputs[row]) for row in (1, 2, 3)),
        "computed again": error(again, expected),
    }


class Gathers(torch.utils._python_dispatch.TorchDispatchMode):
    """Counts the operations that gather tensors."""

    count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if any(issubclass(kind, DTensor) for kind in types):
            return NotImplemented
        self.count += "all_gather" in str(func)
        return func(*args, **(kwargs or {}))


def gathers():
    """Returns numbers of gathered weights: divided ones, those of a call, and of its backward pass."""
    backbone = load("gemma", (("fsdp", 2),))
    weights = [weight.value for weight in backbone.named_weights().values()]
    with Gathers() as call:
        outputs = backbone(inputs_of("gemma"))
    outputs = sequence(outputs)
    with Gathers() as backward:
        outputs.sum().backward()
    divided = sum(any(place.is_shard() for place in weight.placements) for weight in weights)
    return {"divided": divided, "call": call.count, "backward": backward.count}


def mapped():
    """Returns bytes: this process's part of a sparse preset, new memory of its load, and pages read with the part."""
    before = memory()["Anonymous"]
    backbone = load("sparse", (("fsdp", 2),), dtype="bfloat16")
    loaded = memory()["Anonymous"]
    parts = [weight.value.detach().to_local() for weight in backbone.named_weights().values()]
    untouched = memory("model.safetensors")["Rss"]
    for part in parts:
        part.view(torch.int16).reshape(-1)[:: 2048 // 2].sum()
    touched = memory("model.safetensors")["Rss"]
    size = sum(part.nbytes for part in parts)
    whole = sum(weight.value.nbytes for weight in backbone.named_weights().values())
    return {"part": size, "whole": whole, "new": loaded - before, "untouched": untouched, "read": touched - untouched}


def memory(name=""):
    """Returns bytes of memory by kind, of all mappings, or of a file's."""
    sizes, counts = {"Anonymous": 0, "Rss": 0}, False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if re.match(r"[0-9a-f]+-[0-9a-f]+ ", line):
            counts = line.endswith(name) if name else True
        kind, _, value = line.partition(":")
        if counts and kind in sizes:
            sizes[kind] += int(value.split()[0]) * 1024
    return sizes


def resumed():
    """Trains on a mesh, saves a distributed checkpoint, and trains on from it on another mesh."""

    def state(backbone, optimizer):
        names = {id(weight.value): name for name, weight in backbone.named_weights().items()}
        moments = {names[id(weight)]: values for weight, values in optimizer.state.items()}
        return {"weights": backbone.state_dict(), "moments": moments}

    inputs = inputs_of("bert")
    first = load("bert", (("fsdp", 2),))
    optimizer = train(first, inputs)
    checkpoints.save(state(first, optimizer), checkpoint_id=FOLDER / "checkpoint")
    more(first, optimizer, inputs)
    second = load("bert", (("model", 2),))
    other = train(second, inputs_of("bert"))  # makes the optimiser's state, which is then loaded
    states = state(second, other)
    checkpoints.load(states, checkpoint_id=FOLDER / "checkpoint")
    more(second, other, inputs)
    weights = [list(backbone.named_weights().values()) for backbone in (second, first)]
    return error(*([weight.value for weight in of] for of in weights))


def more(backbone, optimizer, inputs):
    optimizer.zero_grad()
    (sequence(backbone(inputs)) * TARGET).sum().backward()
    optimizer.step()


def silent():
    """Exchanges messages until one process is gone; returns what the other one gets, and its seconds."""
    runtime, mesh = runtimes.bind(), mesh_of((("batch", 2),))
    found = {
        "answers": [
            runtime.exchange(mesh, b"%d %d" % (turn, distributed.get_rank()), 20)[1].decode() for turn in range(4)
        ]
    }
    distributed.barrier()
    if distributed.get_rank() == 1:
        os._exit(0)
    start = time.monotonic()
    try:
        runtime.exchange(mesh, b"", 2)
    except TimeoutError as error:
        found["error"] = str(error)
    return found | {"seconds": time.monotonic() - start}


def parts():
    """Returns whether the own parts of all processes are the whole tensor, each number once, by placement."""
    runtime, mesh = runtimes.bind(), mesh_of((("batch", 2), ("model", 2)))
    array = np.arange(64, dtype="float32").reshape(8, 8)
    found = {}
    for divided in ([(), ()], [("batch",), ("model",)], [("batch", "model"), ()], [(), ("model",)]):
        for dtype in ("float32", "bfloat16"):
            tensor = runtime.divide(mesh, divided, (8, 8), dtype, lambda index: array[index])
            own = [(index, values.astype("float32")) for index, values in runtime.own_parts(tensor)]
            every = [None] * 4
            distributed.all_gather_object(every, own)
            joined, count = np.zeros_like(array), 0
            for index, values in [part for parts in every for part in parts]:
                joined[index], count = values, count + values.size
            sampled = runtime.sample(tensor, 5).astype("float32").tolist() == array.flat[::5].tolist()
            found[f"{divided} {dtype}"] = bool((joined == array).all()) and count == array.size and sampled
    return found


def cases(processes):
    for title, axes in MESHES[processes].items():
        for name in MODELS.get(title, ("bert", "gpt2", "gemma")):
            yield f"{name} on {title}", lambda name=name, axes=axes: compare(name, axes)
        yield f"dropout on {title}", lambda axes=axes: dropped(axes)
    if processes == 4:
        yield "parts", parts
        return
    yield "optimizers", lambda: optimizers((("fsdp", 2),))
    yield "rows on 2x1", lambda: rows_with_adapters(MESHES[2]["2x1"])
    yield "fit on 1x2", lambda: fit(MESHES[2]["1x2"])
    yield "gathers", gathers
    yield "mapped", mapped
    yield "resumed", resumed
    yield "silent", silent


def compute(rank, count, port):
    """Runs all cases in one of several processes."""
    faulthandler.dump_traceback_later(150, exit=True)
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": str(count), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    distributed.init_process_group("gloo", timeout=timedelta(seconds=60))
    found, seconds = {}, {}
    for name, case in cases(count):
        start = time.monotonic()
        try:
            found[name] = case()
        except Exception:
            found[name] = traceback.format_exc()
        seconds[name] = time.monotonic() - start
    if rank == 0:
        (FOLDER / f"found-{count}.json").write_text(json.dumps(found | {"seconds": seconds}))


def main():
    """Starts the processes as forks, which import nothing again."""
    for count in MESHES:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        forks = multiprocessing.get_context("fork")
        processes = [forks.Process(target=compute, args=(rank, count, port)) for rank in range(count)]
        for process in processes:
            process.start()
        for process in processes:
            process.join(170)


main()
