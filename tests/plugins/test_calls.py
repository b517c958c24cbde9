"""Calls of all architectures: batches without rows, sequences without tokens, and rematerialisation."""

import contextlib
import functools

import keras
import numpy as np
import pytest

import vertebra

pytestmark = pytest.mark.keras

BERT = {"num_heads": 2, "vocabulary_size": 11, "num_layers": 1, "hidden_dim": 8, "intermediate_dim": 8}
GEMMA = BERT | {"num_query_heads": 2, "num_key_value_heads": 1, "head_dim": 4, "attention_logit_soft_cap": 5.0}
del GEMMA["num_heads"]
LLAMA = BERT | {"num_query_heads": 2, "num_key_value_heads": 1, "tie_word_embeddings": True}
del LLAMA["num_heads"]
TINY = {"BertBackbone": BERT, "GPT2Backbone": BERT, "GemmaBackbone": GEMMA, "LlamaBackbone": LLAMA}
TINY["Gemma3Backbone"] = GEMMA
TINY |= {f"{name}Backbone": BERT for name in ("Roberta", "DistilBert", "Electra", "MPNet", "ModernBert")}
WITH_POOLER = ("BertBackbone", "ElectraBackbone", "MPNetBackbone")
each = pytest.mark.parametrize("name", TINY)


def build(name, **overrides):
    """Builds a tiny backbone of an architecture."""
    return getattr(vertebra.models, name)(**TINY[name], **overrides)


def filled(backbone, shape):
    """Returns inputs of a shape."""
    return {name: np.ones(shape, "int32") for name in backbone.input}


def states(outputs):
    """Returns the hidden states among a backbone's outputs, as an array."""
    return keras.ops.convert_to_numpy(outputs["sequence_output"] if isinstance(outputs, dict) else outputs)


@pytest.mark.parametrize("name", ["BertBackbone", "GPT2Backbone", "GemmaBackbone"])
@pytest.mark.parametrize("shape", [(0, 5), (2, 0)], ids=str)
def test_nothing_is_computed_for_nothing(name, shape):
    if name in WITH_POOLER and shape == (2, 0):
        pytest.skip("a pooled output needs a first token")
    backbone = build(name, dropout=0.5)
    backbone.enable_lora(2)
    compiled, inputs = vertebra.compile(backbone), filled(backbone, shape)
    rows = ["default", None][: shape[0]]
    calls = [
        backbone(inputs),
        backbone(inputs, training=True),
        backbone(inputs, adapters="default"),
        backbone(inputs, adapters=rows),
        compiled(inputs),
        compiled(inputs, adapters=rows),
        backbone.predict(inputs, verbose=0),
    ]
    assert {states(outputs).shape for outputs in calls} == {(*shape, 8)}


@pytest.mark.parametrize("name", WITH_POOLER)
def test_a_pooler_says_that_it_needs_a_token(name):
    backbone = build(name)
    with pytest.raises(ValueError, match="The sequence has no tokens; the pooled output is that of the first one"):
        backbone(filled(backbone, (2, 0)))


@functools.cache
def losses(name, mode=None):
    """Returns the losses of two steps of training, with rematerialisation in a mode."""
    layers = {"layer_names": ["transformer_layer_0", "decoder_block_0"]} if mode == "list_of_layers" else {}
    keras.utils.set_random_seed(0)
    with keras.RematScope(mode=mode, **layers) if mode else contextlib.nullcontext():
        backbone = build(name, dropout=0.0)
        output = backbone.output
        if isinstance(output, dict):
            pooled = [keras.ops.expand_dims(output[name], 1) for name in output.keys() & {"pooled_output"}]
            output = keras.layers.Add()([output["sequence_output"], *pooled]) if pooled else output["sequence_output"]
        model = keras.Model(backbone.input, output)
        model.compile(keras.optimizers.SGD(0.1), "mse")
        inputs = filled(backbone, (2, 3))
        return model.fit(inputs, np.zeros((2, 3, 8)), epochs=2, verbose=0, shuffle=False).history["loss"]


@each
@pytest.mark.parametrize("mode", ["full", "activations", "list_of_layers"])
def test_rematerialised_backbones_train_as_others(name, mode):
    expected = losses(name)
    assert np.allclose(losses(name, mode), expected, rtol=1e-4)
    assert expected[1] < expected[0]


def test_outputs_of_a_compiled_backbone_have_the_order_of_a_call():
    backbone = build("BertBackbone")
    inputs = filled(backbone, (1, 3))
    assert list(vertebra.compile(backbone)(inputs)) == list(backbone(inputs))


@each
def test_a_backbone_exports_with_any_batch_and_length(name, runtime):
    if runtime != "torch":
        pytest.skip("JAX exports through TensorFlow")
    import torch

    class Module(torch.nn.Module):
        def __init__(self, backbone):
            super().__init__()
            self.backbone = backbone

        def forward(self, inputs):
            return self.backbone(inputs)

    backbone = build(name)
    backbone.enable_lora(2)
    inputs = {key: torch.ones((2, 3), dtype=torch.int32) for key in backbone.input}
    any_size = {0: torch.export.Dim("batch"), 1: torch.export.Dim("length", max=64)}
    shapes = dict.fromkeys(inputs, any_size)
    exported = torch.export.export(Module(backbone), (inputs,), dynamic_shapes=(shapes,), strict=False).module()
    larger = {key: torch.ones((3, 7), dtype=torch.int32) for key in inputs}
    assert np.allclose(states(exported(larger)), states(backbone(larger)), atol=1e-5)
