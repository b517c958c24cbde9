"""A backbone that a format cannot represent is refused by argument name before any file is written."""

import pytest

from vertebra.errors import FormatLimitError

pytestmark = pytest.mark.keras

KERASHUB = [
    ("bert", {"activation": "gelu"}),
    ("bert", {"layer_norm_epsilon": 1e-5}),
    ("bert", {"attention_dropout": 0.5}),
    ("bert", {"pooler": False}),
    ("bert", {"embedding_dim": 8}),
    ("electra", {"pooler": False}),
    ("electra", {"activation": "gelu"}),
    ("roberta", {"activation": "relu"}),
    ("roberta", {"layer_norm_epsilon": 1e-12}),
    ("roberta", {"attention_dropout": 0.5}),
    ("roberta", {"num_segments": 2}),
    ("roberta", {"pad_token_id": 0}),
    ("roberta", {"pooler": True}),
    ("distilbert", {"activation": "gelu_approximate"}),
    ("distilbert", {"attention_dropout": 0.5}),
    ("gpt2", {"activation": "relu"}),
    ("gpt2", {"layer_norm_epsilon": 1e-6}),
    ("gpt2", {"attention_dropout": 0.5}),
    ("gpt2", {"embedding_dropout": 0.5}),
    ("gpt2", {"scale_attention": False}),
    ("gpt2", {"scale_attention_by_inverse_layer_index": True}),
    ("gemma", {"activation": "gelu"}),
    ("gemma", {"attention_bias": True}),
    ("gemma", {"attention_dropout": 0.5}),
    ("gemma", {"rope_max_wavelength": 100.0}),
    ("gemma", {"rope_scaling_factor": 2.0}),
    ("gemma", {"query_pre_attention_scalar": 9}),
    ("gemma", {"layer_norm_epsilon": 0.1}),
    ("gemma", {"query_head_dim_normalize": False, "head_dim": 6}),
    ("gemma2", {"layer_types": ["full_attention", "sliding_attention", "full_attention"]}),
    ("gemma3", {"activation": "gelu"}),
    ("gemma3", {"local_rope_max_wavelength": 100.0}),
    ("gemma3", {"global_rope_max_wavelength": 100.0}),
    ("gemma3", {"layer_types": ["full_attention", *["sliding_attention"] * 5]}),
]
TRANSFORMERS = [
    ("bert", {"embedding_dim": 8}),
    ("electra", {"pooler": True}),
    ("gemma", {"dropout": 0.5}),
    ("gemma", {"use_post_ffw_norm": True}),
    ("gemma2", {"use_post_ffw_norm": False}),
    ("gemma2", {"query_pre_attention_scalar": 4.5}),
    ("gemma2", {"num_query_heads": 3, "num_key_value_heads": 1}),
    ("gemma3", {"attention_logit_soft_cap": 2.0}),
    ("gemma3", {"use_query_key_norm": False}),
    ("gemma3", {"use_post_ffw_norm": False}),
]
CASES = [("kerashub", *case) for case in KERASHUB] + [("transformers", *case) for case in TRANSFORMERS]


@pytest.mark.parametrize(("format", "architecture", "changes"), CASES, ids=str)
def test_what_cannot_be_said_is_refused_by_name(format, architecture, changes, build, folder):
    folder.parent.joinpath("else").mkdir()
    with pytest.raises(FormatLimitError) as caught:
        build(architecture, **changes).save_to_preset(folder, format=format)
    argument = next(iter(changes))
    assert (caught.value.format, caught.value.argument, caught.value.value) == (format, argument, changes[argument])
    assert [path.name for path in folder.parent.iterdir()] == ["else"]


@pytest.mark.parametrize(("format", "changes"), [("kerashub", {"activation": "relu"}), ("transformers", {})], ids=str)
def test_what_stood_there_stays(format, changes, build, folder, digest):
    build("bert").save_to_preset(folder)
    before = digest(folder)
    backbone = build("bert", **changes)
    backbone.enable_lora(2)
    with pytest.raises(FormatLimitError):
        backbone.save_to_preset(folder, format=format)
    assert digest(folder) == before
