"""LoRA training of one library in one process, a step for each line on stdin.

usage: train.py LIBRARY RUNTIME MODEL keras|torch FOLDER [DTYPE]

Prints the seconds of each step; at the end, as JSON, the memory of everything since the library was imported and how
many parameters were trained. The loop is Keras's `train_on_batch`, or a plain one in torch. Adapters are of rank 8, on
query and value; the loss is the mean square of the hidden states.
"""

import json
import math
import sys

from libraries import DEVICE, KerasHub, Transformers, Vertebra, seconds, wait_for
from models import model_of
from usage import measured, peak_rss_mb

RANK, RATE, SHAPE = 8, 1e-4, (4, 128)


def main() -> None:
    library, runtime, model, loop, folder, *dtype = sys.argv[1:]
    chosen = LOADERS[library](runtime, model_of(model))
    with measured() as figures:
        step, figures["trained"] = LOOPS[library, loop](chosen.load(folder, {"dtype": dtype[0]} if dtype else {}))
        for _ in sys.stdin:
            print(seconds(step), flush=True)
    print(json.dumps(figures | {"peak_mb": peak_rss_mb(), "gpu_mb": peak_gpu_mb()}))


def keras_loop(backbone):
    """Returns a step of Keras's trainer, and the number of parameters that it trains."""
    import keras
    import numpy as np

    backbone.enable_lora(RANK)
    output = hidden_states(backbone.output)
    model = keras.Model(backbone.inputs, output)
    model.compile(optimizer=keras.optimizers.Adam(RATE), loss="mse")
    inputs, zeros = backbone_inputs(backbone), np.zeros((*SHAPE, output.shape[-1]), "float32")
    return lambda: model.train_on_batch(inputs, zeros), count(model.trainable_variables)


def vertebra_in_torch(backbone):
    """Returns a step of a loop in torch, and the number of parameters that it trains."""
    import torch

    backbone.enable_lora(RANK)
    inputs = {name: torch.from_numpy(values).to(DEVICE) for name, values in backbone_inputs(backbone).items()}
    return torch_loop(backbone.parameters(), lambda: hidden_states(backbone(inputs, training=True)))


def peft_in_torch(model):
    """Returns the same for a model of transformers."""
    import torch
    from peft import LoraConfig, get_peft_model

    targets, fan_in_fan_out = PEFT_TARGETS[model.config.model_type]
    config = LoraConfig(r=RANK, target_modules=targets, fan_in_fan_out=fan_in_fan_out)
    adapted = get_peft_model(model, config).train()
    tokens = torch.from_numpy(token_ids(model.config.vocab_size)).long().to(DEVICE)
    inputs = {"input_ids": tokens, "attention_mask": torch.ones_like(tokens)}
    return torch_loop(adapted.parameters(), lambda: adapted(**inputs).last_hidden_state)


def torch_loop(parameters, forward):
    import torch

    trained = [parameter for parameter in parameters if parameter.requires_grad]
    optimiser = torch.optim.Adam(trained, RATE)

    def step() -> None:
        optimiser.zero_grad()
        (forward() ** 2).mean().backward()
        optimiser.step()
        wait_for([])

    return step, count(trained)


def peak_gpu_mb() -> float:
    """Returns the peak of the memory that torch took on a GPU."""
    torch = sys.modules.get("torch")
    return torch.cuda.max_memory_allocated() / 2**20 if torch and torch.cuda.is_available() else 0


def hidden_states(outputs):
    return outputs["sequence_output"] if isinstance(outputs, dict) else outputs


def backbone_inputs(backbone):
    import numpy as np

    tokens = token_ids(backbone.vocabulary_size)
    values = {"token_ids": tokens, "padding_mask": np.ones_like(tokens), "segment_ids": np.zeros_like(tokens)}
    return {name: values[name] for name in backbone.input}


def token_ids(vocabulary_size: int):
    import numpy as np

    return np.random.default_rng(0).integers(0, vocabulary_size, SHAPE).astype("int32")


def count(parameters) -> int:
    return sum(math.prod(parameter.shape) for parameter in parameters)


LOADERS = {"vertebra": Vertebra, "kerashub": KerasHub, "peft": Transformers}
LOOPS = {
    ("vertebra", "keras"): keras_loop,
    ("vertebra", "torch"): vertebra_in_torch,
    ("kerashub", "keras"): keras_loop,
    ("peft", "torch"): peft_in_torch,
}
PEFT_TARGETS = {
    "bert": (["query", "value"], False),
    "gpt2": (["c_attn"], True),  # one layer for query, key and value, whose kernel is stored the other way round
    "gemma": (["q_proj", "v_proj"], False),
}

if __name__ == "__main__":
    main()
