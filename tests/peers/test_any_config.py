"""Arguments drawn at random: a preset in another format computes the same in its own library, or is refused."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vertebra import activations
from vertebra.errors import FormatLimitError

pytestmark = pytest.mark.keras

COMMON = {
    "activation": st.sampled_from(activations.NAMES),
    "dropout": st.sampled_from([0, 0.5]),
    "attention_dropout": st.sampled_from([None, 0, 0.5]),
    "layer_norm_epsilon": st.sampled_from([1e-12, 1e-5, 0.1]),
    "num_layers": st.integers(1, 3),
}
HEADS = {"num_heads": st.sampled_from([1, 2, 4]), "intermediate_dim": st.sampled_from([24, 64])}
GEMMA = COMMON | {
    "num_key_value_heads": st.sampled_from([1, 2, 4]),
    "head_dim": st.sampled_from([2, 4, 6]),
    "query_head_dim_normalize": st.booleans(),
    "query_pre_attention_scalar": st.sampled_from([None, 4, 9, 2.5]),
    "rope_max_wavelength": st.sampled_from([100, 10_000]),
    "rope_scaling_factor": st.sampled_from([1, 2.5]),
    "attention_bias": st.booleans(),
    "initializer_range": st.sampled_from([None, 1]),
    "use_post_ffw_norm": st.booleans(),
    "use_post_attention_norm": st.booleans(),
    "attention_logit_soft_cap": st.sampled_from([None, 2]),
    "final_logit_soft_cap": st.sampled_from([None, 1.5]),
    "use_sliding_window_attention": st.booleans(),
    "sliding_window_size": st.sampled_from([1, 3, 20]),
}
OF_OLDER_GEMMAS = {"rope_max_wavelength", "rope_scaling_factor", "attention_logit_soft_cap"}
OF_OLDER_GEMMAS |= {"use_post_ffw_norm", "use_post_attention_norm"}
GEMMA3 = {name: values for name, values in GEMMA.items() if name not in OF_OLDER_GEMMAS} | {
    "use_bidirectional_attention": st.booleans(),
    "sliding_window_size": st.sampled_from([1, 3, 21]),
    **{f"{which}_rope_max_wavelength": st.sampled_from([100, 10_000]) for which in ("local", "global")},
    **{f"{which}_rope_scaling_factor": st.sampled_from([1, 2.5]) for which in ("local", "global")},
}
WITHOUT_EPSILON = {name: values for name, values in COMMON.items() if name != "layer_norm_epsilon"}
ARGUMENTS = {
    "roberta": COMMON
    | HEADS
    | {"pad_token_id": st.sampled_from([0, 1, 5]), "pooler": st.booleans(), "initializer_range": st.just(1)},
    "distilbert": WITHOUT_EPSILON | HEADS | {"initializer_range": st.just(1)},
    "mpnet": COMMON | HEADS | {"pooler": st.booleans()},
    "modernbert": COMMON
    | HEADS
    | {
        "attention_dropout": st.sampled_from([0, 0.5]),
        "local_attention": st.integers(2, 20),
        "global_max_wavelength": st.sampled_from([100, 10_000]),
        "local_max_wavelength": st.sampled_from([100, 10_000]),
        "norm_bias": st.booleans(),
        "attention_bias": st.booleans(),
        "feedforward_bias": st.booleans(),
    },
    "bert": COMMON | HEADS | {"num_segments": st.integers(2, 3), "initializer_range": st.just(1)},
    "gpt2": COMMON
    | HEADS
    | {
        "embedding_dropout": st.sampled_from([None, 0, 0.5]),
        "scale_attention": st.booleans(),
        "scale_attention_by_inverse_layer_index": st.booleans(),
    },
    "gemma": GEMMA,
    "gemma3": GEMMA3,
}
"""The values to draw from for each argument; other arguments are those of the tiny backbone."""

BEYOND_KERASHUB = {
    *("activation", "attention_dropout", "layer_norm_epsilon", "embedding_dropout", "attention_bias"),
    *("scale_attention", "scale_attention_by_inverse_layer_index", "query_head_dim_normalize"),
    *("query_pre_attention_scalar", "rope_max_wavelength", "rope_scaling_factor", "pad_token_id", "pooler"),
    *("local_rope_max_wavelength", "global_rope_max_wavelength"),
}
"""Arguments that KerasHub lacks or ignores."""


@pytest.fixture(scope="session")
def new_path(tmp_path_factory):
    """Returns a function that returns a new unused path in each call."""
    numbers, parent = itertools.count(), tmp_path_factory.mktemp("drawn")
    return lambda: parent / str(next(numbers))


def drawn(architecture, count, without=()):
    """Runs a test for a number of draws."""
    chosen = {name: values for name, values in ARGUMENTS[architecture].items() if name not in without}
    changes = st.fixed_dictionaries({}, optional=chosen)
    settled = settings(max_examples=count, deadline=None, derandomize=True, database=None)
    return lambda test: settled(given(changes=changes)(test))


@pytest.mark.parametrize("architecture", ARGUMENTS)
def test_transformers_computes_the_same_or_the_argument_is_refused(
    architecture, build, compute, ask, agree, transformers_peer, new_path
):
    accepted = []

    @drawn(architecture, 12)
    def check(changes):
        backbone, folder = build(architecture, **changes), new_path()
        refusal = refusal_of(backbone, folder)
        if refusal:
            assert refusal.value == backbone.get_config()[refusal.argument]
            assert not folder.exists()
            return
        there = ask(transformers_peer, "load", folder, architecture, attention="eager")
        complaints = [name for names in there["report"].values() for name in names]
        assert all(name.startswith("pooler.") for name in complaints)  # transformers' RoBERTa always has a pooler
        agree(compute(backbone, architecture), there["outputs"], architecture)
        accepted.append(changes)

    check()
    assert len(accepted) >= 3


def refusal_of(backbone, folder):
    """Saves a backbone in the transformers format; returns the error if the format cannot represent it."""
    try:
        backbone.save_to_preset(folder, format="transformers", certificate=False)
    except FormatLimitError as error:
        return error
    return None


@pytest.mark.parametrize("architecture", ["bert", "roberta", "distilbert", "gpt2", "gemma", "gemma3"])
def test_kerashub_computes_the_same(architecture, build, compute, ask, agree, kerashub_peer, new_path):
    @drawn(architecture, 5, BEYOND_KERASHUB)
    def check(changes):
        backbone, folder = build(architecture, **changes), new_path()
        backbone.save_to_preset(folder, format="kerashub", certificate=False)
        agree(
            compute(backbone, architecture), ask(kerashub_peer, "load", folder, architecture)["outputs"], architecture
        )

    check()
