"""Certificates of RoBERTa's presets, whose formats keep different weights for padding."""

import numpy as np
import pytest

import vertebra
from vertebra.testing.backbones.inputs import disturb

pytestmark = pytest.mark.keras


def test_a_certificate_does_not_compare_outputs_of_padding(tmp_path, monkeypatch):
    """KerasHub's files have no row for the position of padding, and no segment embedding for it."""
    sizes = {"num_layers": 1, "num_heads": 2, "hidden_dim": 16, "intermediate_dim": 24, "max_sequence_length": 12}
    backbone = vertebra.models.RobertaBackbone(vocabulary_size=61, **sizes)
    disturb(backbone.weights)
    tokens = np.array([[5, 6, 7, 8], [5, 6, 1, 1]], "int32")
    padded = {"token_ids": tokens, "padding_mask": (tokens != 1).astype("int32")}
    monkeypatch.setattr(type(backbone), "sample_inputs", lambda self: padded)
    backbone.save_to_preset(tmp_path / "preset", format="kerashub")
    vertebra.Backbone.from_preset(tmp_path / "preset", verify=True)
    again = vertebra.Backbone.from_preset(tmp_path / "preset")
    again.token_embedding.embeddings.assign(again.token_embedding.embeddings.numpy() * 1.01)
    again.save_to_preset(tmp_path / "other", format="kerashub")
    (tmp_path / "preset" / "model.weights.h5").write_bytes((tmp_path / "other" / "model.weights.h5").read_bytes())
    with pytest.raises(vertebra.errors.CertificateError, match="sequence_output differs"):
        vertebra.Backbone.from_preset(tmp_path / "preset", verify=True)
