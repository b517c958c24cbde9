"""The peer libraries, each in one child process for all tests, and helpers to compare outputs with them."""

import json
import os
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).parent
TOLERANCE = 1e-5
"""Largest absolute difference of float32 outputs, which are of the order of 1."""

SIZES = {"vocabulary_size": 61, "num_layers": 3, "hidden_dim": 16}
GEMMA = SIZES | {"num_query_heads": 4, "num_key_value_heads": 2, "head_dim": 4, "intermediate_dim": 48}
GEMMA3 = GEMMA | {"num_layers": 6, "intermediate_dim": 24, "sliding_window_size": 3}
GEMMA3 |= dict.fromkeys(("use_post_ffw_norm", "use_post_attention_norm", "use_sliding_window_attention"), True)
ENCODER = SIZES | {"num_heads": 2, "intermediate_dim": 24, "max_sequence_length": 12}
BACKBONES = {
    "roberta": ("RobertaBackbone", ENCODER),
    "xlm-roberta": ("XLMRobertaBackbone", ENCODER),
    "camembert": ("CamembertBackbone", ENCODER),
    "distilbert": ("DistilBertBackbone", ENCODER),
    "electra": ("ElectraBackbone", ENCODER | {"embedding_dim": 8}),
    "mpnet": ("MPNetBackbone", ENCODER),
    "modernbert": ("ModernBertBackbone", ENCODER | {"local_attention": 4}),
    "bert": ("BertBackbone", SIZES | {"num_heads": 2, "intermediate_dim": 24, "max_sequence_length": 12}),
    "gpt2": ("GPT2Backbone", SIZES | {"num_heads": 2, "intermediate_dim": 64, "max_sequence_length": 12}),
    "gemma": ("GemmaBackbone", GEMMA),
    "gemma2": (
        "GemmaBackbone",
        GEMMA
        | {"use_post_ffw_norm": True, "use_post_attention_norm": True, "use_sliding_window_attention": True}
        | {"sliding_window_size": 3, "attention_logit_soft_cap": 2.0, "final_logit_soft_cap": 1.5},
    ),
    "gemma3": ("Gemma3Backbone", GEMMA3),
    "embeddinggemma": ("Gemma3Backbone", GEMMA3 | {"use_bidirectional_attention": True}),
}
"""Class and constructor arguments of a tiny backbone, whose windows are shorter than the inputs."""
WITH_SEGMENTS = ("bert", "electra")
COUNTING = ("roberta", "xlm-roberta", "camembert", "mpnet")
"""Architectures that do not count tokens with the id of padding, 1; KerasHub counts them."""


