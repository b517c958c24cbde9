"""GPT-2's translation for transformers: each field is honoured, or refused by name, and each tensor has its place."""

import fnmatch
import itertools
import json
import re
from pathlib import Path

import pytest
import safetensors
from hypothesis import given, settings
from hypothesis import strategies as st

from vertebra import TensorRule, activations
from vertebra.errors import PresetConfigError
from vertebra_gpt2.transformers import GPT2Transformers

GOLDEN = Path(__file__).parents[2] / "golden" / "gpt2"
DEFAULTS = {
    "vocabulary_size": 50257,
    "num_layers": 12,
    "num_heads": 12,
    "hidden_dim": 768,
    "intermediate_dim": 3072,
    "dropout": 0.1,
    "attention_dropout": None,
    "embedding_dropout": None,
    "max_sequence_length": 1024,
    "activation": "gelu_approximate",
    "layer_norm_epsilon": 1e-5,
    "initializer_range": 0.02,
    "scale_attention": True,
    "scale_attention_by_inverse_layer_index": False,
}


@pytest.fixture(scope="module")
def translation():
    return GPT2Transformers()


def config(name="transformers"):
    return json.loads((GOLDEN / name / "config.json").read_text(encoding="utf-8"))


# === Reading configs ===


def test_what_a_config_leaves_out_is_as_in_transformers(translation):
    assert translation.arguments({"model_type": "gpt2"}) == DEFAULTS


@pytest.mark.parametrize(
    ("field", "value", "argument"),
    [
        ("vocab_size", 7, "vocabulary_size"),
        ("n_layer", 3, "num_layers"),
        ("n_head", 4, "num_heads"),
        ("n_inner", 64, "intermediate_dim"),
        ("attn_pdrop", 0.3, "attention_dropout"),
        ("embd_pdrop", 0.3, "embedding_dropout"),
        ("n_positions", 16, "max_sequence_length"),
        ("activation_function", "relu", "activation"),
        ("layer_norm_epsilon", 1e-6, "layer_norm_epsilon"),
        ("initializer_range", 0.5, "initializer_range"),
        ("scale_attn_weights", False, "scale_attention"),
        ("scale_attn_by_inverse_layer_idx", True, "scale_attention_by_inverse_layer_index"),
    ],
)
def test_a_field_is_honoured(field, value, argument, translation):
    assert translation.arguments({field: value}) == DEFAULTS | {argument: value}
    assert translation.arguments({field: None}) == DEFAULTS


def test_the_feed_forward_width_follows_the_hidden_width_unless_it_is_given(translation):
    found = translation.arguments({"n_embd": 24, "n_inner": None})
    assert (found["hidden_dim"], found["intermediate_dim"]) == (24, 96)
    assert translation.arguments({"n_embd": 24, "n_inner": 10})["intermediate_dim"] == 10


@pytest.mark.parametrize(
    ("alias", "argument"),
    [
        ("num_hidden_layers", "num_layers"),
        ("num_attention_heads", "num_heads"),
        ("hidden_size", "hidden_dim"),
        ("max_position_embeddings", "max_sequence_length"),
    ],
)
def test_a_field_under_its_other_name_wins_as_in_transformers(alias, argument, translation):
    names = {"num_layers": "n_layer", "num_heads": "n_head", "hidden_dim": "n_embd"}
    other = names.get(argument, "n_positions")
    assert translation.arguments({alias: 5})[argument] == 5
    assert translation.arguments({alias: 5, other: 7})[argument] == 5
    assert translation.arguments({other: 7, alias: 5})[argument] == 5


def test_rates_follow_dropout_only_where_they_are_the_same(translation):
    same = translation.arguments({"resid_pdrop": 0.3, "attn_pdrop": 0.3, "embd_pdrop": 0.3})
    assert [same[name] for name in ("dropout", "attention_dropout", "embedding_dropout")] == [0.3, None, None]
    other = translation.arguments({"resid_pdrop": 0.0})
    assert [other[name] for name in ("dropout", "attention_dropout", "embedding_dropout")] == [0.0, 0.1, 0.1]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("n_layer", "3"),
        ("n_layer", 10**9),
        ("vocab_size", 0),
        ("n_embd", 16.0),
        ("n_embd", "16"),
        ("n_embd", True),
        ("n_inner", -1),
        ("n_head", [2]),
    ],
)
def test_a_size_that_is_none_is_refused_by_name(field, value, translation):
    with pytest.raises(PresetConfigError, match=field):
        translation.arguments({field: value})


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("gelu", "gelu"),
        ("gelu_python", "gelu"),
        ("gelu_new", "gelu_approximate"),
        ("gelu_accurate", "gelu_approximate"),
        ("gelu_fast", "gelu_approximate"),
        ("gelu_pytorch_tanh", "gelu_approximate"),
        ("gelu_python_tanh", "gelu_approximate"),
        ("mish", "mish"),
        ("quick_gelu", "quick_gelu"),
        ("relu", "relu"),
        ("relu2", "relu_squared"),
        ("silu", "silu"),
        ("swish", "silu"),
        ("tanh", "tanh"),
    ],
)
def test_activations_that_compute_the_same_are_known(theirs, ours, translation):
    assert translation.arguments({"activation_function": theirs})["activation"] == ours


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("add_cross_attention", True),
        ("is_causal", False),
        ("pruned_heads", {"0": [1]}),
        ("quantization_config", {"bits": 4}),
        ("activation_function", "prelu"),
        ("activation_function", "os.system"),
        ("activation_function", ["gelu"]),
        ("activation_function", {"name": "gelu"}),
    ],
)
def test_a_field_that_makes_another_architecture_is_refused_by_name(field, value, translation):
    with pytest.raises(PresetConfigError) as caught:
        translation.arguments(config() | {field: value})
    assert caught.value.problem.startswith(f"{field} is ")


