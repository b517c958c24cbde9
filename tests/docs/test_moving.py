"""The pages for users of other libraries: their code for Vertebra runs, on the runtimes that they are for."""

import re
import shutil

import keras
import numpy as np
import pytest

import vertebra
import vertebra_text
from pages import code, page

pytestmark = pytest.mark.keras

KERASHUB, PEFT = "how-to/from-kerashub.md", "how-to/from-transformers-peft.md"
DEMO = "package://vertebra_bert/demo/preset"
SENTENCES, JAX = "how-to/from-sentence-transformers.md", "how-to/jax-after-transformers.md"


@pytest.fixture
def folder(golden, tmp_path, monkeypatch):
    """The current folder, with the presets and the adapter of the pages."""
    monkeypatch.chdir(tmp_path)
    for source, target in {"transformers": "checkpoint", "kerashub": "kerashub_bert", "peft_lora": "adapter"}.items():
        shutil.copytree(golden / source, target)
    return tmp_path


def run_blocks(blocks, runtime, **names):
    for block in blocks:
        block = block.replace('use("torch")', f'use("{runtime}")')
        exec(compile(block, "page", "exec"), names)
    return names


def test_code_for_kerashub_runs(folder, runtime):
    names = run_blocks(code(KERASHUB), runtime)
    assert (folder / "saved" / "model.weights.h5").exists()
    assert (folder / "adapter.lora.h5").exists()
    assert names["backbone"].lora_adapters["default"].config.rank == 4


def blocks_of_vertebra(name):
    return [block for block in code(name) if not re.search(r"\b(peft|sentence_transformers|FlaxAutoModel)\b", block)]


def test_code_for_peft_runs(folder, runtime, inputs, capsys):
    names = {"ids": inputs["token_ids"], "mask": inputs["padding_mask"]}
    names = run_blocks(blocks_of_vertebra(PEFT), runtime, **names)
    assert "lora of rank 8, scale 2, on" in capsys.readouterr().out
    again = vertebra.Backbone.from_preset("./merged")
    for _ in range(2):  # an adapter that is not trained changes nothing
        computed = again(input_ids=names["ids"], attention_mask=names["mask"])["sequence_output"]
        np.testing.assert_allclose(*(keras.ops.convert_to_numpy(x) for x in (computed, names["outputs"])), atol=1e-5)
    assert (folder / "for_peft" / "adapter_config.json").exists()


def test_code_for_sentence_transformers_runs(folder, runtime):
    ours = [
        block.replace("hf://sentence-transformers/all-MiniLM-L6-v2", DEMO) for block in blocks_of_vertebra(SENTENCES)
    ]
    names = run_blocks(ours, runtime)
    assert names["best"].shape == (2, 2)
    assert names["scores"][0, names["best"][0, 0]] == names["scores"][0].max()
    assert names["pairs"].shape[1] == 2
    assert (folder / "saved" / "modules.json").exists()


def test_code_for_flax_runs(folder, runtime, inputs):
    if runtime != "jax":
        pytest.skip("the page is about JAX")
    (block,) = [block for block in code(JAX) if "stateless_call" in block and "FlaxAutoModel" not in block]
    block = block.replace("hf://google-bert/bert-base-uncased@main", "./checkpoint")
    names = {"ids": inputs["token_ids"], "mask": inputs["padding_mask"]}
    names = run_blocks([block], runtime, **names)
    compiled = vertebra.compile(names["backbone"])({"input_ids": names["ids"], "attention_mask": names["mask"]})
    np.testing.assert_allclose(names["states"], compiled["sequence_output"], atol=1e-5)


def test_the_names_of_vertebra_exist():
    """Each attribute that a table of a page names after a class or module of Vertebra is one of it."""
    owners = {"vertebra": vertebra, "vertebra_text": vertebra_text, "vertebra.models": vertebra.models}
    for name in (KERASHUB, PEFT, SENTENCES, JAX):
        for owner, attribute in re.findall(r"`(vertebra_text|vertebra\.models|vertebra)\.(\w+)", page(name)):
            if owner == "vertebra" and attribute == "models":
                continue
            if attribute.startswith("KerasHub") or attribute == "lock":
                continue  # those of an installed KerasHub, and the lockfile
            assert hasattr(owners[owner], attribute), f"{name}: {owner}.{attribute}"


def test_the_calls_of_tables_exist():
    """Each call in the last column of a table, such as `merged_copy()`, is one of a public class or module."""
    models = [vertebra.Backbone, *(getattr(vertebra.models, f"Text{kind}") for kind in ("Embedder", "Classifier"))]
    owners = [*models, vertebra.models.Reranker, vertebra.models, vertebra, vertebra_text]
    found = {}
    for name in (KERASHUB, PEFT, SENTENCES, JAX):
        last_cells = re.findall(r"^\|.* \| (.+?) \|$", page(name), flags=re.MULTILINE)
        calls = {call for cell in last_cells for call in re.findall(r"`(?:backbone\.)?(\w+)\(", cell)}
        found[name] = {call for call in calls if any(hasattr(owner, call) for owner in owners)}
        assert found[name] == calls, name
    assert {"load_lora_weights", "activate_lora", "merged_copy", "unmerge_lora", "summary"} <= found[PEFT]
    assert {"embed", "similarity", "scores", "rank"} <= found[SENTENCES]


def test_the_settings_for_fields_of_peft_exist():
    import inspect

    table = page(PEFT).partition("## Fields of LoraConfig")[2].partition("## Take")[0]
    ours = re.findall(r"^\| [^|]+ \| `(\w+)[`=]", table, flags=re.MULTILINE)
    options = {"trainable_token_indices"}  # of the backbone's method, by a strategy of a plugin
    assert set(ours) - options <= inspect.signature(vertebra.lora.enable).parameters.keys()
    assert len(ours) >= 10
