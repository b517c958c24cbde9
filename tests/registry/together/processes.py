"""The program of the processes of a mesh: they run scenarios together, and each one prints its results.

    python -c PROGRAM RUNTIME FOLDER COUNT MESH SCENARIO...

It is run in a process that has imported Keras and has not used it, and forks the others. MESH is the shape of the mesh,
such as `2` or `2x2`. The results are a JSON list with a table for each process, with those of a killed one until then.
"""

import contextlib
import json
import os
import signal
import socket
import sys
import time
from pathlib import Path

RUNTIME, FOLDER, COUNT, MESH, *SCENARIOS = sys.argv[1:]
FOLDER, COUNT, MESH = Path(FOLDER), int(COUNT), tuple(map(int, MESH.split("x")))
NAMES = ("model",) if len(MESH) == 1 else ("data", "model")
SECONDS = 150
SAVES = ("native 10", "native 2e-5", "transformers 10", "transformers 2e-5", "kerashub 10", "kerashub 2e-5")


def main():
    """Starts the processes, waits for them, and prints their results."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    started = [start(number, port) for number in range(COUNT)]
    ends = time.monotonic() + SECONDS
    while started and time.monotonic() < ends:
        started = [pid for pid in started if os.waitpid(pid, os.WNOHANG) == (0, 0)]
        time.sleep(0.02)
    for pid in started:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    paths = [FOLDER / f"result-{number}.json" for number in range(COUNT)]
    print(json.dumps([json.loads(path.read_text()) if path.exists() else None for path in paths]))


def start(number, port):
    pid = os.fork()
    if pid:
        return pid
    try:
        Process(number, port).run()
        (FOLDER / f"done-{number}").touch()
        ends = time.monotonic() + 2
        while number == 0 and len(list(FOLDER.glob("done-*"))) < COUNT and time.monotonic() < ends:
            time.sleep(0.02)  # the others end with it, as it has the service through which they talk
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)


class Process:
    def __init__(self, number, port):
        self.number = number
        if RUNTIME == "torch":
            import torch

            address = f"tcp://127.0.0.1:{port}"
            torch.distributed.init_process_group("gloo", init_method=address, rank=number, world_size=COUNT)
            self.mesh = torch.distributed.init_device_mesh("cpu", MESH, mesh_dim_names=NAMES)
        else:
            if COUNT == 1:
                os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=2"
            import jax
            import numpy as np

            if COUNT > 1:
                jax.distributed.initialize(f"127.0.0.1:{port}", COUNT, number)
            self.mesh = jax.sharding.Mesh(np.array(jax.devices()).reshape(MESH), NAMES)

    def run(self):
        import vertebra

        self.vertebra = vertebra
        self.backbone = self.load("base")
        results = {"loaded": self.backbone.placement.sizes}
        for scenario in SCENARIOS:
            begun = time.monotonic()
            try:
                value = getattr(self, scenario)()
                results[scenario] = {"value": value}
            except Exception as error:
                results[scenario] = {"error": type(error).__name__, "text": str(error)}
            results[scenario]["seconds"] = time.monotonic() - begun
            (FOLDER / f"result-{self.number}.json").write_text(json.dumps(results))

    def load(self, name, mesh=None, **options):
        path = str(FOLDER / name)
        return self.vertebra.Backbone.from_preset(path, mesh=mesh or self.mesh, layout="auto", **options)

    # === Saving ===

    def save(self):
        for name in SAVES:
            format, size = name.split(" ")
            self.backbone.save_to_preset(FOLDER / f"divided {name}", float(size), format=format, certificate=False)

    def save_certified(self):
        self.backbone.save_to_preset(FOLDER / "certified")

    def train_and_save(self):
        backbone = self.load("base")
        backbone.enable_lora(2, ["query", "value"], seed=1)
        self.step(backbone)
        for name in ("adapter.safetensors", "adapter-peft", "adapter.lora.h5"):
            backbone.save_lora_weights(FOLDER / name)

    def load_adapter(self):
        backbone = self.load("base")
        receipt = backbone.load_lora_weights(FOLDER / "one.safetensors")
        backbone.save_lora_weights(FOLDER / "again.safetensors")
        return receipt.layers

    def wrong_base(self):
        self.load("base").load_lora_weights(FOLDER / "of-other.safetensors")

    def step(self, backbone):
        """Trains each variable of the adapter by one step."""
        import numpy as np

        inputs = {name: np.asarray(value) for name, value in backbone.sample_inputs().items()}
        if RUNTIME == "torch":
            from torch.distributed.tensor import DTensor

            output = backbone(inputs)
            whole = output.full_tensor() if isinstance(output, DTensor) else output
            (whole**2).mean().backward()
            for variable in backbone.trainable_variables:
                with contextlib.suppress(AttributeError):
                    variable.value.data.sub_(variable.value.grad)
        else:
            import jax

            def loss(trained, fixed):
                output, _ = backbone.stateless_call(trained, fixed, inputs)
                return (output**2).mean()

            fixed = [variable.value for variable in backbone.non_trainable_variables]
            gradients = jax.jit(jax.grad(loss))([variable.value for variable in backbone.trainable_variables], fixed)
            for variable, gradient in zip(backbone.trainable_variables, gradients, strict=True):
                variable.assign(variable.value - gradient)

    # === Differences ===

    def other_preset(self):
        self.load("other" if self.number == 1 else "base")

    def missing_preset(self):
        self.load("missing" if self.number == 1 else "base")

    def other_argument(self):
        self.load("base", dtype="bfloat16" if self.number == 1 else "float32")

    def other_version(self):
        from importlib import metadata

        version = metadata.version
        if self.number == 1:
            metadata.version = lambda name: "9.9.9" if name == "vertebra" else version(name)
        try:
            self.load("base")
        finally:
            metadata.version = version

    def other_mesh(self):
        kind = type(self.mesh)
        if RUNTIME == "torch":
            import torch

            names = ("model",) if self.number else ("tensor",)
            mesh = torch.distributed.init_device_mesh("cpu", MESH, mesh_dim_names=names)
        else:
            mesh = kind(self.mesh.devices, ("model",) if self.number else ("tensor",))
        self.load("base", mesh)

    def other_adapter(self):
        self.load("base").load_lora_weights(FOLDER / ("two.safetensors" if self.number else "one.safetensors"))

    def other_base(self):
        self.load("base").load_lora_weights(FOLDER / ("of-other.safetensors" if self.number else "one.safetensors"))

    def other_target(self):
        self.backbone.save_to_preset(FOLDER / f"target-{self.number}", certificate=False)

    def full_disk(self):
        """The disk is full for the last process, once it has written a few parts."""
        self.failing(lambda: (_ for _ in ()).throw(OSError(28, "No space left on device")), COUNT - 1)
        self.backbone.save_to_preset(FOLDER / "kept", certificate=False)

    def save_again(self):
        self.backbone.save_to_preset(FOLDER / "again", certificate=False)

    # === Processes that are gone ===

    def killed_last(self):
        self.failing(lambda: os.kill(os.getpid(), signal.SIGKILL), COUNT - 1)
        self.backbone.save_to_preset(FOLDER / "kept", certificate=False)

    def killed_first(self):
        self.failing(lambda: os.kill(os.getpid(), signal.SIGKILL), 0)
        self.backbone.save_to_preset(FOLDER / "kept", certificate=False)

    def failing(self, fail, number):
        """Lets a process fail when it writes its parts for the third time."""
        write, calls = os.pwrite, []

        def failing(*arguments):
            calls.append(arguments)
            if len(calls) == 3:
                os.pwrite = write
                fail()
            return write(*arguments)

        if self.number == number:
            os.pwrite = failing


main()
