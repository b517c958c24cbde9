"""Presets written by transformers and KerasHub compute the same in Vertebra, or are refused by argument name."""

import pytest

import vertebra
from vertebra import activations
from vertebra.errors import PresetConfigError

pytestmark = pytest.mark.keras

SIZES = {"vocab_size": 61, "num_hidden_layers": 3, "hidden_size": 16, "max_position_embeddings": 12}
GEMMA = SIZES | {"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 4, "intermediate_size": 24}
CAPS = {"attn_logit_softcapping": 2.0, "final_logit_softcapping": 1.5, "attn_implementation": "eager"}
GEMMA2 = GEMMA | CAPS | {"sliding_window": 3, "query_pre_attn_scalar": 4}
GEMMA3 = GEMMA | {"sliding_window": 3, "sliding_window_pattern": 3, "query_pre_attn_scalar": 4}
VISION = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
VISION |= {"image_size": 28, "patch_size": 14}
CONFIGS = {
    **dict.fromkeys(
        ("roberta", "xlm-roberta", "camembert"),
        SIZES | {"num_attention_heads": 2, "intermediate_size": 24, "type_vocab_size": 1},
    ),
    "distilbert": {"vocab_size": 61, "n_layers": 3, "n_heads": 2, "dim": 16, "hidden_dim": 24}
    | {"max_position_embeddings": 12},
    "modernbert": SIZES
    | {"num_attention_heads": 2, "intermediate_size": 24, "local_attention": 4}
    | dict.fromkeys(("pad_token_id", "bos_token_id", "eos_token_id", "cls_token_id", "sep_token_id"), 1),
    "electra": SIZES | {"num_attention_heads": 2, "intermediate_size": 24, "embedding_size": 8},
    "mpnet": SIZES | {"num_attention_heads": 2, "intermediate_size": 24},
    "bert": SIZES | {"num_attention_heads": 2, "intermediate_size": 24},
    "gpt2": SIZES | {"num_attention_heads": 2, "bos_token_id": 1, "eos_token_id": 2},
    "gemma": GEMMA,
    "gemma2": GEMMA2,
    "vaultgemma": GEMMA2,
    "gemma3_text": GEMMA3,
    "gemma3": {"text_config": GEMMA3, "vision_config": VISION, "mm_tokens_per_image": 4},
}
"""Configs of tiny models, by model type."""

ROPE = {"rope_type": "linear", "rope_theta": 100.0, "factor": 4.0}
ROPES = {kind: {"rope_type": "default", "rope_theta": theta} for kind, theta in (("full_attention", 90.0),)}
ROPE_BY_TYPE = {"full_attention": ROPE, "sliding_attention": {"rope_type": "linear", "rope_theta": 9.0, "factor": 2.0}}
BOTH_WAYS = {"use_bidirectional_attention": True}
PATTERN = ["full_attention", "full_attention", "sliding_attention"]
TRANSFORMERS = [
    ("bert", "BertModel", {}),
    ("bert", "BertModel", {"layer_norm_eps": 0.1, "type_vocab_size": 3, "num_attention_heads": 4}),
    ("bert", "BertForPreTraining", {}),
    ("bert", "BertForSequenceClassification", {"num_labels": 3}),
    ("roberta", "RobertaModel", {}),
    ("roberta", "RobertaModel", {"layer_norm_eps": 0.1, "pad_token_id": 0, "num_attention_heads": 4}),
    ("roberta", "RobertaForMultipleChoice", {}),
    ("xlm-roberta", "XLMRobertaModel", {}),
    ("camembert", "CamembertModel", {}),
    ("distilbert", "DistilBertModel", {}),
    ("distilbert", "DistilBertModel", {"n_heads": 4, "sinusoidal_pos_embds": True}),
    ("distilbert", "DistilBertForMaskedLM", {}),
    ("distilbert", "DistilBertForSequenceClassification", {"num_labels": 3}),
    ("distilbert", "DistilBertForQuestionAnswering", {}),
    ("electra", "ElectraModel", {}),
    ("electra", "ElectraModel", {"embedding_size": 16, "type_vocab_size": 3, "layer_norm_eps": 0.1}),
    ("electra", "ElectraForPreTraining", {}),
    ("electra", "ElectraForMaskedLM", {}),
    ("electra", "ElectraForTokenClassification", {}),
    ("modernbert", "ModernBertModel", {}),
    ("modernbert", "ModernBertModel", {"norm_bias": True, "attention_bias": True, "mlp_bias": True, "norm_eps": 0.1}),
    ("modernbert", "ModernBertModel", {"global_attn_every_n_layers": 2, "global_rope_theta": 50.0}),
    ("modernbert", "ModernBertModel", {"layer_types": PATTERN, "rope_parameters": ROPES, "num_attention_heads": 4}),
    ("modernbert", "ModernBertForMaskedLM", {}),
    ("modernbert", "ModernBertForSequenceClassification", {"num_labels": 3}),
    ("modernbert", "ModernBertForTokenClassification", {}),
    ("mpnet", "MPNetModel", {}),
    ("mpnet", "MPNetModel", {"layer_norm_eps": 0.1, "num_attention_heads": 4, "pad_token_id": 0}),
    ("gpt2", "GPT2Model", {}),
    ("gpt2", "GPT2Model", {"n_inner": 24, "layer_norm_epsilon": 0.1}),
    ("gpt2", "GPT2Model", {"scale_attn_weights": False}),
    ("gpt2", "GPT2Model", {"scale_attn_by_inverse_layer_idx": True}),
    ("gpt2", "GPT2Model", {"reorder_and_upcast_attn": True, "attn_implementation": "eager"}),
    ("gpt2", "GPT2LMHeadModel", {}),
    ("gpt2", "GPT2LMHeadModel", {"tie_word_embeddings": False}),
    ("gpt2", "GPT2DoubleHeadsModel", {}),
    ("gpt2", "GPT2ForTokenClassification", {}),
    ("gpt2", "GPT2ForQuestionAnswering", {}),
    ("gemma", "GemmaModel", {}),
    ("gemma", "GemmaModel", {"rms_norm_eps": 0.1, "num_key_value_heads": 1, "head_dim": 6}),
    ("gemma", "GemmaModel", {"attention_bias": True}),
    ("gemma", "GemmaModel", {"rope_parameters": {"rope_type": "default", "rope_theta": 100.0}}),
    ("gemma", "GemmaModel", {"rope_parameters": ROPE}),
    ("gemma", "GemmaForCausalLM", {}),
    ("gemma", "GemmaForSequenceClassification", {}),
    ("gemma", "GemmaForTokenClassification", {}),
    ("gemma2", "Gemma2Model", {}),
    ("gemma2", "Gemma2Model", {"query_pre_attn_scalar": 9, "head_dim": 6, "num_key_value_heads": 4}),
    ("gemma2", "Gemma2Model", {"attention_bias": True, "rms_norm_eps": 0.1, "rope_parameters": ROPE}),
    ("gemma2", "Gemma2Model", {"attn_logit_softcapping": None, "final_logit_softcapping": None}),
    ("gemma2", "Gemma2Model", {"layer_types": PATTERN}),
    ("gemma2", "Gemma2Model", {"layer_types": ["full_attention"] * 3}),
    ("gemma2", "Gemma2Model", {"sliding_window": 1}),
    ("gemma2", "Gemma2ForCausalLM", {}),
    ("gemma2", "Gemma2ForSequenceClassification", {}),
    ("vaultgemma", "VaultGemmaModel", {}),
    ("vaultgemma", "VaultGemmaForCausalLM", {"layer_types": PATTERN}),
    ("gemma3_text", "Gemma3TextModel", {}),
    ("gemma3_text", "Gemma3TextModel", {"query_pre_attn_scalar": 9, "head_dim": 6, "num_key_value_heads": 1}),
    ("gemma3_text", "Gemma3TextModel", {"attention_bias": True, "rms_norm_eps": 0.1, "rope_parameters": ROPE_BY_TYPE}),
    ("gemma3_text", "Gemma3TextModel", {"layer_types": PATTERN}),
    ("gemma3_text", "Gemma3TextModel", {"sliding_window_pattern": 6, "num_hidden_layers": 7, "sliding_window": 1}),
    *(("gemma3_text", "Gemma3TextModel", BOTH_WAYS | {"sliding_window": size}) for size in (2, 3, 4, 7)),
    ("gemma3_text", "Gemma3ForCausalLM", {"final_logit_softcapping": 1.5}),
    ("gemma3_text", "Gemma3ForCausalLM", {"tie_word_embeddings": False}),
    ("gemma3_text", "Gemma3TextForSequenceClassification", {}),
    ("gemma3", "Gemma3Model", {}),
    ("gemma3", "Gemma3ForConditionalGeneration", {}),
]
"""Model type, class, and changes to the tiny model's config, of what transformers makes."""

KERASHUB = [
    ("bert", {}),
    ("bert", {"num_segments": 3, "num_heads": 4, "dropout": 0}),
    ("roberta", {}),
    ("roberta", {"num_heads": 4, "dropout": 0}),
    ("xlm-roberta", {}),
    ("distilbert", {}),
    ("electra", {}),
    ("electra", {"embedding_dim": 16, "num_heads": 4}),
    ("gpt2", {}),
    ("gpt2", {"num_heads": 4, "intermediate_dim": 24, "dropout": 0}),
    ("gemma", {}),
    ("gemma", {"num_key_value_heads": 1, "head_dim": 6, "use_post_attention_norm": True}),
    ("gemma2", {}),
    ("gemma2", {"num_key_value_heads": 4, "sliding_window_size": 1}),
    ("gemma3", {}),
    ("gemma3", {"num_key_value_heads": 1, "head_dim": 6, "use_query_key_norm": False, "use_post_ffw_norm": False}),
    ("gemma3", {"global_rope_scaling_factor": 8.0, "sliding_window_size": 1}),
    ("embeddinggemma", {}),
]
"""Architecture, and changes to the arguments of its tiny backbone, of what KerasHub makes."""


@pytest.fixture
def created(ask, transformers_peer, folder):
    """Lets transformers make a model with random weights in a folder; returns its outputs."""

    def create(model_type, model, changes, into=folder, **options):
        config = CONFIGS[model_type] | changes | {"model_type": model_type}
        return ask(transformers_peer, "create", into, model_type, model=model, config=config, **options)["outputs"]

    return create


@pytest.mark.parametrize(("model_type", "model", "changes"), TRANSFORMERS, ids=str)
def test_models_of_transformers(model_type, model, changes, created, compute, agree, folder):
    theirs = created(model_type, model, changes)
    agree(compute(vertebra.Backbone.from_preset(folder), model_type), theirs, model_type)


@pytest.mark.parametrize(
    ("model_type", "model"),
    [
        *(("bert", f"BertFor{task}") for task in ("MaskedLM", "TokenClassification", "QuestionAnswering")),
        *(("roberta", f"RobertaFor{task}") for task in ("MaskedLM", "SequenceClassification", "QuestionAnswering")),
        ("xlm-roberta", "XLMRobertaForTokenClassification"),
        ("camembert", "CamembertForMaskedLM"),
        ("mpnet", "MPNetForMaskedLM"),
        ("mpnet", "MPNetForTokenClassification"),
    ],
)
def test_a_pooler_that_transformers_leaves_out_is_reported(model_type, model, created, compute, agree, folder):
    theirs = created(model_type, model, {})
    with pytest.warns(
        UserWarning, match="no values for pooled_dense/kernel, pooled_dense/bias: they are initialised randomly"
    ):
        backbone = vertebra.Backbone.from_preset(folder)
    agree(compute(backbone, model_type), theirs, model_type)
    agree(compute(vertebra.Backbone.from_preset(folder, pooler=False), model_type), theirs, model_type)


@pytest.mark.parametrize("model_type", ["bert", "roberta", "mpnet"])
def test_a_pooler_can_be_left_out(model_type, created, compute, agree, folder):
    theirs = created(
        model_type, {"bert": "BertModel", "roberta": "RobertaModel", "mpnet": "MPNetModel"}[model_type], {}
    )
    ours = compute(vertebra.Backbone.from_preset(folder, pooler=False), model_type)
    assert list(ours) == ["sequence_output"]
    agree(ours, theirs, model_type)


@pytest.mark.parametrize(
    ("model_type", "model"),
    [
        ("bert", "BertForPreTraining"),
        ("gpt2", "GPT2LMHeadModel"),
        ("gemma", "GemmaForCausalLM"),
        ("gemma2", "Gemma2Model"),
        ("vaultgemma", "VaultGemmaModel"),
        ("gemma3_text", "Gemma3ForCausalLM"),
    ],
)
@pytest.mark.parametrize("max_shard_size", ["1GB", "4KB"])
def test_models_of_transformers_in_bfloat16(model_type, model, max_shard_size, created, compute, agree, folder):
    theirs = created(model_type, model, {}, dtype="bfloat16", max_shard_size=max_shard_size)
    assert (len(list(folder.glob("*.safetensors"))) > 1) == (max_shard_size == "4KB")
    ours = compute(vertebra.Backbone.from_preset(folder, dtype="float32"), model_type)
    agree(ours, theirs, model_type)


@pytest.mark.parametrize(("architecture", "changes"), KERASHUB, ids=str)
def test_backbones_of_kerashub(architecture, changes, tiny, compute, ask, agree, kerashub_peer, folder):
    model, arguments = tiny(architecture)
    there = ask(kerashub_peer, "create", folder, architecture, model=model, config=arguments | changes)
    agree(compute(vertebra.Backbone.from_preset(folder), architecture), there["outputs"], architecture)


@pytest.mark.parametrize("architecture", ["bert", "gpt2", "gemma", "gemma2", "gemma3"])
@pytest.mark.parametrize("max_shard_size", [None, 4e-6])
def test_backbones_of_kerashub_in_bfloat16(
    architecture, max_shard_size, tiny, compute, ask, agree, kerashub_peer, folder
):
    model, arguments = tiny(architecture)
    request = {"dtype": "bfloat16", "max_shard_size": max_shard_size}
    there = ask(kerashub_peer, "create", folder, architecture, model=model, config=arguments, **request)
    assert (len(list(folder.glob("*.h5"))) > 1) == (max_shard_size is not None)
    ours = vertebra.Backbone.from_preset(folder, dtype="float32")
    agree(compute(ours, architecture), there["outputs"], architecture)


# === All activations of transformers ===


@pytest.mark.parametrize(
    ("model_type", "model", "field"),
    [
        ("bert", "BertModel", "hidden_act"),
        ("roberta", "RobertaModel", "hidden_act"),
        ("distilbert", "DistilBertModel", "activation"),
        ("gpt2", "GPT2Model", "activation_function"),
        ("gemma", "GemmaModel", "hidden_act"),
        ("gemma2", "Gemma2Model", "hidden_activation"),
        ("vaultgemma", "VaultGemmaModel", "hidden_activation"),
        ("gemma3_text", "Gemma3TextModel", "hidden_activation"),
    ],
)
def test_each_activation_is_honoured_or_refused_by_name(
    model_type, model, field, created, compute, agree, transformers_peer, folder
):
    honoured, refused = [], {}
    for name in transformers_peer("activations"):
        theirs = created(model_type, model, {field: name}, into=folder / name)
        try:
            backbone = vertebra.Backbone.from_preset(folder / name)
        except PresetConfigError as error:
            refused[name] = error.problem
            continue
        agree(compute(backbone, model_type), theirs, model_type)
        honoured.append(name)
    assert set(honoured) == activations.TRANSFORMERS.keys()
    assert all(problem.startswith(f"{field} is {name!r}") for name, problem in refused.items())
