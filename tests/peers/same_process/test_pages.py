"""The pages for users of other libraries: the code for those libraries runs, and Vertebra's computes the same."""

import dataclasses
import importlib
import inspect
import re
import shutil
import sys

import numpy as np
import pytest

from pages import code, files, page

PEFT, KERASHUB = "how-to/from-transformers-peft.md", "how-to/from-kerashub.md"
SENTENCES = "how-to/from-sentence-transformers.md"

pytestmark = pytest.mark.keras(once=True)


@pytest.fixture
def folder(golden, tmp_path, monkeypatch):
    """The current folder, with a checkpoint."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(golden / "transformers", "checkpoint")
    return tmp_path


def test_both_scripts_compute_the_same(folder, inputs):
    """Each also reads the adapter and the merged checkpoint that the other wrote."""
    import torch
    import transformers

    import vertebra

    theirs, ours = (block for block in code(PEFT)[:2])
    names = {"ids": torch.tensor(inputs["token_ids"]), "mask": torch.tensor(inputs["padding_mask"])}
    ours_names, their_names = dict(names), dict(names)
    exec(compile(theirs.replace("lora_dropout=0.1", "lora_dropout=0.0"), "theirs", "exec"), their_names)
    before = vertebra.Backbone.from_preset("./merged")
    before.load_lora_weights("./adapter")
    exec(compile(ours, "ours", "exec"), ours_names)
    expected = their_names["outputs"].detach().numpy()
    np.testing.assert_allclose(ours_names["outputs"].detach().numpy(), expected, atol=1e-5)
    merged = transformers.AutoModel.from_pretrained("./merged")
    states = merged(input_ids=names["ids"], attention_mask=names["mask"]).last_hidden_state
    np.testing.assert_allclose(states.detach().numpy(), expected, atol=1e-5)
    trained = sum(p.numel() for p in their_names["model"].parameters() if p.requires_grad)
    assert ours_names["receipt"].parameters_trained == trained
    giving = code(PEFT)[-1]
    names = ours_names | {"peft": importlib.import_module("peft"), "transformers": transformers}
    names["backbone"].save_lora_weights("./for_peft")
    exec(compile(giving, "giving", "exec"), names)


def test_the_fields_of_the_table_are_those_of_peft():
    import peft

    table = page(PEFT).partition("## Fields of LoraConfig")[2].partition("## Take")[0]
    cells = re.findall(r"^\| (`.+?) \|", table, flags=re.MULTILINE)
    named = {name for cell in cells for name in re.findall(r"`(\w+)", cell)}
    assert named <= {field.name for field in dataclasses.fields(peft.LoraConfig)}
    assert {"r", "lora_alpha", "target_modules", "lora_dropout", "bias", "modules_to_save"} <= named
    defaults = peft.LoraConfig()
    assert defaults.lora_alpha == 8  # as the page says


def test_the_names_of_kerashub_are_its_own():
    keras_hub = pytest.importorskip("keras_hub")
    for name in set(re.findall(r"`keras_hub\.models\.(\w+)", page(KERASHUB))):
        assert hasattr(keras_hub.models, name), name
    assert hasattr(keras_hub, "upload_preset")


def test_the_names_of_sentence_transformers_are_its_own():
    import sentence_transformers

    model = sentence_transformers.SentenceTransformer
    for name in ("encode", "encode_query", "encode_document", "similarity", "save_pretrained", "add_adapter"):
        assert hasattr(model, name)
        assert f"`{name}" in page(SENTENCES)
    assert {"prompt_name", "prompt", "batch_size"} <= inspect.signature(model.encode).parameters.keys()
    assert "truncate_dim" in inspect.signature(model.__init__).parameters
    assert all(hasattr(sentence_transformers.CrossEncoder, name) for name in ("predict", "rank"))


LLAMA = files("tutorials/write-an-architecture.md")


@pytest.fixture
def acme_llama(tmp_path, monkeypatch):
    """The plugin of the tutorial, added until the test ends."""
    import vertebra

    for name in ("__init__.py", "backbone.py"):
        (tmp_path / "plugin/acme_llama").mkdir(parents=True, exist_ok=True)
        (tmp_path / "plugin/acme_llama" / name).write_text(LLAMA[f"acme_llama/{name}"])
    monkeypatch.syspath_prepend(tmp_path / "plugin")
    vertebra.add_plugin(importlib.import_module("acme_llama"), "acme-llama")
    yield
    vertebra.remove_plugin("acme-llama")
    for name in [name for name in sys.modules if name.partition(".")[0] == "acme_llama"]:
        del sys.modules[name]


@pytest.mark.parametrize("tied", [False, True])
def test_the_llama_of_the_tutorial_computes_what_transformers_computes(acme_llama, tied, tmp_path, monkeypatch, capsys):
    import transformers

    import vertebra

    monkeypatch.chdir(tmp_path)
    making, comparing = (LLAMA[f"{name}.py"] for name in ("make_checkpoint", "compare"))
    making = making.replace("rms_norm_eps=1e-5)", f"rms_norm_eps=1e-5, tie_word_embeddings={tied})")
    exec(compile(making, "make_checkpoint.py", "exec"), {})
    exec(compile(comparing, "compare.py", "exec"), {})
    differences = [float(number) for number in re.findall(r"difference (\S+)", capsys.readouterr().out)]
    assert len(differences) == 2
    assert max(differences) < 1e-5
    backbone = vertebra.Backbone.from_preset("checkpoint")
    backbone.save_to_preset("written", format="transformers")
    _, report = transformers.LlamaForCausalLM.from_pretrained("written", output_loading_info=True)
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]
