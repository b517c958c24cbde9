"""The cache of a decoder: its sizes by the lengths of prompt and answer, within the context."""

from types import ModuleType

import pytest

import vertebra
from vertebra import BackboneSpec, CacheLayer, CacheLayout, hookimpl
from vertebra._presets.cache_plan import Lengths, plan_cache
from vertebra.errors import ArgumentError

LAYERS = [CacheLayer(2, 4), CacheLayer(1, 8, window=16)]


def layers(arguments):
    return LAYERS[: arguments["num_layers"]] or None


@pytest.fixture
def decoder():
    @hookimpl
    def vertebra_backbones():
        return [BackboneSpec("CachedBackbone", "a:b", cache=f"{__name__}:layers")]

    module = ModuleType("cached_backbones")
    module.vertebra_backbones = vertebra_backbones
    vertebra.add_plugin(module, "cached-backbones")
    yield "CachedBackbone"
    vertebra.remove_plugin("cached-backbones")


def planned(backbone, lengths, limit=None, is_compiled=False, count=2):
    return plan_cache(backbone, {"num_layers": count, "max_sequence_length": limit}, lengths, 4, is_compiled)


def test_a_layer_with_a_window_keeps_a_window(decoder):
    plan = planned(decoder, Lengths(3, 50, 100))
    assert (plan.rows, plan.prompt_tokens, plan.new_tokens, plan.slots) == (3, 50, 100, 192)
    sizes = 192 * 2 * 4 * 2 + 16 * 1 * 8 * 2 + 192 + 16  # keys and values, and positions
    assert plan.bytes == 3 * 4 * sizes


def test_prompts_are_rounded_up_where_each_length_is_compiled(decoder):
    assert planned(decoder, Lengths(1, 50, 15)).slots == 96
    plan = planned(decoder, Lengths(1, 50, 15), is_compiled=True)  # 64 positions, 14 of them padding
    assert (plan.slots, plan.bytes) == (96, 4 * (96 * 16 + 80 * 16 + 96 + 80))


@pytest.mark.parametrize(("new", "slots"), [(14, 64), (15, 96), (256, 384), (335, 384), (336, 512), (2000, 3072)])
def test_a_cache_grows_when_more_tokens_are_needed(decoder, new, slots):
    assert planned(decoder, Lengths(1, 50, new)).slots == slots


@pytest.mark.parametrize(
    ("lengths", "limit", "expected"),
    [
        (Lengths(), None, (512, 256)),
        (Lengths(), 1024, (512, 256)),
        (Lengths(), 600, (512, 89)),  # the last token needs no position
        (Lengths(), 100, (100, 1)),
        (Lengths(prompt=10, new=5), 12, (10, 3)),
    ],
)
def test_lengths_are_within_the_context(decoder, lengths, limit, expected):
    plan = planned(decoder, lengths, limit)
    assert (plan.prompt_tokens, plan.new_tokens) == expected


def test_what_cannot_be_planned_is_an_error(decoder):
    with pytest.raises(ArgumentError, match=r"--prompt-tokens=13, expected at most 12, the positions of the backbone"):
        planned(decoder, Lengths(prompt=13), 12)
    with pytest.raises(ArgumentError, match="--generate='CachedBackbone', expected a preset of a decoder"):
        planned(decoder, Lengths(), count=0)
    with pytest.raises(ArgumentError, match="--batch-size=0, expected a number of at least 1"):
        Lengths(0)


def test_a_layout_grows_as_long_as_slots_are_missing():
    layout = CacheLayout.for_prompts(LAYERS, 60, 0, 1000)
    assert (layout.capacity, layout.gap) == (384, 0)
    assert layout.grown(385, 1060).capacity == 768
    assert layout.grown(385, 400).capacity == 512
