"""transformers computes the same outputs from the same GGUF files."""

import keras
import numpy as np
import pytest

import gguf_writing
import vertebra
from vertebra.testing.backbones.inputs import disturb

pytestmark = pytest.mark.keras

TOLERANCE = 1e-5
LLAMA = {"num_query_heads": 4, "num_key_value_heads": 2, "hidden_dim": 64, "intermediate_dim": 96}
SIZES = {"vocabulary_size": 96, "num_layers": 4}
GEMMA2 = {"use_post_ffw_norm": True, "use_post_attention_norm": True, "use_sliding_window_attention": True}
GEMMA2 |= {"attention_logit_soft_cap": 50.0, "final_logit_soft_cap": 30.0, "sliding_window_size": 4, "head_dim": 16}
GPT2 = {"num_heads": 4, "hidden_dim": 64, "intermediate_dim": 256, "max_sequence_length": 32}
CASES = {
    "llama": ("Llama", LLAMA | {"tie_word_embeddings": False}, {}),
    "qwen2": ("Qwen2", LLAMA | {"tie_word_embeddings": True}, {}),
    "qwen3": ("Qwen3", LLAMA | {"tie_word_embeddings": True}, {"head_dim": 16}),
    "gemma2": ("Gemma", LLAMA | GEMMA2 | {"intermediate_dim": 192}, {"query_pre_attn_scalar": 16}),
    "gpt2": ("GPT2", GPT2, {"n_positions": 32}),
}
"""Class, arguments, and fields of the config that transformers 5.23 does not read from the file.

It has no weights of a Phi-3 in its names, and computes with random ones.
"""


@pytest.fixture(scope="module", autouse=True)
def _gguf():
    pytest.importorskip("gguf")


def tokens(writer):
    """Adds a vocabulary, of which transformers takes the size."""
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list([f"t{number}" for number in range(96)])
    writer.add_token_types([1] * 96)
    writer.add_token_merges(["t 1"])
    for role in ("bos", "eos", "pad"):
        getattr(writer, f"add_{role}_token_id")(0)


@pytest.mark.parametrize("kind", ["F32", "Q8_0"])
@pytest.mark.parametrize("name", CASES)
def test_outputs_are_those_of_transformers(transformers_peer, name, kind, tmp_path):
    owner, arguments, ignored = CASES[name]
    backbone = getattr(vertebra.models, f"{owner}Backbone")(**SIZES, **arguments)
    disturb(backbone.weights)
    backbone.save_to_preset(tmp_path / "saved", format="transformers", certificate=False)
    (tmp_path / "file").mkdir()
    path = tmp_path / "file" / "model.gguf"
    gguf_writing.Files().write(tmp_path / "saved", path, lambda _: kind, tokens, vocab_size=96)
    ids = np.random.default_rng(0).integers(1, 96, (2, 9), "int32")
    inputs = {"token_ids": ids, "padding_mask": np.ones_like(ids)}
    ours = keras.ops.convert_to_numpy(vertebra.Backbone.from_preset(path)(inputs))
    listed = {name: array.tolist() for name, array in inputs.items()}
    theirs = transformers_peer("load_gguf", folder=str(path.parent), file=path.name, inputs=listed, config=ignored)
    assert theirs["model_type"] == name
    assert np.abs(ours - np.array(theirs["outputs"]["sequence_output"])).max() <= TOLERANCE
