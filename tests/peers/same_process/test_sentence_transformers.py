"""Sentence Transformers: reads the folders that Vertebra writes, and Vertebra reads those that it saves."""

import pytest
import torch

import vertebra
from vertebra.cli import main

pytestmark = pytest.mark.keras

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "cat", "sits", "on", "the", "mat", "markets", "fell"]
TEXTS = ["a cat sits on the mat", "markets fell"]


@pytest.fixture
def saved(tmp_path):
    """The folder of a sentence model with random weights, as its library saves it."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.models import Normalize, Pooling, Transformer
    from transformers import BertConfig, BertModel, BertTokenizer

    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24}
    config = BertConfig(vocab_size=len(WORDS), max_position_embeddings=12, **sizes)
    BertModel(config).save_pretrained(tmp_path / "base")
    BertTokenizer(vocab={word: number for number, word in enumerate(WORDS)}).save_pretrained(tmp_path / "base")
    modules = [Transformer(str(tmp_path / "base"), max_seq_length=8), Pooling(16, pooling_mode="mean"), Normalize()]
    SentenceTransformer(modules=modules, device="cpu").save(str(tmp_path / "saved"))
    return tmp_path / "saved"


@pytest.fixture
def encoder():
    """Returns a function that opens a folder with Sentence Transformers."""
    from sentence_transformers import SentenceTransformer

    return lambda folder: SentenceTransformer(str(folder), device="cpu", local_files_only=True)


def embedded(backbone, tokens):
    """Returns normalised means of the hidden states of tokens that count."""
    states, mask = backbone(**tokens)["sequence_output"], tokens["attention_mask"][..., None]
    return torch.nn.functional.normalize((states * mask).sum(1) / mask.sum(1)).detach()


def test_hidden_states_are_those_of_the_model_that_saved_the_folder(saved, encoder):
    model = encoder(saved)
    tokens = model.tokenize(TEXTS)
    tokens = {name: tokens[name] for name in ("input_ids", "token_type_ids", "attention_mask")}
    expected = model(dict(tokens))
    backbone = vertebra.Backbone.from_preset(saved)
    states = backbone(**tokens)["sequence_output"].detach()
    counts = tokens["attention_mask"] == 1
    assert torch.allclose(states[counts], expected["token_embeddings"][counts], atol=1e-5)
    assert torch.allclose(embedded(backbone, tokens), expected["sentence_embedding"], atol=1e-5)


def test_a_merged_adapter_embeds_as_the_backbone_that_has_it(saved, encoder, tmp_path):
    model = encoder(saved)
    tokens = model.tokenize(TEXTS)
    tokens = {name: tokens[name] for name in ("input_ids", "token_type_ids", "attention_mask")}
    backbone = vertebra.Backbone.from_preset(saved)
    backbone.enable_lora(4, ["attention", "mlp"])
    torch.manual_seed(1)
    for parameter in backbone.trainable_weights:
        parameter.assign(0.3 * torch.randn(parameter.shape))
    backbone.save_lora_weights(tmp_path / "adapter")
    command = ["lora", "merge", str(tmp_path / "adapter"), str(tmp_path / "merged"), "--base", str(saved)]
    assert main([*command, "--format", "transformers"]) == 0
    found = torch.tensor(encoder(tmp_path / "merged").encode(TEXTS))
    assert torch.allclose(found, embedded(backbone, tokens), atol=1e-5)
    assert not torch.allclose(found, torch.tensor(model.encode(TEXTS)), atol=1e-2)

    backbone.merged_copy().save_to_preset(tmp_path / "copy", format="transformers", assets=str(saved))
    assert torch.allclose(torch.tensor(encoder(tmp_path / "copy").encode(TEXTS)), found, atol=1e-6)
