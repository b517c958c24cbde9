"""ViT and DINOv2 compute the same as transformers and KerasHub, which read and write their files."""

import json

import keras
import numpy as np
import pytest

import vertebra
from vertebra.errors import AdapterMismatchError

pytestmark = pytest.mark.keras

SIZES = {"num_hidden_layers": 2, "num_attention_heads": 2, "hidden_size": 16, "image_size": 12, "patch_size": 4}
VIT = SIZES | {"model_type": "vit", "intermediate_size": 24}
DINOV2 = SIZES | {"model_type": "dinov2", "mlp_ratio": 2}
REGISTERS = DINOV2 | {"model_type": "dinov2_with_registers", "num_register_tokens": 3}
MODELS = {
    "vit": ("ViTModel", VIT),
    "vit without biases": ("ViTModel", VIT | {"qkv_bias": False, "hidden_act": "gelu_new", "layer_norm_eps": 0.01}),
    "vit of rectangles": ("ViTModel", VIT | {"image_size": [12, 12], "patch_size": [4, 2]}),
    "vit without pooler": ("ViTForImageClassification", VIT),
    "vit for masked images": ("ViTForMaskedImageModeling", VIT | {"encoder_stride": 4}),
    "dinov2": ("Dinov2Model", DINOV2),
    "dinov2 with swiglu": ("Dinov2Model", DINOV2 | {"use_swiglu_ffn": True, "qkv_bias": False, "image_size": 13}),
    "dinov2 without mask": ("Dinov2ForImageClassification", DINOV2 | {"use_mask_token": False}),
    "registers": ("Dinov2WithRegistersModel", REGISTERS),
    "registers with swiglu": ("Dinov2WithRegistersForImageClassification", REGISTERS | {"use_swiglu_ffn": True}),
}
each = pytest.mark.parametrize("name", MODELS)
KERASHUB = {
    "ViTBackbone": {"image_shape": [8, 8, 3], "patch_size": 4, "num_layers": 2, "num_heads": 2, "hidden_dim": 16}
    | {"mlp_dim": 24},
    "DINOV2Backbone": {"patch_size": 4, "num_layers": 2, "hidden_dim": 16, "num_heads": 2, "intermediate_dim": 32}
    | {"image_shape": [8, 8, 3], "position_embedding_shape": [8, 8]},
}


def images(height=12, width=12):
    return np.random.default_rng(0).normal(size=(2, height, width, 3)).astype("float32")


def pixels(height=12, width=12):
    return {"pixels": images(height, width).transpose(0, 3, 1, 2).tolist()}


def run(backbone, height=12, width=12):
    return {
        name: keras.ops.convert_to_numpy(array)
        for name, array in backbone(images(height, width), training=False).items()
    }


def agree(ours, theirs, tolerance=1e-5):
    assert ours.keys() <= theirs.keys()
    for name in ours:
        assert np.abs(ours[name] - np.array(theirs[name])).max() <= tolerance, name


@pytest.fixture
def created(transformers_peer, folder):
    """Makes a checkpoint of one of the models; returns the outputs of its base model."""

    def make(name):
        model, config = MODELS[name]
        peer = transformers_peer("create", folder=str(folder), inputs=pixels(), model=model, config=config)
        return peer["outputs"]

    return make


@each
def test_checkpoints_are_exchanged(created, transformers_peer, folder, tmp_path, name):
    expected = created(name)
    backbone = vertebra.Backbone.from_preset(folder)
    agree(run(backbone), expected)
    backbone.save_to_preset(tmp_path / "saved", format="transformers")
    loaded = transformers_peer("load", folder=str(tmp_path / "saved"), inputs=pixels())
    missing = ["pooler.dense.bias", "pooler.dense.weight"] if backbone.output.keys() == {"sequence_output"} else []
    report = {"missing_keys": missing, "unexpected_keys": [], "mismatched_keys": []}
    assert loaded["report"].items() >= report.items()
    agree(run(backbone), loaded["outputs"])


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("vit", (20, 8)),
        ("vit", (8, 4)),
        ("vit without pooler", (14, 27)),
        ("dinov2", (20, 8)),
        ("dinov2", (8, 27)),
        ("registers", (20, 8)),
        ("registers", (8, 4)),
        ("registers", (9, 41)),
    ],
)
def test_images_of_other_sizes(created, transformers_peer, folder, name, size):
    created(name)
    call = {"interpolate_pos_encoding": True} if name.startswith("vit") else None
    there = transformers_peer("load", folder=str(folder), inputs=pixels(*size), call=call)
    agree(run(vertebra.Backbone.from_preset(folder), *size), there["outputs"], 2e-5)


def test_positions_are_resized_as_for_another_size(created, transformers_peer, folder):
    created("vit")
    resized = vertebra.Backbone.from_preset(folder, image_shape=(20, 20, 3))
    assert resized.embeddings.position_embedding.shape == (1, 26, 16)
    call = {"interpolate_pos_encoding": True}
    there = transformers_peer("load", folder=str(folder), inputs=pixels(20, 20), call=call)
    agree(run(resized, 20, 20), there["outputs"], 2e-5)