@pytest.mark.parametrize(
    "harmless",
    [
        {"is_decoder": True, "is_causal": True, "add_cross_attention": False, "pruned_heads": {}},
        {"reorder_and_upcast_attn": True, "chunk_size_feed_forward": 2, "quantization_config": None, "n_ctx": 16},
        {"summary_type": "mean", "summary_use_proj": False, "summary_activation": "tanh", "num_labels": 3},
        {"use_cache": False, "architectures": ["GPT2LMHeadModel"], "tie_word_embeddings": False, "unheard_of": 1},
    ],
)
def test_a_field_that_changes_nothing_changes_nothing(harmless, translation):
    assert translation.arguments(config() | harmless) == translation.arguments(config())


# === Writing configs ===


def rates():
    return st.floats(0, 1, exclude_max=True)


@st.composite
def written(draw):
    """Draws arguments that the class may have, with rates of their own only where they differ from `dropout`."""
    sizes = {name: draw(st.integers(1, 2**24)) for name in ("vocabulary_size", "intermediate_dim")}
    heads, head_width = draw(st.integers(1, 128)), draw(st.integers(1, 256))
    dropout = draw(rates())
    return sizes | {
        "num_layers": draw(st.integers(1, 1000)),
        "num_heads": heads,
        "hidden_dim": heads * head_width,
        "dropout": dropout,
        "attention_dropout": draw(st.none() | rates().filter(lambda rate: rate != dropout)),
        "embedding_dropout": draw(st.none() | rates().filter(lambda rate: rate != dropout)),
        "max_sequence_length": draw(st.integers(1, 2**24)),
        "activation": draw(st.sampled_from(activations.NAMES)),
        "layer_norm_epsilon": draw(st.floats(0, 1)),
        "initializer_range": draw(st.floats(0, 10)),
        "scale_attention": draw(st.booleans()),
        "scale_attention_by_inverse_layer_index": draw(st.booleans()),
    }


@settings(max_examples=200, deadline=None, derandomize=True, database=None)
@given(arguments=written())
def test_a_config_that_is_written_is_read_again(arguments, translation):
    text = json.dumps(translation.config(arguments), allow_nan=False)
    assert translation.arguments(json.loads(text)) == arguments


def test_the_config_that_is_written_is_the_one_that_was_read(translation):
    theirs, ours = config(), translation.config(translation.arguments(config()))
    assert theirs | ours == theirs | {"n_inner": 64}
    assert ours["architectures"] == ["GPT2Model"]


def test_numbers_are_written_in_the_types_that_transformers_expects(translation):
    whole = {"dropout": 0, "attention_dropout": 0, "layer_norm_epsilon": 1, "initializer_range": 1}
    found = translation.config(DEFAULTS | whole)
    for name in ("resid_pdrop", "attn_pdrop", "embd_pdrop", "layer_norm_epsilon", "initializer_range"):
        assert type(found[name]) is float


# === Tensors ===


def tensors(preset):
    """Names and shapes of a checkpoint's tensors."""
    with safetensors.safe_open(GOLDEN / preset / "model.safetensors", framework="np") as file:
        return {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118


@pytest.mark.parametrize("preset", ["transformers", "transformers_bf16", "transformers_head"])
def test_each_tensor_of_a_checkpoint_is_used_once_or_in_three_parts(preset, translation):
    rules = translation.rules(translation.arguments(config(preset)))
    used = [(rule.tensor, rule.part) for rule in rules.values()]
    assert len(set(used)) == len(used)
    parts = {tensor: sorted(part for name, part in used if name == tensor and part) for tensor, _ in used}
    assert all(found == ([(0, 3), (1, 3), (2, 3)] if ".c_attn." in name else []) for name, found in parts.items())
    prefix = "transformer." if preset == "transformers_head" else ""
    assert prefix in translation.prefixes
    assert {prefix + name for name in parts} == tensors(preset).keys()


def test_no_kernel_is_transposed(translation):
    assert not [weight for weight, rule in translation.rules({"num_layers": 2}).items() if rule.transpose]


def test_each_layer_has_its_own_rules(translation):
    counts = [len(translation.rules({"num_layers": layers})) for layers in range(4)]
    assert [later - earlier for earlier, later in itertools.pairwise(counts)] == [16, 16, 16]
    for weight, rule in translation.rules({"num_layers": 12}).items():
        numbers = re.findall(r"(?:layer_|h\.)(\d+)", f"{weight} {rule.tensor}")
        assert not numbers or numbers[0] == numbers[1]


def test_parts_of_a_layer_keep_their_place(translation):
    rules = translation.rules({"num_layers": 1})
    attention = "transformer_layer_0/self_attention"
    assert rules[f"{attention}/query/kernel"] == TensorRule("h.0.attn.c_attn.weight", part=(0, 3))
    assert rules[f"{attention}/value/bias"] == TensorRule("h.0.attn.c_attn.bias", part=(2, 3))
    assert rules[f"{attention}/attention_output/kernel"] == TensorRule("h.0.attn.c_proj.weight")
    assert rules["transformer_layer_0/feedforward_layer_norm/gamma"] == TensorRule("h.0.ln_2.weight")


def test_the_masks_of_old_checkpoints_are_ignored_and_no_weight_is(translation):
    def is_ignored(name):
        return any(fnmatch.fnmatchcase(name, pattern) for pattern in translation.ignored)

    assert is_ignored("h.11.attn.bias")
    assert is_ignored("h.0.attn.masked_bias")
    assert not [rule.tensor for rule in translation.rules({"num_layers": 12}).values() if is_ignored(rule.tensor)]
