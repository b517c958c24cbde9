"""Forward passes of one library in one process, some for each line on stdin.

usage: forward_pass.py LIBRARY RUNTIME MODEL DTYPE FOLDER

A line is `WAY BATCH LENGTH CALLS`; its answer is the median of the seconds of at most that many calls in a row. Ways
are `eager`, `compiled` and `packed` of Vertebra, `jitted` of KerasHub, and `eager` of transformers. A way is compiled
for a shape at its first call.
"""

import json
import sys
from functools import partial

from libraries import DEVICE, KerasHub, Transformers, Vertebra, complete
from measure import seconds_in_a_row
from models import model_of


class VertebraPasses(Vertebra):
    def ways(self, folder: str, dtype: str) -> dict:
        import vertebra

        self.backbone = self.load(folder, {"dtype": dtype})
        # Two compiled functions, as one shares its graphs with the packed one that is made from it.
        return {
            "eager": self.eager,
            "compiled": vertebra.compile(self.backbone),
            "packed": vertebra.compile(self.backbone).packed(),
        }

    def eager(self, inputs):
        import contextlib

        import keras

        without_graph = contextlib.nullcontext
        if keras.config.backend() == "torch":
            from torch import no_grad as without_graph
        with without_graph():
            return self.backbone(inputs, training=False)

    def inputs(self, batch: int, length: int) -> dict:
        import keras

        return keras.tree.map_structure(keras.ops.convert_to_tensor, inputs_of(self.backbone, batch, length))


class KerasHubPasses(KerasHub, VertebraPasses):
    def ways(self, folder: str, dtype: str) -> dict:
        import jax

        backbone = self.backbone = self.load(folder, {"dtype": dtype})
        values = [
            [variable.value for variable in variables]
            for variables in (backbone.trainable_variables, backbone.non_trainable_variables)
        ]
        forward = jax.jit(lambda values, inputs: backbone.stateless_call(*values, inputs, training=False)[0])
        return {"jitted": lambda inputs: forward(values, inputs)}


class TransformersPasses(Transformers):
    def ways(self, folder: str, dtype: str) -> dict:
        self.loaded = self.load(folder, {"dtype": dtype}).eval()
        return {"eager": self.eager}

    def eager(self, inputs):
        import torch

        with torch.inference_mode():
            return self.loaded(**inputs)

    def inputs(self, batch: int, length: int) -> dict:
        import torch

        tokens = torch.from_numpy(token_ids(self.loaded.config.vocab_size, batch, length)).long().to(DEVICE)
        return {"input_ids": tokens, "attention_mask": torch.ones_like(tokens)}


LIBRARIES = {"vertebra": VertebraPasses, "kerashub": KerasHubPasses, "transformers": TransformersPasses}


def inputs_of(backbone, batch: int, length: int) -> dict:
    """Returns arrays of random tokens without padding, by the names of a backbone's inputs."""
    import numpy as np

    tokens = token_ids(backbone.vocabulary_size, batch, length)
    values = {"token_ids": tokens, "padding_mask": np.ones_like(tokens), "segment_ids": np.zeros_like(tokens)}
    return {name: values[name] for name in backbone.input}


def token_ids(vocabulary_size: int, batch: int, length: int):
    import numpy as np

    return np.random.default_rng(0).integers(0, vocabulary_size, (batch, length)).astype("int32")


def main() -> None:
    library, runtime, model, dtype, folder = sys.argv[1:]
    chosen = LIBRARIES[library](runtime, model_of(model))
    ways = chosen.ways(folder, dtype)
    inputs: dict = {}
    for line in sys.stdin:
        way, *numbers = line.split()
        batch, length, calls = map(int, numbers)
        if (batch, length) not in inputs:
            inputs[batch, length] = chosen.inputs(batch, length)
        forward = partial(complete, ways[way], inputs[batch, length])
        print(json.dumps(seconds_in_a_row(forward, calls)), flush=True)


if __name__ == "__main__":
    main()
