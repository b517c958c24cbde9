"""Tiny Gemmas, and the inputs that transformers and KerasHub computed reference outputs for."""

import math
from pathlib import Path

import numpy as np
import pytest

GOLDEN = Path(__file__).parents[2] / "golden"


@pytest.fixture(scope="session", params=["gemma", "gemma2"])
def golden(request):
    """Folder of the presets and outputs of one generation of Gemma."""
    return GOLDEN / request.param


@pytest.fixture(scope="session")
def io(golden):
    """Inputs of a reference model, and its float32 outputs, by name of the preset."""
    return dict(np.load(golden / "io.npz"))


@pytest.fixture(scope="session")
def inputs():
    """Token ids and a padding mask, each of shape (4, 9) and dtype int32; padding at the right, left and both ends."""
    ids = np.random.default_rng(1).integers(1, 101, (4, 9)).astype("int32")
    mask = np.ones((4, 9), "int32")
    mask[1, 6:] = mask[2, :4] = mask[3, [0, 8]] = 0
    return {"token_ids": ids, "padding_mask": mask}


@pytest.fixture(scope="session")
def arguments():
    """Constructor arguments of a tiny Gemma 1 with shared heads, whose width is not that of all its heads together."""
    return {
        "vocabulary_size": 101,
        "num_layers": 3,
        "num_query_heads": 4,
        "num_key_value_heads": 2,
        "hidden_dim": 16,
        "intermediate_dim": 48,
        "head_dim": 6,
    }


@pytest.fixture(scope="session")
def gemma2(arguments):
    """Constructor arguments of a tiny Gemma 2, with caps and a window that are felt."""
    return arguments | {
        "query_head_dim_normalize": False,
        "use_post_ffw_norm": True,
        "use_post_attention_norm": True,
        "attention_logit_soft_cap": 0.8,
        "final_logit_soft_cap": 3.0,
        "use_sliding_window_attention": True,
        "sliding_window_size": 3,
    }


@pytest.fixture(scope="session")
def run(inputs):
    """Calls a model for inference and returns its output as an array of float32."""
    import keras

    def call(model, inputs=inputs):
        return keras.ops.convert_to_numpy(keras.ops.cast(model(inputs, training=False), "float32"))

    return call


@pytest.fixture(scope="session")
def make(arguments, perturbed):
    """Builds a tiny Gemma whose scales and biases matter, too."""
    import vertebra

    return lambda **overrides: perturbed(vertebra.models.GemmaBackbone(**arguments | overrides))


@pytest.fixture(scope="session")
def gemma3(arguments):
    """Constructor arguments of a tiny Gemma 3 with layers of both types, and a window that is felt."""
    return arguments | {
        "layer_types": ["sliding_attention", "full_attention", "sliding_attention"],
        "use_post_ffw_norm": True,
        "use_post_attention_norm": True,
        "use_sliding_window_attention": True,
        "sliding_window_size": 3,
    }


@pytest.fixture(scope="session")
def make_gemma3(gemma3, perturbed):
    """Builds a tiny Gemma 3 whose scales and biases matter, too."""
    import vertebra

    return lambda **overrides: perturbed(vertebra.models.Gemma3Backbone(**gemma3 | overrides))


# === A second implementation ===


@pytest.fixture(scope="session")
def reference_of(values):
    """Returns the second implementation of a backbone, with its weights: a function of its inputs."""
    return lambda backbone: Reference(values(backbone), backbone.get_config())


_ACTIVATIONS = {
    "gelu": lambda x: x * (1 + np.vectorize(math.erf)(x / math.sqrt(2))) / 2,
    "gelu_approximate": lambda x: x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))) / 2,
    "relu": lambda x: np.maximum(x, 0),
    "silu": lambda x: x / (1 + np.exp(-x)),
    "tanh": np.tanh,
}


_SLIDES = "use_sliding_window_attention"


