"""One job of one library, in a process of its own and in that library's environment.

usage: libraries.py LIBRARY RUNTIME MODEL write|first|only-load|load|reload FOLDER [DTYPE]

`write` saves the model with random weights. `first` prints a line when the first output, of 1×8 tokens, is computed:
the start of the process is for the caller to time. `only-load` prints, as JSON, what loading takes once the library and
its framework are imported; modules that it imports only then are part of it. `load` also prints the seconds to the
first output, of 1×8 tokens, and `reload` those of a second load, which finds nothing left to import.

The environment variable BENCHMARK_DEVICE is the device of transformers' models, `cpu` without it; Vertebra and KerasHub
take the GPU that their framework sees.
"""

import json
import mmap
import os
import sys
import time
from pathlib import Path

from models import Model, model_of
from usage import measured

TOKENS = [[1, 2, 3, 4, 5, 6, 7, 8]]
DEVICE = os.environ.get("BENCHMARK_DEVICE", "cpu")


class Vertebra:
    def __init__(self, runtime: str, model: Model) -> None:
        import vertebra

        vertebra.use(runtime)
        self.models, self.model = vertebra.models, model
        self.base = vertebra.Backbone

    def write(self, folder: str, options: dict) -> None:
        getattr(self.models, self.model.backbone)(**self.model.arguments, **options).save_to_preset(folder)

    def load(self, folder: str, options: dict):
        backbone = self.base.from_preset(folder, **options)
        wait_for([variable.value for variable in backbone.variables])
        return backbone

    def run(self, backbone) -> None:
        import numpy as np

        tokens = np.array(TOKENS, "int32")
        values = {"token_ids": tokens, "padding_mask": np.ones_like(tokens), "segment_ids": np.zeros_like(tokens)}
        complete(backbone, {name: values[name] for name in backbone.input})


class KerasHub(Vertebra):
    def __init__(self, runtime: str, model: Model) -> None:
        os.environ["KERAS_BACKEND"] = runtime
        os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
        import keras_hub

        self.models, self.model = keras_hub.models, model
        self.base = keras_hub.models.Backbone


class Transformers:
    def __init__(self, runtime: str, model: Model) -> None:
        os.environ["HF_HUB_OFFLINE"] = "1"
        import transformers

        transformers.logging.disable_progress_bar()
        self.library, self.model = transformers, model
        self.base = transformers.AutoModel

    def write(self, folder: str, options: dict) -> None:
        import torch

        config = getattr(self.library, f"{self.model.architecture}Config")(**self.model.fields)
        model = getattr(self.library, f"{self.model.architecture}Model")(config)
        model.to(getattr(torch, options.get("dtype", "float32"))).save_pretrained(folder)

    def load(self, folder: str, options: dict):
        model = self.base.from_pretrained(folder, **options).to(DEVICE)
        wait_for([])
        return model

    def run(self, model) -> None:
        import torch

        with torch.inference_mode():
            model(torch.tensor(TOKENS, device=DEVICE))
        wait_for([])


class Views:
    """The limit of a load: the files are mapped, and each tensor becomes an array that views its bytes."""

    def __init__(self, _runtime: str, _model: Model) -> None:
        import numpy as np

        self.numpy = np

    def load(self, folder: str, _options: dict) -> dict:
        return {name: view for path in Path(folder).glob("model*.safetensors") for name, view in self.views(path)}

    def views(self, path: Path):
        with path.open("rb") as file:
            mapped = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        end = 8 + int.from_bytes(mapped[:8], "little")
        header = json.loads(bytes(mapped[8:end]))
        header.pop("__metadata__", None)
        for name, tensor in header.items():
            first, last = (end + offset for offset in tensor["data_offsets"])
            dtype = {"F32": "float32", "BF16": "uint16"}[tensor["dtype"]]
            yield name, self.numpy.frombuffer(mapped[first:last], dtype).reshape(tensor["shape"])

    def run(self, _views: dict) -> None:
        """Computes nothing."""


LIBRARIES = {"vertebra": Vertebra, "kerashub": KerasHub, "transformers": Transformers, "views": Views}


def complete(forward, inputs) -> None:
    """Calls a model, and waits for its outputs."""
    outputs = forward(inputs)
    wait_for(outputs.values() if isinstance(outputs, dict) else [outputs])


def wait_for(tensors) -> None:
    """JAX and CUDA compute while the program goes on: what is not done yet is neither time nor memory so far."""
    for tensor in tensors:
        getattr(tensor, "block_until_ready", bool)()
    torch = sys.modules.get("torch")
    if torch and torch.cuda.is_available():
        torch.cuda.synchronize()


def seconds(function, *arguments) -> float:
    start = time.perf_counter()
    function(*arguments)
    return time.perf_counter() - start


def main() -> None:
    library, runtime, model, action, folder, *dtype = sys.argv[1:]
    options = {"dtype": dtype[0]} if dtype else {}
    chosen = LIBRARIES[library](runtime, model_of(model))
    if action == "write":
        chosen.write(folder, options)
        return
    if action == "first":
        chosen.run(chosen.load(folder, options))
        print("{}", flush=True)
        return
    with measured() as figures:
        loaded = chosen.load(folder, options)
    if action != "only-load":
        figures["first_output"] = figures["seconds"] + seconds(chosen.run, loaded)
    if action == "reload":
        figures["again"] = seconds(chosen.load, folder, options)
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
