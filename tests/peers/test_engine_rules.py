"""`vertebra lora check --for peft` names the tensors that PEFT itself leaves out of adapters, and no others."""

import json

import pytest
import safetensors.numpy

from vertebra._lora.engines.check import check_adapter

pytestmark = pytest.mark.keras

GEMMA = {"model_type": "gemma", "vocab_size": 61, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2}
GEMMA |= {"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 4, "max_position_embeddings": 12}
INPUTS = {"token_ids": [[1, 2, 3]], "padding_mask": [[1, 1, 1]]}
PLAIN = {"r": 4, "lora_alpha": 8, "target_modules": ["q_proj", "v_proj"]}


@pytest.fixture(scope="module")
def base(transformers_peer, tmp_path_factory):
    folder = tmp_path_factory.mktemp("base") / "preset"
    transformers_peer("create", folder=str(folder), inputs=INPUTS, model="GemmaForCausalLM", config=GEMMA)
    return folder


@pytest.fixture
def adapter(transformers_peer, base, tmp_path):
    """Returns a function that lets PEFT write an adapter, and then changes its config and its tensors."""

    def make(settings, changes=(), tensors=()):
        folder = tmp_path / "adapter"
        arguments = {"inputs": INPUTS, "model": "AutoModelForCausalLM", "config": PLAIN | settings}
        transformers_peer("make_adapter", folder=str(base), adapter=str(folder), **arguments)
        path = folder / "adapter_config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | dict(changes)))
        file = folder / "adapter_model.safetensors"
        found = safetensors.numpy.load_file(file)
        first = next(iter(found.values()))
        safetensors.numpy.save_file(found | dict.fromkeys(tensors, first.copy()), file, {"format": "pt"})
        return folder

    return make


USED = {
    "plain": {},
    "every kind": {"target_modules": "all-linear", "bias": "all"},
    "DoRA": {"use_dora": True},
    "rsLoRA": {"use_rslora": True, "rank_pattern": {"q_proj": 2}, "alpha_pattern": {"v_proj": 3}},
    "a bias of the path": {"lora_bias": True},
    "a table": {"target_modules": ["q_proj", "embed_tokens"]},
    "a module in full": {"modules_to_save": ["down_proj"]},
    "rows": {"trainable_token_indices": [3, 5]},
    "an expression": {"target_modules": r".*layers\.1\..*(q|o)_proj"},
}
LAYER = "base_model.model.model.layers.0"
CHANGED = {
    "DoRA without the switch": ({"use_dora": True}, {"use_dora": False}, ()),
    "a bias without the switch": ({"lora_bias": True}, {"lora_bias": False}, ()),
    "rows without the field": ({"trainable_token_indices": [3]}, {"trainable_token_indices": None}, ()),
    "fewer targets": ({}, {"target_modules": ["q_proj"]}, ()),
    "an excluded target": ({}, {"exclude_modules": ["v_proj"]}, ()),
    "another expression": ({}, {"target_modules": r".*layers\.1\..*q_proj"}, ()),
    "one more module": ({}, {}, [f"{LAYER}.mlp.up_proj.lora_A.weight"]),
    "no prefix": ({}, {}, ["model.layers.0.mlp.up_proj.lora_A.weight"]),
}


@pytest.mark.parametrize("settings", USED.values(), ids=USED)
@pytest.mark.keras(once=True)
def test_all_tensors_of_an_adapter_as_peft_writes_it_are_used(settings, adapter, base, transformers_peer):
    folder = adapter(settings)
    facts = check_adapter(folder, "peft", str(base))
    found = transformers_peer("left_out", folder=str(base), adapter=str(folder), model="AutoModelForCausalLM")
    assert (facts["findings"], facts["used"], found) == ([], True, {"error": "", "names": []})


@pytest.mark.parametrize(("settings", "changes", "tensors"), CHANGED.values(), ids=CHANGED)
@pytest.mark.keras(once=True)
def test_the_tensors_that_peft_leaves_out_are_named(settings, changes, tensors, adapter, base, transformers_peer):
    folder = adapter(settings, changes, tensors)
    facts = check_adapter(folder, "peft")
    found = transformers_peer("left_out", folder=str(base), adapter=str(folder), model="AutoModelForCausalLM")
    names = {name.removesuffix(".weight") for name in found["names"]}
    assert {name.removesuffix(".weight") for name in facts["unused_tensors"]} == names != set()


@pytest.mark.keras(once=True)
def test_another_rank_is_refused(adapter, base, transformers_peer):
    folder = adapter({}, {"r": 3})
    assert check_adapter(folder, "peft")["refused"]
    found = transformers_peer("left_out", folder=str(base), adapter=str(folder), model="AutoModelForCausalLM")
    assert "size mismatch" in found["error"]
