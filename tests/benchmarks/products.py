"""The limit of a machine: the products with the weights of a model's dense layers alone, some for each line on stdin.

usage: products.py RUNTIME DTYPE FOLDER

FOLDER is a native preset, whose weights say the sizes; the values are random. A line is `KERNEL BATCH LENGTH CALLS`;
its answer is the median of the seconds of at most that many passes in a row, or null if the machine has no such kernel.
Kernels are `linear`, oneDNN's `packed`, and `widened` on torch, which widens weights and rows to float32 in each pass,
and `matmul` on JAX. `copy` copies the weights to torch's device.
"""

import json
import os
import struct
import sys
from pathlib import Path

from libraries import wait_for
from measure import seconds_in_a_row

POOLER = "pooled_dense/"
"""The layer that gets one row for each text, not one for each token."""


class TorchKernels:
    """Products on torch.

    Args:
        sizes: Inputs and outputs of each layer, and whether it gets a row for each token.
        dtype: The dtype of weights and rows.
    """

    def __init__(self, sizes: list, dtype: str) -> None:
        import torch

        self.torch, self.dtype = torch, getattr(torch, dtype)
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.weights = [(self.random(outputs, inputs) / inputs**0.5, each) for inputs, outputs, each in sizes]
        self.kernels = {"linear": self.linear, "packed": self.packed, "widened": self.widened, "copy": self.copy}

    def random(self, *shape: int):
        return self.torch.randn(*shape, device=self.device).to(self.dtype)

    def linear(self, batch: int, length: int):
        return self.passing([(weight, weight, each) for weight, each in self.weights], batch, length, self.product)

    def packed(self, batch: int, length: int):
        operators = self.torch.ops.mkldnn
        rows = batch * length

        def product(inputs, weight):
            return operators._linear_pointwise(inputs, weight, None, "none", [], "")

        laid_out = [
            (weight, operators._reorder_linear_weight(weight, rows if each else batch), each)
            for weight, each in self.weights
        ]
        return self.passing(laid_out, batch, length, product)

    def widened(self, batch: int, length: int):
        def product(inputs, weight):
            return self.product(inputs.float(), weight.float()).to(self.dtype)

        return self.passing([(weight, weight, each) for weight, each in self.weights], batch, length, product)

    def copy(self, _batch: int, _length: int):
        host = [weight.cpu() for weight, _ in self.weights]

        def run() -> None:
            for weight in host:
                weight.to(self.device)
            wait_for([])

        return run

    def product(self, inputs, weight):
        return self.torch.nn.functional.linear(inputs, weight)

    def passing(self, weights: list, batch: int, length: int, product):
        counts = {True: batch * length, False: batch}
        widths = {(each, weight.shape[1]) for weight, _, each in weights}
        rows = {(each, width): self.random(counts[each], width) for each, width in widths}
        products = [(rows[each, weight.shape[1]], laid_out) for weight, laid_out, each in weights]

        def run() -> None:
            with self.torch.inference_mode():
                for inputs, weight in products:
                    product(inputs, weight)
            wait_for([])

        return run


class JaxKernels:
    """The same on JAX, in one compiled function."""

    def __init__(self, sizes: list, dtype: str) -> None:
        import jax
        import numpy as np

        random = np.random.default_rng(0)
        self.jax, self.dtype, self.each = jax, dtype, [each for *_, each in sizes]
        self.weights = [
            jax.numpy.asarray(random.normal(size=(inputs, outputs)) / inputs**0.5, dtype)
            for inputs, outputs, _ in sizes
        ]
        self.kernels = {"matmul": self.matmul}

    def matmul(self, batch: int, length: int):
        counts = {True: batch * length, False: batch}
        rows = {
            f"{each} {weight.shape[0]}": self.jax.numpy.ones((counts[each], weight.shape[0]), self.dtype)
            for weight, each in zip(self.weights, self.each, strict=True)
        }
        compiled = self.jax.jit(self.products)
        return lambda: wait_for(compiled(rows, self.weights))

    def products(self, rows: dict, weights: list) -> list:
        return [rows[f"{each} {weight.shape[0]}"] @ weight for weight, each in zip(weights, self.each, strict=True)]


KERNELS = {"torch": TorchKernels, "jax": JaxKernels}


def layer_sizes(folder: Path) -> list[tuple[int, int, bool]]:
    """Returns inputs and outputs of each dense layer of a native preset, and whether it gets a row for each token."""
    with (folder / "model.safetensors").open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(length))
    shapes = {name: tensor["shape"] for name, tensor in header.items() if name.endswith("/kernel")}
    return [(*shape, not name.startswith(POOLER)) for name, shape in shapes.items()]


def operations(sizes: list[tuple[int, int, bool]], batch: int, length: int) -> int:
    """Returns the number of multiplications and additions of a pass."""
    return sum(2 * inputs * outputs * (batch * length if each else batch) for inputs, outputs, each in sizes)


def main() -> None:
    runtime, dtype, folder = sys.argv[1:]
    os.environ["KERAS_BACKEND"] = runtime
    chosen = KERNELS[runtime](layer_sizes(Path(folder)), dtype)
    passes: dict = {}
    for line in sys.stdin:
        kernel, *numbers = line.split()
        batch, length, calls = map(int, numbers)
        if (kernel, batch, length) not in passes:
            passes = {name: known for name, known in passes.items() if name[1:] == (batch, length)}  # frees the others
            try:
                passes[kernel, batch, length] = chosen.kernels[kernel](batch, length)
                passes[kernel, batch, length]()
            except (RuntimeError, AttributeError):  # oneDNN packs no bfloat16 for a processor without its products
                passes[kernel, batch, length] = None
        run = passes[kernel, batch, length]
        print(json.dumps(run and seconds_in_a_row(run, calls)), flush=True)


if __name__ == "__main__":
    main()
