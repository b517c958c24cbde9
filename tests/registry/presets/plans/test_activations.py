"""Activations: by the method of Korthikanti et al. (arXiv:2205.05198), and the tensors that torch keeps."""

import pytest

from vertebra import layout_rules
from vertebra._placement.axes import mesh_axes
from vertebra._placement.placing import Layout, place_weights
from vertebra._presets.plans.activations import Tokens, activation_bytes, score_bytes, tensor_parts
from vertebra._presets.plans.weights import rules_of

H, HEADS, LAYERS, TOKENS = 64, 8, 3, 1000
RULES = layout_rules(
    {
        "attention.query": ("block_*/query",),
        "attention.key": ("block_*/key",),
        "attention.value": ("block_*/value",),
        "attention.output": ("block_*/output",),
        "mlp.gate": ("block_*/gate",),
        "mlp.up": ("block_*/up",),
        "mlp.down": ("block_*/down",),
        "embedding.token": ("table",),
    },
    {
        **{f"attention.{name}": ("columns", "heads") for name in ("query", "key", "value")},
        "attention.output": ("rows", "heads"),
        **{f"mlp.{name}": ("columns", "inner") for name in ("gate", "up")},
        "mlp.down": ("rows", "inner"),
        "embedding.token": ("vocabulary", "tokens"),
    },
)
KERNELS = dict.fromkeys(("query", "key", "value", "output"), (H, H)) | {"up": (H, 4 * H), "down": (4 * H, H)}
ARGUMENTS = {"heads": HEADS, "inner": 4 * H, "tokens": TOKENS}
B, S = 2, 16  # sequences and their tokens
WORD = 2


def placed(tensor=1, kernels=KERNELS, tables=("table/embeddings",), vectors=()):
    shapes = {f"block_{n}/{name}/kernel": shape for n in range(LAYERS) for name, shape in kernels.items()}
    shapes |= {f"block_{n}/{name}/bias": shape[-1:] for n in range(LAYERS) for name, shape in kernels.items()}
    shapes |= {f"block_{n}/norm/scale": (H,) for n in range(LAYERS)}
    shapes |= {f"block_{n}/{name}": shape for n in range(LAYERS) for name, shape in dict(vectors).items()}
    shapes |= {name: (H, TOKENS) if "reverse" in name else (TOKENS, H) for name in tables}
    axes = mesh_axes({"fsdp": 2, "tensor": tensor})
    return place_weights(shapes, axes, Layout("SampleBackbone", RULES, ARGUMENTS)), rules_of(shapes, RULES)


def kept(*arguments, recompute=False, has_logits=False, **options):
    placement, rules = placed(*arguments, **options)
    return activation_bytes(placement, rules, Tokens(B, S, WORD, recompute), has_logits)


NORM = 2 * 4 * H  # two tensors of float32, of a norm by the root mean square
BLOCK = WORD * 2 * H, WORD * (5 + 8) * H  # whole and divided numbers, in the compute dtype


@pytest.mark.parametrize("tensor", [1, 2, 4, 8])
def test_the_inputs_of_layers_are_whole_and_the_parts_of_kernels_have_their_share(tensor):
    whole, divided = BLOCK
    assert kept(tensor) == S * B * LAYERS * (NORM + whole + divided // tensor)


@pytest.mark.parametrize("tensor", [1, 8])
def test_with_recomputation_blocks_keep_their_inputs_and_one_has_the_rest(tensor):
    whole, divided = BLOCK
    assert kept(tensor, recompute=True) == S * B * (LAYERS * WORD * H + NORM + whole + divided // tensor)


def test_a_gate_is_kept_before_and_after_its_activation():
    gated = KERNELS | {"gate": (H, 4 * H)}
    assert kept(2, kernels=gated) - kept(2) == LAYERS * S * B * WORD * 2 * 4 * H // 2


def test_grouped_heads_are_repeated():
    grouped = KERNELS | {"key": (H, H // 2), "value": (H, H // 2)}
    assert kept(1) == kept(1, kernels=grouped)


def test_a_norm_with_a_bias_keeps_its_input_once_and_one_of_heads_has_the_width_of_the_queries():
    of_means = {"norm/bias": (H,)}
    assert kept(2) - kept(2, vectors=of_means) == LAYERS * S * B * 4 * H
    of_heads = {"query_norm/scale": (H // HEADS,)}
    assert kept(2, vectors=of_heads) - kept(2) == LAYERS * S * B * 2 * 4 * H // 2


def test_attention_without_a_kernel_for_queries_keeps_the_outputs_and_inputs_of_its_kernels():
    fused = {"key": (H, 3 * H), "output": (H, H)}
    assert kept(2, kernels=fused) == S * B * LAYERS * (NORM + WORD * (H + (3 + 1) * H // 2))


def test_a_block_without_attention_has_a_feed_forward_network_alone():
    others = {"up": (H, 4 * H), "down": (4 * H, H)}
    assert kept(2, kernels=others) == S * B * LAYERS * (NORM + WORD * (H + 8 * H // 2))


@pytest.mark.parametrize("tables", [["table/embeddings"], ["table/embeddings", "table/reverse_embeddings"]])
@pytest.mark.parametrize("tensor", [1, 4])
def test_logits_are_float32_and_divided_with_the_table(tables, tensor):
    assert kept(tensor, has_logits=True, tables=tables) - kept(tensor) == S * B * 4 * TOKENS // tensor
    assert kept(tensor, tables=tables) == kept(tensor)


@pytest.mark.parametrize(("tensor", "recompute", "blocks"), [(1, False, LAYERS), (4, False, LAYERS), (4, True, 1)])
def test_probabilities_are_kept_by_each_head_where_attention_is_not_fused(tensor, recompute, blocks):
    placement, rules = placed(tensor)
    found = score_bytes(placement, rules, ARGUMENTS, Tokens(B, S, WORD, recompute))
    assert found == blocks * WORD * HEADS // tensor * S**2 * B
    assert score_bytes(placement, rules, {}, Tokens(B, S, WORD, recompute)) == 0  # the number of heads is unknown


def test_parts_are_those_of_tensor_parallelism_alone():
    placement, _ = placed(4)
    assert tensor_parts(placement, "block_0/query/kernel") == 4
    assert tensor_parts(placement, "block_0/norm/scale") == 1


def test_without_a_layout_nothing_is_known():
    placement, _ = placed()
    assert activation_bytes(placement, {}, Tokens(B, S, WORD), False) == LAYERS * S * B * NORM
