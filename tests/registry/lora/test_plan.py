"""Plans: rank and alpha of each layer, and plain data that gives the same plan again or is refused."""

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vertebra._lora.plan import AdapterPlan, LayerPlan, plan_as_data, plan_from_data
from vertebra.errors import LoraConfigError
from vertebra.specs import LoraConfig

RANKS = st.integers(1, 65_536)
ALPHAS = st.floats(1e-6, 1e6) | st.integers(1, 10**6)
NAMES = st.text(min_size=1, max_size=9)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=8,
)


@st.composite
def plans(draw):
    """Draws a plan in which some layers share variables with the first."""
    config = LoraConfig(
        rank=draw(RANKS),
        alpha=draw(st.none() | ALPHAS),
        dropout=draw(st.floats(0, 0.99)),
        strategy=draw(NAMES),
        seed=draw(st.none() | st.integers()),
        rank_pattern=draw(st.dictionaries(NAMES, RANKS, max_size=2)),
        alpha_pattern=draw(st.dictionaries(NAMES, ALPHAS, max_size=2)),
        options=draw(st.dictionaries(NAMES, st.integers() | st.floats(allow_nan=False) | NAMES, max_size=2)),
    )
    first, *others = draw(st.lists(NAMES, min_size=1, max_size=4, unique=True))
    layers = st.builds(LayerPlan, RANKS, ALPHAS.map(float), st.integers(1, 16), st.sampled_from([None, first]))
    return AdapterPlan(config, {first: LayerPlan(4, 8.0)} | {path: draw(layers) for path in others})


@given(plan=plans())
def test_a_plan_comes_back_from_its_data(plan):
    again = plan_from_data("here", json.loads(json.dumps(plan_as_data(plan))))
    assert again == plan
    assert list(again.layers) == list(plan.layers)


@given(data=JSON)
def test_data_of_another_kind_are_refused(data):
    with pytest.raises(LoraConfigError):
        plan_from_data("here", data)


@given(plan=plans(), data=st.data())
def test_data_with_something_else_in_one_place_are_a_plan_or_refused(plan, data):
    tree = plan_as_data(plan)
    node = tree
    while isinstance(node, dict) and node:
        holder, key = node, data.draw(st.sampled_from(sorted(node)))
        node = node[key]
    holder[key] = data.draw(JSON)
    with contextlib.suppress(LoraConfigError):
        assert plan_from_data("here", tree).layers.keys() == plan.layers.keys()


def plan_of(strategy, **options):
    return AdapterPlan(LoraConfig(2, strategy=strategy, options=options), {"dense": LayerPlan(2, 2.0)})


def test_options_have_the_defaults_of_the_strategy():
    assert plan_of("lora").options() == {}
    assert plan_of("lora_plus").options() == {"ratio": 16.0}
    assert plan_of("lora_plus", ratio=4).options() == {"ratio": 4}
    assert plan_of("pissa", iterations=1).options() == {"iterations": 1}


def test_the_key_tells_apart_what_needs_other_variables_or_computes_otherwise():
    plain = plan_of("lora")
    others = [
        plan_of("rslora"),
        plan_of("lora_plus"),
        plan_of("lora_plus", ratio=2.0),
        AdapterPlan(plain.config, {"dense": LayerPlan(2, 4.0)}),
        AdapterPlan(plain.config, {"dense": LayerPlan(3, 2.0)}),
        AdapterPlan(plain.config, {"other": LayerPlan(2, 2.0)}),
        AdapterPlan(plain.config, {"dense": LayerPlan(2, 2.0), "other": LayerPlan(2, 2.0)}),
        AdapterPlan(LoraConfig(2, dropout=0.1), plain.layers),
    ]
    assert len({plan.key() for plan in (plain, *others)}) == 9
    assert AdapterPlan(LoraConfig(2, seed=5), plain.layers).key() == plain.key()  # only the initial values differ
