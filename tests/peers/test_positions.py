"""Encoders that number positions without padding compute the same as transformers wherever padding is."""

import numpy as np
import pytest

import vertebra

pytestmark = pytest.mark.keras

PADDING = 1
ROWS = {
    "none": [5, 6, 7, 8, 9, 10],
    "right": [5, 6, 7, PADDING, PADDING, PADDING],
    "left": [PADDING, PADDING, 5, 6, 7, 8],
    "both": [PADDING, 5, 6, 7, PADDING, PADDING],
    "inside": [5, PADDING, 6, PADDING, 7, 8],
}
MODELS = {"roberta": "RobertaModel", "mpnet": "MPNetModel"}
EXTRA = {"roberta": {"type_vocab_size": 1}}


@pytest.mark.parametrize("model_type", MODELS)
@pytest.mark.parametrize("masked", [True, False])
def test_padding_anywhere(model_type, masked, transformers_peer, tmp_path):
    config = {"model_type": model_type, "vocab_size": 61, "num_hidden_layers": 2, "hidden_size": 16}
    config |= {"num_attention_heads": 2, "intermediate_size": 24, "max_position_embeddings": 12}
    tokens = np.array(list(ROWS.values()), "int32")
    padding = (tokens != PADDING).astype("int32") if masked else np.ones_like(tokens)
    inputs = {"token_ids": tokens, "padding_mask": padding}
    lists = {name: array.tolist() for name, array in inputs.items()}
    config |= EXTRA.get(model_type, {})
    model = MODELS[model_type]
    there = transformers_peer("create", folder=str(tmp_path), inputs=lists, model=model, config=config)
    import keras

    outputs = vertebra.Backbone.from_preset(tmp_path)(inputs, training=False)
    ours = keras.ops.convert_to_numpy(outputs["sequence_output"])
    gaps = np.abs(ours - np.array(there["outputs"]["sequence_output"]))
    assert gaps[padding == 1].max() <= 1e-5