@pytest.mark.parametrize("name", ["dinov2", "registers"])
@pytest.mark.parametrize("norm", [True, False])
def test_hidden_states_by_layer(created, transformers_peer, folder, name, norm):
    created(name)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"apply_layernorm": norm}))
    model = MODELS[name][0].replace("Model", "Backbone")
    there = transformers_peer("feature_maps", folder=str(folder), inputs=pixels(), model=model, layers=[0, 1])
    ours = vertebra.Backbone.from_preset(folder).features(images(), (0, 1), norm=norm)
    for states, expected in zip(ours, there, strict=True):
        assert np.abs(keras.ops.convert_to_numpy(states).transpose(0, 3, 1, 2) - np.array(expected)).max() <= 1e-5


@pytest.mark.parametrize("name", ["vit", "vit without biases", "dinov2 with swiglu", "registers"])
@pytest.mark.parametrize("settings", [{}, {"target_names": ["all-linear"], "strategy": "dora"}], ids=str)
def test_adapters(created, transformers_peer, folder, tmp_path, name, settings):
    created(name)
    backbone = vertebra.Backbone.from_preset(folder)
    backbone.enable_lora(**{"rank": 2, "target_names": ["attention", "mlp"], "seed": 0} | settings)
    draws = np.random.default_rng(0)
    for variable in backbone.trainable_weights:
        variable.assign(variable.numpy() + 0.2 * draws.standard_normal(variable.shape))
    backbone.save_lora_weights(tmp_path / "adapter")
    there = transformers_peer("adapt", folder=str(folder), inputs=pixels(), adapter=str(tmp_path / "adapter"))
    assert there["complaints"] == []
    agree(run(backbone), there["outputs"])


@pytest.mark.parametrize("name", ["vit", "dinov2 with swiglu", "registers"])
@pytest.mark.parametrize("targets", ["all-linear", ["q_proj", "v_proj", "projection"]], ids=str)
@pytest.mark.parametrize("use_dora", [False, True])
def test_adapters_of_peft(created, transformers_peer, folder, tmp_path, name, targets, use_dora):
    created(name)
    config = {"r": 2, "lora_alpha": 6, "target_modules": targets, "use_dora": use_dora}
    arguments = {"adapter": str(tmp_path / "theirs"), "config": config}
    there = transformers_peer("make_adapter", folder=str(folder), inputs=pixels(), **arguments)
    backbone = vertebra.Backbone.from_preset(folder)
    receipt = backbone.load_lora_weights(tmp_path / "theirs")
    assert (receipt.unused, receipt.parameters_added) == ((), there["added"])
    agree(run(backbone), there["outputs"])
    backbone.save_lora_weights(tmp_path / "ours")
    again = transformers_peer("adapt", folder=str(folder), inputs=pixels(), adapter=str(tmp_path / "ours"))
    assert again["complaints"] == []
    agree(run(backbone), again["outputs"])


def test_convolutions_of_other_methods_are_refused(created, transformers_peer, folder, tmp_path):
    created("vit")
    arguments = {"adapter": str(tmp_path / "theirs"), "config": {"r": 2, "target_modules": ["projection"]}}
    transformers_peer("make_adapter", folder=str(folder), inputs=pixels(), method="LoHa", **arguments)
    with pytest.raises(AdapterMismatchError, match="adapts a convolution by LOHA, and only LoRA"):
        vertebra.Backbone.from_preset(folder).load_lora_weights(tmp_path / "theirs")


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("ViTBackbone", {}),
        ("ViTBackbone", {"use_mha_bias": False, "use_mlp_bias": False, "use_patch_bias": False}),
        ("ViTBackbone", {"use_class_token": False, "layer_norm_epsilon": 0.01, "patch_size": [4, 2]}),
        ("DINOV2Backbone", {}),
        ("DINOV2Backbone", {"use_swiglu_ffn": True, "num_register_tokens": 2, "layer_scale_init_value": 0.5}),
        ("DINOV2Backbone", {"use_mask_token": False, "antialias_in_interpolation": True}),
    ],
    ids=str,
)
def test_presets_of_kerashub(kerashub_peer, folder, tmp_path, name, changes):
    inputs = {"images": images(8, 8).tolist()}
    config = KERASHUB[name] | changes
    there = kerashub_peer("create", folder=str(folder), inputs=inputs, model=name, config=config)
    backbone = vertebra.Backbone.from_preset(folder)
    assert type(backbone) is type(
        getattr(vertebra.models, name)(**{k: v for k, v in config.items() if k[:9] != "position_"})
    )
    ours = {"sequence_output": run(backbone, 8, 8)["sequence_output"]}
    if name == "ViTBackbone":  # the positions of the other are those that its file stores
        agree(ours, there["outputs"])
    backbone.save_to_preset(tmp_path / "ours", format="kerashub")
    agree(ours, kerashub_peer("load", folder=str(tmp_path / "ours"), inputs=inputs)["outputs"])
    agree(ours, kerashub_peer("load", folder=str(folder), inputs=inputs)["outputs"])
