"""A backbone with the matrix of an untied head, which checkpoints have outside of the base model's prefix."""

import sys
import types

import keras
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import vertebra
from vertebra import BackboneSpec, FormatSpec, TensorRule, Translation, hookimpl
from vertebra._discovery import catalog, plugins

pytestmark = pytest.mark.keras

CONFIG = {"model_type": "gemma", "vocab_size": 61, "hidden_size": 16, "num_hidden_layers": 1, "head_dim": 4}
CONFIG |= {"num_attention_heads": 4, "num_key_value_heads": 2, "intermediate_size": 24}
WEIGHTS = "model.safetensors"


def backbone_class():
    @keras.saving.register_keras_serializable("acme")
    class AcmeLM(vertebra.Backbone):
        """Gemma with logits, by a matrix of their own unless the head is tied."""

        def __init__(self, sizes: dict, tied: bool = False, dtype=None, **kwargs):
            base = vertebra.models.GemmaBackbone(**sizes, dtype=dtype, name="base")
            outputs = base(base.input)
            if tied:
                logits = base.token_embedding(outputs, reverse=True)
            else:
                head = keras.layers.Dense(sizes["vocabulary_size"], use_bias=False, dtype=dtype, name="lm_head")
                logits = head(outputs)
            arguments = {"sizes": sizes, "tied": tied}
            super().__init__(inputs=base.input, outputs={"logits": logits}, arguments=arguments, dtype=dtype, **kwargs)

    return AcmeLM


class WithHead(Translation):
    prefixes = ("", "model.")

    def __init__(self):
        from vertebra_gemma.transformers import GemmaTransformers

        self._base = GemmaTransformers()

    def arguments(self, config):
        return {"sizes": self._base.arguments(config), "tied": config.get("tie_word_embeddings", True)}

    def config(self, arguments):
        tied = {"tie_word_embeddings": arguments["tied"], "architectures": ["GemmaForCausalLM"]}
        return self._base.config(arguments["sizes"]) | tied

    def rules(self, arguments):
        rules = {f"base/{weight}": rule for weight, rule in self._base.rules(arguments["sizes"]).items()}
        head = TensorRule("lm_head.weight", transpose=True, outside=True)
        return rules if arguments["tied"] else rules | {"lm_head/kernel": head}


class WithOptionalHead(WithHead):
    optional = ("lm_head/*",)


@pytest.fixture
def plugin(monkeypatch):
    """Returns a function that makes a plugin with a translation, the only one that reads Gemma; returns the class."""

    def add(translation=WithHead):
        module = types.ModuleType("acme_lm")
        module.AcmeLM, module.translation = backbone_class(), translation
        formats = {"transformers": FormatSpec(("gemma",), "acme_lm:translation")}
        spec = BackboneSpec("AcmeLM", "acme_lm:AcmeLM", formats=formats)
        module.vertebra_backbones = hookimpl(lambda: [spec], specname="vertebra_backbones")
        monkeypatch.setitem(sys.modules, "acme_lm", module)
        plugins.registry.cache_clear()
        vertebra.add_plugin(module, "acme-lm")
        gemma = catalog.catalog(catalog.BACKBONES).lookup("GemmaBackbone").value
        monkeypatch.setitem(gemma.formats, "transformers", FormatSpec((), "acme_lm:translation"))
        return module.AcmeLM

    yield add
    plugins.registry.cache_clear()
    catalog.clear_catalog()


@pytest.fixture
def checkpoint(transformers_peer, ask, folder):
    """Makes a checkpoint with a head, and returns its logits."""

    def make(tied):
        config = CONFIG | {"tie_word_embeddings": tied}
        ask(transformers_peer, "create", folder, "gemma", model="GemmaForCausalLM", config=config)
        return logits(folder)

    def logits(folder):
        loaded = ask(transformers_peer, "load", folder, "gemma", model="AutoModelForCausalLM")
        assert [key for key, found in loaded["report"].items() if found] == []
        return np.array(loaded["outputs"]["logits"])

    make.logits = logits
    return make


def without_prefix(folder):
    tensors = {name.removeprefix("model."): array for name, array in load_file(folder / WEIGHTS).items()}
    save_file(tensors, folder / WEIGHTS, {"format": "pt"})


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("prefix", ["with a prefix", "without"])
def test_logits_are_exchanged(plugin, checkpoint, compute, agree_on_tokens, folder, tmp_path, tied, prefix):
    plugin()
    expected = checkpoint(tied)
    if prefix == "without":
        without_prefix(folder)
    backbone = vertebra.Backbone.from_preset(folder)
    agree_on_tokens(compute(backbone, "gemma")["logits"], expected)
    backbone.save_to_preset(tmp_path / "saved", format="transformers")
    names = set(load_file(tmp_path / "saved" / WEIGHTS))
    assert ("lm_head.weight" in names) is not tied
    assert {name.startswith("model.") for name in names - {"lm_head.weight"}} == {not tied}
    np.testing.assert_array_equal(checkpoint.logits(tmp_path / "saved"), expected)


@pytest.fixture
def agree_on_tokens(inputs_of):
    """Asserts that logits are equal where a token counts."""
    counts = inputs_of("gemma")["padding_mask"].astype(bool)
    return lambda ours, theirs: np.testing.assert_allclose(ours[counts], theirs[counts], atol=1e-4)


def test_a_head_that_a_base_checkpoint_lacks_may_be_optional(plugin, checkpoint, folder):
    plugin()
    checkpoint(tied=False)
    tensors = load_file(folder / WEIGHTS)
    del tensors["lm_head.weight"]
    save_file(tensors, folder / WEIGHTS, {"format": "pt"})
    with pytest.raises(vertebra.errors.WeightsMismatchError, match="lm_head/kernel"):
        vertebra.Backbone.from_preset(folder)
    plugin(WithOptionalHead)
    with pytest.warns(UserWarning, match="no values for lm_head/kernel"):
        vertebra.Backbone.from_preset(folder)


def test_an_adapter_of_a_model_with_a_head_is_exchanged(
    plugin, checkpoint, compute, agree_on_tokens, transformers_peer, ask, folder, tmp_path
):
    plugin()
    checkpoint(tied=False)
    backbone = vertebra.Backbone.from_preset(folder)
    backbone.enable_lora(2, ["query", "lm_head"], seed=0)
    draws = np.random.default_rng(0)
    for variable in backbone.trainable_weights:
        variable.assign(variable.numpy() + 0.2 * draws.standard_normal(variable.shape))
    backbone.save_lora_weights(tmp_path / "ours")
    model = "AutoModelForCausalLM"
    loaded = ask(transformers_peer, "adapt", folder, "gemma", adapter=str(tmp_path / "ours"), model=model)
    assert loaded["complaints"] == []
    agree_on_tokens(compute(backbone, "gemma")["logits"], np.array(loaded["outputs"]["logits"]))
    config = {"r": 2, "target_modules": ["q_proj", "lm_head"]}
    theirs = str(tmp_path / "theirs")
    made = ask(transformers_peer, "make_adapter", folder, "gemma", adapter=theirs, config=config, model=model)
    again = vertebra.Backbone.from_preset(folder)
    assert again.load_lora_weights(theirs).unused == ()
    agree_on_tokens(compute(again, "gemma")["logits"], np.array(made["outputs"]["logits"]))
