"""`vertebra plan --generate` says what a session allocates, to the byte, from the headers of the files."""

import json
import subprocess
import sys

import keras
import numpy as np
import pytest

import vertebra
from byte_tokenizer import SIZE
from checked_json import check
from vertebra._presets.cache_plan import Lengths
from vertebra._presets.plan import plan_preset
from vertebra_generation.decoding.session import Session
from vertebra_generation.decoding.steps import Steps

pytestmark = pytest.mark.keras

GEMMA = {
    "vocabulary_size": SIZE,
    "num_layers": 2,
    "num_query_heads": 2,
    "num_key_value_heads": 1,
    "hidden_dim": 8,
    "intermediate_dim": 8,
    "head_dim": 4,
    "sliding_window_size": 24,
}
BACKBONES = {
    "GPT2Backbone": {
        "vocabulary_size": SIZE,
        "num_layers": 2,
        "num_heads": 2,
        "hidden_dim": 8,
        "intermediate_dim": 8,
        "max_sequence_length": 1024,
    },
    "GemmaBackbone": GEMMA | {"use_sliding_window_attention": True},
    "Gemma3Backbone": GEMMA | {"use_post_ffw_norm": True, "use_post_attention_norm": True},
}


def allocated(task, rows, prompt, new):
    """Returns the bytes of a session's cache after the last step, and the positions of a sequence in it."""
    session = Session(Steps(task), [[1] * prompt] * rows, new)
    session.start()
    for _ in range(new - 1):
        session.advance(np.ones(rows, "int32"))
    return sum(tensor.nbytes for tensors in session._cache for tensor in tensors), session._layout.capacity


def model(name):
    if not hasattr(vertebra.models, name):
        pytest.skip("the architecture is not installed")
    return vertebra.models.CausalLM(getattr(vertebra.models, name)(**BACKBONES[name]))


@pytest.mark.parametrize(
    ("name", "rows", "prompt", "new"),
    [
        ("GPT2Backbone", 1, 5, 3),
        ("GPT2Backbone", 2, 60, 300),  # the cache grows
        ("GemmaBackbone", 3, 30, 60),
        ("Gemma3Backbone", 2, 70, 12),
    ],
)
def test_a_plan_equals_what_is_allocated(name, runtime, tmp_path, rows, prompt, new):
    task = model(name)
    task.save_to_preset(tmp_path / "preset", certificate=False)
    lengths = Lengths(rows, prompt, new)
    plan = plan_preset(str(tmp_path / "preset"), lengths=lengths)
    assert (plan.cache.bytes, plan.cache.slots) == allocated(task, rows, prompt, new)
    assert plan_preset(str(tmp_path / "preset"), runtime=runtime, lengths=lengths).cache == plan.cache
    assert (plan.cache.rows, plan.cache.prompt_tokens, plan.cache.new_tokens) == (rows, prompt, new)


@pytest.mark.parametrize("dtype", ["bfloat16", "mixed_bfloat16"])
def test_keys_and_values_have_the_dtype_in_which_is_computed(dtype, tmp_path):
    policy = keras.dtype_policies.get(dtype)
    task = vertebra.models.CausalLM(vertebra.models.GPT2Backbone(**BACKBONES["GPT2Backbone"], dtype=policy))
    task.save_to_preset(tmp_path / "preset", certificate=False)
    plan = plan_preset(str(tmp_path / "preset"), dtype, lengths=Lengths(2, 9, 4))
    assert plan.cache.bytes == allocated(task, 2, 9, 4)[0]


@pytest.mark.keras(once=True)
@pytest.mark.parametrize("name", ["GPT2Backbone", "Gemma3Backbone"])
def test_the_headers_of_a_checkpoint_of_transformers_are_enough(name, tmp_path):
    task = model(name)
    task.save_to_preset(tmp_path / "preset", format="transformers", certificate=False)
    command = [sys.executable, "-c", CODE, str(tmp_path / "preset")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    check("plan", json.loads(done.stdout), closed=True)
    planned = json.loads(done.stdout)["cache"]
    assert (planned["bytes"], planned["slots"]) == allocated(task, 1, 16, 8)
    assert done.stderr == "[]\n"


CODE = """
import sys
from vertebra.cli import main
main(["plan", sys.argv[1], "--generate", "--prompt-tokens", "16", "--new-tokens", "8", "--json"])
print(sorted({"keras", "torch", "jax"} & set(sys.modules)), file=sys.stderr)
"""
