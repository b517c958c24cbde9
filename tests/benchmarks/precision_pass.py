"""Forward passes of one preset in several precisions, in one process; what it prints, as JSON, is what they took.

usage: precision_pass.py RUNTIME MODEL TURNS FOLDER

`seconds` has the times of the compiled functions, by shape and precision, one of each turn; `errors` the root mean
square of the differences from float32, over that of float32 itself; `weights` the bytes of the weights.
"""

import json
import sys
import warnings
from functools import partial

from forward_pass import inputs_of
from libraries import Vertebra, complete
from measure import in_turn, seconds_in_a_row
from models import model_of

SHAPES = {(1, 8): 5, (1, 128): 3, (8, 128): 1}
"""For each number of texts and of tokens, the most calls in a row that are a turn."""


def backbones(vertebra: Vertebra, folder: str) -> dict:
    """Returns the backbone in each precision; int8 are its dense layers and embeddings, as Keras quantises them."""
    found = {dtype: vertebra.load(folder, {"dtype": dtype}) for dtype in ("float32", "bfloat16")}
    found["int8"] = vertebra.load(folder, {})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Keras names the layers that have nothing to quantise
        found["int8"].quantize("int8")
    return found


def hidden_states(outputs):
    import keras

    states = outputs["sequence_output"] if isinstance(outputs, dict) else outputs
    return keras.ops.convert_to_numpy(keras.ops.cast(states, "float32"))


def error(states, exact) -> float:
    return float(((states - exact) ** 2).mean() ** 0.5 / (exact**2).mean() ** 0.5)


def stored_bytes(backbone) -> int:
    return sum(weight.value.nbytes for weight in backbone.weights)


def main() -> None:
    import vertebra

    runtime, model, turns, folder = sys.argv[1:]
    loaded = backbones(Vertebra(runtime, model_of(model)), folder)
    compiled = {precision: vertebra.compile(backbone) for precision, backbone in loaded.items()}
    found: dict = {"seconds": {}, "errors": {}, "weights": {name: stored_bytes(one) for name, one in loaded.items()}}
    for (batch, length), calls in SHAPES.items():
        shape, values = f"{batch}×{length}", inputs_of(loaded["float32"], batch, length)
        states = {precision: hidden_states(function(values)) for precision, function in compiled.items()}
        asks = {
            name: partial(seconds_in_a_row, partial(complete, one, values), calls) for name, one in compiled.items()
        }
        found["errors"][shape] = {name: error(one, states["float32"]) for name, one in states.items()}
        found["seconds"][shape] = in_turn(int(turns), **asks)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
