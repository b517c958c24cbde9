"""The weights of a plan: shapes from headers equal those of a build, and planned bytes those of arrays on devices."""

import importlib.util
import json
import math
from dataclasses import replace

import pytest

import vertebra
from vertebra import BackboneSpec, LoraConfig, layout_rules
from vertebra._formats.registry import read_description
from vertebra._presets.plans.weights import StoredWeight, declared_lora_parameters, stored_weights, whole_shapes
from vertebra._resolve.consistent_read import read_consistently
from vertebra._weights.layer_paths import weight_names

pytestmark = pytest.mark.keras(once=True)

BERT = {"vocabulary_size": 96, "num_layers": 2, "num_heads": 4, "hidden_dim": 32, "intermediate_dim": 64}
DECODER = {
    "vocabulary_size": 96,
    "num_layers": 2,
    "num_query_heads": 8,
    "num_key_value_heads": 4,
    "hidden_dim": 32,
    "intermediate_dim": 64,
}
MODELS = {
    "BertBackbone": BERT | {"max_sequence_length": 16},
    "GPT2Backbone": BERT | {"max_sequence_length": 16},
    "GemmaBackbone": DECODER | {"head_dim": 8},
    "LlamaBackbone": DECODER,
}
"""Architectures with different layouts: encoder, fused tensors, grouped heads, a head of its own."""
FORMATS = ("native", "transformers", "kerashub")


def stored(shape, dtype="float32"):
    return StoredWeight(math.prod(shape), 0, dtype, shape=shape)


def opened(folder):
    return read_consistently(str(folder), lambda folder: read_description(folder).open_headers())


@pytest.fixture(scope="module", params=MODELS)
def saved(request, tmp_path_factory):
    """A small backbone, and the folder of its presets by format."""
    backbone = getattr(vertebra.models, request.param)(**MODELS[request.param])
    folder = tmp_path_factory.mktemp("presets")
    for name in FORMATS:
        backbone.save_to_preset(folder / name, format=name)
    return backbone, folder


@pytest.mark.parametrize("name", FORMATS)
def test_headers_tell_the_shape_of_each_weight(saved, name):
    backbone, folder = saved
    preset = opened(folder / name)
    weights = stored_weights(preset, preset.backbone_tensors().rules, None)
    built = {name: tuple(weight.shape) for name, weight in weight_names(backbone).items()}
    assert {name: weight.shape for name, weight in weights.items()} == built
    assert whole_shapes(weights, preset.description, preset) == built
    unknown = weights | {first: replace(weights[first], shape=None) for first in list(weights)[:2]}
    assert whole_shapes(unknown, preset.description, preset) == built  # by a build without values
    stored = sum(entry.size for entry in preset.backbone_tensors().own.values())
    assert sum(weight.stored for weight in weights.values()) == stored


def test_an_adapter_has_the_parameters_that_attaching_it_adds(saved):
    backbone, _ = saved
    shapes = {name: tuple(weight.shape) for name, weight in weight_names(backbone).items()}
    weights = {name: stored(shape) for name, shape in shapes.items()}
    declared = declared_lora_parameters(type(backbone).__name__, weights, shapes, LoraConfig(4))
    assert declared == backbone.merged_copy().enable_lora(4).parameters_added


def test_targets_of_a_class_of_its_own_or_other_kernels_are_not_counted_from_shapes(plugin):
    def declared(backbone, dtype="bfloat16", **kernels):
        shapes = {f"block/{name}/kernel": shape for name, shape in kernels.items()} | {"block/query/bias": (6,)}
        weights = {name: stored(shape, dtype) for name, shape in shapes.items()}
        return declared_lora_parameters(backbone, weights, shapes, LoraConfig(3))

    layout = layout_rules({"query": ("block/query",)}, {"query": ("columns", "heads")})
    references = {"PlainBackbone": "vertebra.specs:LoraConfig", "OwnBackbone": "vertebra.testing.tiny.backbone:Tiny"}
    specs = [BackboneSpec(name, reference, layout=layout) for name, reference in references.items()]
    with plugin(vertebra_backbones=lambda: [*specs, BackboneSpec("BareBackbone", "vertebra.specs:LoraConfig")]):
        assert declared("PlainBackbone", query=(4, 6), value=(4, 2), key=(4, 2)) == 3 * (10 + 6)
        assert declared("PlainBackbone", "int8", query=(4, 6)) is None  # may be packed
        assert declared("PlainBackbone", query=(4, 2, 2)) is None
        assert declared("PlainBackbone", table=(4, 4)) is None
        assert declared("OwnBackbone", query=(4, 6)) is None  # it declares lora_targets
        assert declared("BareBackbone", query=(4, 6)) is None
    assert declared("UnknownBackbone", query=(4, 6)) is None


ON_DEVICES = """
import json, os, sys
os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=8"
import jax
import numpy as np
import vertebra
from vertebra._presets.plan import plan_preset
from vertebra._presets.plans.devices import DevicesRequest
from vertebra._weights.layer_paths import weight_names

differing = []
for folder in sys.argv[1:]:
    for fsdp, tensor in [(8, 1), (4, 2), (2, 4)]:
        mesh = jax.sharding.Mesh(np.array(jax.devices()).reshape(fsdp, tensor), ("fsdp", "tensor"))
        backbone = vertebra.Backbone.from_preset(folder, mesh=mesh)
        held = dict.fromkeys(jax.devices(), 0)
        for weight in weight_names(backbone).values():
            for shard in weight.value.addressable_shards:
                held[shard.device] += shard.data.nbytes
        planned = plan_preset(folder, devices=DevicesRequest(8, (fsdp, tensor))).devices.meshes[0]
        if {planned.weights, planned.reads} != set(held.values()):
            differing.append([folder, fsdp, tensor, planned.weights, planned.reads, sorted(held.values())])
print(json.dumps(differing))
"""


def test_the_planned_bytes_are_those_of_arrays_on_devices(runtime, child, tmp_path):
    """On eight virtual devices of JAX, onto which the presets are loaded."""
    if runtime == "torch" and importlib.util.find_spec("jax") is None:
        pytest.skip("the arrays are those of JAX, which is not installed")
    for name, arguments in MODELS.items():
        getattr(vertebra.models, name)(**arguments).save_to_preset(tmp_path / name)
    shown = child(ON_DEVICES, *(tmp_path / name for name in MODELS), on="jax")
    assert json.loads(shown.splitlines()[-1]) == []