class Peer:
    """A program of this folder in a child process; calling it calls a function in that process."""

    def __init__(self, python, program, backend):
        quiet = {"TF_CPP_MIN_LOG_LEVEL": "3", "HF_HUB_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "error"}
        self.process = subprocess.Popen(
            [python, str(HERE / program)],
            env=os.environ | quiet | {"KERAS_BACKEND": backend},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __call__(self, function, **arguments):
        print(json.dumps({"function": function, "arguments": arguments}), file=self.process.stdin, flush=True)
        line = self.process.stdout.readline()
        assert line, f"the peer ended with status {self.process.wait(10)}"
        answer = json.loads(line)
        assert "error" not in answer, answer["error"]
        return answer["result"]

    def close(self):
        self.process.kill()  # it has nothing to save, and TensorFlow exits slowly
        self.process.communicate()


@pytest.fixture(scope="session", autouse=True)
def peers_python():
    """The interpreter of an environment with the peers; without one, all tests of this folder are skipped."""
    python = os.environ.get("PEERS_PYTHON")
    if not python:
        pytest.skip("`make peers` runs these tests: PEERS_PYTHON names no interpreter with KerasHub and transformers")
    return python


@pytest.fixture(scope="session")
def transformers_peer(peers_python):
    """Calls functions of transformers_peer.py."""
    peer = Peer(peers_python, "transformers_peer.py", "torch")
    yield peer
    peer.close()


@pytest.fixture(scope="session")
def tokenizer_peer(peers_python):
    """Calls functions of tokenizer_peer.py."""
    peer = Peer(peers_python, "tokenizer_peer.py", "torch")
    yield peer
    peer.close()


@pytest.fixture(scope="session")
def generation_peer(peers_python):
    """Calls functions of generation_peer.py."""
    peer = Peer(peers_python, "generation_peer.py", "torch")
    yield peer
    peer.close()


@pytest.fixture(scope="session")
def kerashub_peer(peers_python, runtime):
    """Calls functions of kerashub_peer.py, on the runtime that is tested."""
    peer = Peer(peers_python, "kerashub_peer.py", runtime)
    yield peer
    peer.close()


@pytest.fixture
def folder(tmp_path):
    """The folder that a preset is written to."""
    return tmp_path / "preset"


@pytest.fixture(scope="session")
def tiny():
    """Returns KerasHub's class and constructor arguments for an architecture's tiny backbone."""

    def find(architecture):
        name, arguments = BACKBONES[architecture]
        if architecture == "electra":  # where KerasHub's argument has another name
            arguments = {"vocab_size": arguments["vocabulary_size"]} | arguments
            del arguments["vocabulary_size"]
        if name == "Gemma3Backbone":
            arguments = arguments | {"image_size": None}
        return name, arguments

    return find


@pytest.fixture(scope="session")
def inputs_of():
    """Returns inputs by the architecture's name: a full row, one padded at the end and one at the beginning."""

    def inputs(architecture):
        import numpy as np

        draws = np.random.default_rng(1)
        padding = np.ones((3, 9), "int32")
        padding[1, 6:] = padding[2, :2] = 0
        first = 2 if architecture in COUNTING else 0
        found = {"token_ids": draws.integers(first, 61, (3, 9), dtype="int32"), "padding_mask": padding}
        if architecture in WITH_SEGMENTS:
            found["segment_ids"] = draws.integers(0, 2, (3, 9), dtype="int32")
        return found

    return inputs


@pytest.fixture(scope="session")
def ask(inputs_of):
    """Calls a peer's function with a folder and the inputs of an architecture."""

    def call(peer, function, folder, architecture, **arguments):
        inputs = {name: array.tolist() for name, array in inputs_of(architecture).items()}
        return peer(function, folder=str(folder), inputs=inputs, **arguments)

    return call


@pytest.fixture(scope="session")
def compute(inputs_of):
    """Returns a backbone's outputs for the inputs of an architecture, as float32 arrays by name."""
    import keras

    def outputs(backbone, architecture):
        found = backbone(inputs_of(architecture), training=False)
        if not isinstance(found, dict):
            found = {"sequence_output": found, "logits": backbone.token_embedding(found, reverse=True)}
        return {name: keras.ops.convert_to_numpy(array) for name, array in found.items()}

    return outputs


@pytest.fixture(scope="session")
def build():
    """Builds a tiny backbone of an architecture, with random weights that bfloat16 holds, too."""
    import keras
    import numpy as np

    import vertebra

    def make(architecture, dtype="float32", **changes):
        name, arguments = BACKBONES[architecture]
        backbone = getattr(vertebra.models, name)(**arguments | changes, dtype=dtype)
        draws = np.random.default_rng(0)
        for variable in backbone.weights:
            start = 1 if variable.path.endswith("gamma") else 0
            values = (start + 0.2 * draws.standard_normal(variable.shape)).astype("float32")
            variable.assign(keras.ops.cast(keras.ops.cast(values, "bfloat16"), variable.dtype))
        return backbone

    return make


@pytest.fixture(scope="session")
def agree(inputs_of):
    """Asserts that outputs are equal at all positions that are not padding.

    The tolerance is a share of the largest value, and at least that of 1: processors differ in how they sum.
    Outputs that only one side has are not compared; the pooled output is that of the first token.
    """
    import numpy as np

    def check(ours, theirs, architecture, tolerance=TOLERANCE):
        valid = inputs_of(architecture)["padding_mask"] == 1
        assert "sequence_output" in ours.keys() & theirs.keys()
        for name in ours.keys() & theirs.keys():
            rows = valid[:, 0] if name == "pooled_output" else valid
            expected = np.array(theirs[name])[rows]
            assert np.abs(ours[name][rows] - expected).max() <= tolerance * max(1, np.abs(expected).max()), name

    return check