class Reference:
    """A Gemma in float64, as its papers describe it: one head and one pair of numbers at a time."""

    def __init__(self, weights, config):
        self.weights = {name: array.astype("float64") for name, array in weights.items()}
        self.config = config

    def __call__(self, inputs):
        x = self.weights["token_embedding/embeddings"][inputs["token_ids"]] * math.sqrt(self.config["hidden_dim"])
        for i in range(self.config["num_layers"]):
            sees = self.sees(i, inputs["padding_mask"])
            x = x + self.norm_if_used(
                self.attention(self.norm(x, f"decoder_block_{i}/pre_attention_norm"), f"decoder_block_{i}", sees, i),
                f"decoder_block_{i}/post_attention_norm",
            )
            x = x + self.norm_if_used(
                self.feedforward(self.norm(x, f"decoder_block_{i}/pre_ffw_norm"), f"decoder_block_{i}"),
                f"decoder_block_{i}/post_ffw_norm",
            )
        return self.norm(x, "final_normalization")

    def moved_by_rounding(self, inputs, valid, draws=5):
        """Returns how far the outputs move if every weight is off by half a unit of float32's last place, up or down:
        no implementation in float32 can promise more."""
        random, exact, moved = np.random.default_rng(0), self.weights, []
        expected = self(inputs)
        for _ in range(draws):
            self.weights = {
                name: array * (1 + random.choice([-1, 1], array.shape) * 2.0**-24) for name, array in exact.items()
            }
            moved.append(np.abs(self(inputs) - expected)[valid].max())
        self.weights = exact
        return max(moved)

    def norm(self, x, name):
        mean_square = (x**2).mean(-1, keepdims=True)
        scale = self.weights[f"{name}/scale"]
        return x / np.sqrt(mean_square + self.config["layer_norm_epsilon"]) * (1 + scale)

    def norm_if_used(self, x, name):
        return self.norm(x, name) if self.config[f"use_{name.rpartition('/')[2]}"] else x

    def dense(self, x, name):
        return x @ self.weights[f"{name}/kernel"] + self.weights.get(f"{name}/bias", 0)

    def feedforward(self, x, block):
        gate = _ACTIVATIONS[self.config["activation"]](self.dense(x, f"{block}/ffw_gating"))
        return self.dense(gate * self.dense(x, f"{block}/ffw_gating_2"), f"{block}/ffw_linear")

    def slides(self, layer):
        types, is_gemma3 = self.config["layer_types"], "use_query_key_norm" in self.config
        by_default = layer % 6 < 5 if is_gemma3 else layer % 2 == 0
        return types[layer] == "sliding_attention" if types else by_default and self.config[_SLIDES]

    def sees(self, layer, padding_mask):
        length = padding_mask.shape[1]
        i, j = np.arange(length)[:, None], np.arange(length)[None, :]
        window = self.config["sliding_window_size"] if self.slides(layer) else 2 * length
        if self.config.get("use_bidirectional_attention"):
            return (abs(i - j) <= window // 2) & (padding_mask[:, None, :] == 1)
        return (j <= i) & (i - j < window) & (padding_mask[:, None, :] == 1)

    def attention(self, x, block, sees, layer):
        heads, shared = self.config["num_query_heads"], self.config["num_key_value_heads"]
        query, key, value = (
            self.dense(x, f"{block}/attention/{name}").reshape(*x.shape[:2], -1, self.config["head_dim"])
            for name in ("query", "key", "value")
        )
        if self.config.get("use_query_key_norm"):
            query, key = (
                self.norm(query, f"{block}/attention/query_norm"),
                self.norm(key, f"{block}/attention/key_norm"),
            )
        query, key = self.rotate(query, layer), self.rotate(key, layer)
        mixed = np.zeros_like(query)
        for head in range(heads):
            source = head * shared // heads
            scores = np.einsum("bqd,bkd->bqk", query[:, :, head], key[:, :, source]) / math.sqrt(self.scalar())
            probabilities = np.where(sees, np.exp(self.cap(scores)), 0)
            probabilities /= np.maximum(probabilities.sum(-1, keepdims=True), 1e-300)
            mixed[:, :, head] = np.einsum("bqk,bkd->bqd", probabilities, value[:, :, source])
        return self.dense(mixed.reshape(*x.shape[:2], -1), f"{block}/attention/attention_output")

    def rotate(self, x, layer):
        which = "" if "rope_max_wavelength" in self.config else "local_" if self.slides(layer) else "global_"
        base, factor = (self.config[f"{which}rope_{name}"] for name in ("max_wavelength", "scaling_factor"))
        rotated, half = x.copy(), self.config["head_dim"] // 2
        for position in range(x.shape[1]):
            for pair in range(half):
                turn = np.exp(1j * position / factor / base ** (pair / half))
                turned = (x[:, position, :, pair] + 1j * x[:, position, :, pair + half]) * turn
                rotated[:, position, :, pair], rotated[:, position, :, pair + half] = turned.real, turned.imag
        return rotated

    def scalar(self):
        if self.config["query_pre_attention_scalar"] is not None:
            return self.config["query_pre_attention_scalar"]
        by_width = self.config["hidden_dim"] // self.config["num_query_heads"]
        return self.config["head_dim"] if self.config["query_head_dim_normalize"] else by_width

    def cap(self, scores):
        cap = self.config["attention_logit_soft_cap"]
        return scores if cap is None else cap * np.tanh(scores / cap)
