"""KerasHub's backbone classes, wrapped: they compute, adapt, and exchange presets with KerasHub.

Six classes of different kinds are tested, and with `--all` every class for which there is a tiny model.
"""

import json

import numpy as np
import pytest
from peers.same_process import tiny_kerashub

pytestmark = pytest.mark.keras

COMMON = (
    "Llama3Backbone",  # a decoder
    "WhisperBackbone",  # sound in, and two towers
    "ResNetBackbone",  # convolutions alone
    "MiTBackbone",  # layers without names
    "Gemma3Backbone",
    "SegFormerBackbone",  # made of another model, which its config contains
)
TINY = [*tiny_kerashub.PLAIN, *tiny_kerashub.NESTED]


def pytest_generate_tests(metafunc):
    if "name" in metafunc.fixturenames:
        metafunc.parametrize("name", TINY if metafunc.config.getoption("--all") else COMMON)


@pytest.fixture(scope="module", autouse=True)
def vertebra():
    """Vertebra with the plugin, which the environment may have installed."""
    pytest.importorskip("keras_hub", reason="only the environment of `make peers` has it")
    import vertebra
    import vertebra_kerashub.plugin

    if not hasattr(vertebra.models, "KerasHubLlama3Backbone"):
        vertebra.add_plugin(vertebra_kerashub.plugin, "kerashub")
    return vertebra


@pytest.fixture
def make(vertebra):
    """Builds a tiny backbone, wrapped, with weights that are not those of the start."""

    def build(name):
        backbone = getattr(vertebra.models, f"KerasHub{name}")(**tiny_kerashub.arguments(name))
        draws = np.random.default_rng(0)
        for variable in backbone.weights:
            if "float" in str(variable.dtype):
                variable.assign(variable.numpy() + 0.05 * draws.normal(size=variable.shape))
        return backbone

    return build


def run(backbone, inputs):
    """Returns all outputs, one after the other."""
    import keras

    outputs = keras.tree.flatten(backbone(inputs, training=False))
    return np.concatenate([np.ravel(keras.ops.convert_to_numpy(output)) for output in outputs])


def test_presets_are_exchanged(make, vertebra, tmp_path, name):
    import keras_hub

    backbone = make(name)
    inputs = backbone.sample_inputs()
    backbone.save_to_preset(tmp_path / "ours", format="kerashub")
    theirs = keras_hub.models.Backbone.from_preset(str(tmp_path / "ours"))
    assert type(theirs) is getattr(keras_hub.models, name)
    np.testing.assert_allclose(run(theirs, inputs), run(backbone, inputs), atol=1e-5)
    theirs.save_to_preset(str(tmp_path / "theirs"))
    kind = getattr(vertebra.models, f"KerasHub{name}")
    again = kind.from_preset(tmp_path / "theirs")
    np.testing.assert_allclose(run(again, inputs), run(backbone, inputs), atol=1e-5)
    again.save_to_preset(tmp_path / "native")
    native = vertebra.Backbone.from_preset(tmp_path / "native", verify=True)
    assert type(native) is kind
    assert native.named_weights().keys() == backbone.named_weights().keys()


def test_adapters_train_and_are_saved(make, vertebra, tmp_path, name):
    import keras

    backbone = make(name)
    inputs = backbone.sample_inputs()
    plain = run(backbone, inputs)
    backbone.save_to_preset(tmp_path / "base")
    backbone.enable_lora(2, None if "lora_targets" in vars(backbone) else ["all-linear"], seed=0)
    np.testing.assert_allclose(run(backbone, inputs), plain, atol=1e-6)
    draws = np.random.default_rng(0)
    for variable in backbone.trainable_weights:
        variable.assign(variable.numpy() + 0.1 * draws.normal(size=variable.shape))
    outputs = [output for output in keras.tree.flatten(backbone(inputs)) if output.is_floating_point()]
    sum((output**2).mean() for output in outputs).backward()
    assert any(variable.value.grad is not None for variable in backbone.trainable_weights)
    adapted = run(backbone, inputs)
    assert not np.allclose(adapted, plain, atol=1e-6)
    backbone.save_lora_weights(tmp_path / "adapter.safetensors")
    again = vertebra.Backbone.from_preset(tmp_path / "base")
    again.load_lora_weights(tmp_path / "adapter.safetensors")
    np.testing.assert_allclose(run(again, inputs), adapted, atol=1e-5)
    again.save(tmp_path / "model.keras")
    np.testing.assert_allclose(run(vertebra.load_model(tmp_path / "model.keras"), inputs), adapted, atol=1e-5)


def test_the_first_party_comes_first(vertebra, tmp_path):
    import keras_hub

    keras_hub.models.BertBackbone(**tiny_kerashub.PLAIN["BertBackbone"]).save_to_preset(str(tmp_path / "bert"))
    assert type(vertebra.Backbone.from_preset(tmp_path / "bert")).__name__ == "BertBackbone"
    wrapped = vertebra.models.KerasHubBertBackbone.from_preset(tmp_path / "bert")
    assert type(wrapped).__name__ == "KerasHubBertBackbone"


def test_roles_are_found_by_the_names_of_layers(make):
    backbone = make("Llama3Backbone")
    roles = {"attention.query", "attention.key", "attention.value", "attention.output", "mlp.gate", "mlp.up"}
    assert roles <= backbone.lora_roles.keys()
    assert len(make("Llama3Backbone").enable_lora(2, ["attention.query", "mlp.down"]).layers) == 4


def test_layers_have_the_same_names_in_every_model(make):
    assert make("MiTBackbone").named_weights().keys() == make("MiTBackbone").named_weights().keys()


def test_objects_of_other_classes_are_refused(make, vertebra, tmp_path):
    make("SegFormerBackbone").save_to_preset(tmp_path / "preset", format="kerashub")
    config = json.loads((tmp_path / "preset" / "config.json").read_text())
    config["config"]["image_encoder"] |= {"module": "subprocess", "class_name": "Popen", "registered_name": None}
    (tmp_path / "preset" / "config.json").write_text(json.dumps(config))
    with pytest.raises(vertebra.errors.PresetConfigError, match=r"image_encoder is an object of subprocess\.Popen"):
        vertebra.Backbone.from_preset(tmp_path / "preset")
    with pytest.raises(vertebra.errors.PresetConfigError, match=r"image_encoder is an object of subprocess\.Popen"):
        vertebra.models.KerasHubSegFormerBackbone(**config["config"])


def test_an_argument_that_the_config_of_kerashub_lacks_is_saved(vertebra, tmp_path):
    sizes = {"num_layers": 1, "num_query_heads": 2, "num_key_value_heads": 1, "hidden_dim": 8, "intermediate_dim": 8}
    backbone = vertebra.models.KerasHubLlamaBackbone(vocabulary_size=11, **sizes, tie_word_embeddings=True)
    assert backbone.get_config()["tie_word_embeddings"] is True
    backbone.save_to_preset(tmp_path / "preset")
    again = vertebra.Backbone.from_preset(tmp_path / "preset", verify=True)
    assert again.token_embedding.tie_weights is True
