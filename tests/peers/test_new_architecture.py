"""The architecture that `vertebra new` writes reads and writes Llama's checkpoints after two edits of its README."""

import importlib
import sys

import pytest

import vertebra
from vertebra.cli import main

pytestmark = pytest.mark.keras

CONFIG = {
    "model_type": "llama",
    "vocab_size": 61,
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "rope_theta": 500.0,
    "rms_norm_eps": 1e-3,
}
EDITS = {
    "__init__.py": ('MODEL_TYPE = "acme_llama"', 'MODEL_TYPE = "llama"'),
    "transformers.py": ('["AcmeLlamaModel"]', '["LlamaModel"]'),
}


@pytest.fixture(scope="module")
def architecture(tmp_path_factory):
    """The edited package, added as a plugin; returns the name of its class."""
    folder = tmp_path_factory.mktemp("acme") / "acme-llama"
    assert main(["new", "architecture", "acme-llama", "--output", str(folder)]) == 0
    for name, (old, new) in EDITS.items():
        path = folder / "src" / "acme_llama" / name
        text = path.read_text(encoding="utf-8")
        assert old in text
        path.write_text(text.replace(old, new), encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder / "src")
        vertebra.add_plugin(importlib.import_module("acme_llama"), "acme-llama")
        yield "AcmeLlamaBackbone"
    vertebra.remove_plugin("acme-llama")
    for name in [name for name in sys.modules if name.partition(".")[0] == "acme_llama"]:
        del sys.modules[name]


@pytest.mark.parametrize("changes", [{}, {"num_key_value_heads": 4, "hidden_size": 24}], ids=str)
def test_models_of_transformers_are_read_and_written(
    changes, architecture, ask, transformers_peer, compute, agree, folder, tmp_path
):
    theirs = ask(transformers_peer, "create", folder, "gpt2", model="LlamaModel", config=CONFIG | changes)["outputs"]
    # Named, because `vertebra-llama` reads the model type, too.
    backbone = getattr(vertebra.models, architecture).from_preset(folder)
    assert type(backbone).__name__ == architecture
    agree(compute(backbone, "gpt2"), theirs, "gpt2")
    backbone.save_to_preset(tmp_path / "again", format="transformers")
    loaded = ask(transformers_peer, "load", tmp_path / "again", "gpt2")
    assert not any(loaded["report"].values())
    agree(compute(backbone, "gpt2"), loaded["outputs"], "gpt2")


def test_a_field_that_it_does_not_compute_is_refused(architecture, ask, transformers_peer, folder):
    ask(transformers_peer, "create", folder, "gpt2", model="LlamaModel", config=CONFIG | {"attention_bias": True})
    with pytest.raises(vertebra.errors.PresetConfigError, match="attention_bias is True"):
        getattr(vertebra.models, architecture).from_preset(folder)
