"""The examples of the documentation run: `docs/examples`, and those of pages on LoRA, serving, images and plugins."""

import os
import re
import runpy
import shutil
import subprocess
import sys
import types

import keras
import numpy as np
import pytest

import vertebra
from pages import BLOCK, DOCS, page
from vertebra._discovery import catalog, plugins

pytestmark = pytest.mark.keras

PAGE = page("concepts/lora.md")
STRATEGY = re.search(
    r"`(vertebra_lora_fa)\.py`\n\n```python\n(.+?)```", page("how-to/write-a-strategy.md"), flags=re.DOTALL
)
EXAMPLES = {"torch": ["train_fit.py", "train_torch.py"], "jax": ["train_fit.py", "train_jax.py"]}


def test_every_example_is_run():
    assert {path.name for path in (DOCS / "examples").iterdir()} == {name for own in EXAMPLES.values() for name in own}
    assert all(f"(../examples/{name})" in PAGE for own in EXAMPLES.values() for name in own)


@pytest.mark.parametrize("number", [0, 1])
def test_training_lowers_the_loss_and_the_adapter_loads(runtime, number, monkeypatch, capsys):
    example = DOCS / "examples" / EXAMPLES[runtime][number]
    monkeypatch.setattr(sys, "argv", [str(example), runtime])
    runpy.run_path(str(example))
    shown = capsys.readouterr().out
    losses = [float(loss) for loss in re.findall(r"loss (\d\.\d+)", shown)]
    assert len(losses) == 8
    assert losses[-1] < losses[0] - 0.01
    assert "the same after loading: True" in shown


@pytest.fixture
def presets(golden, tmp_path, monkeypatch):
    """Makes a current directory with the presets and adapters of the page."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(golden / "transformers", "my_bert")
    shutil.copytree(golden / "kerashub_int8", "my_bert_int8")
    for seed, name in enumerate(["legal.safetensors", "german"]):
        backbone = vertebra.Backbone.from_preset("my_bert")
        backbone.enable_lora(4, seed=seed)
        backbone.save_lora_weights(name)


def test_the_page_about_lora_runs_from_top_to_bottom(presets, inputs, capsys):
    names = {"inputs": inputs}
    for block in BLOCK.findall(PAGE):
        exec(compile(block, "lora.md", "exec"), names)
    assert list(names["server"].lora_adapters) == []  # merged for good
    assert "merged legal into" in capsys.readouterr().out
    assert names["merged"].lora_adapters == {}
    assert names["backbone"].lora_adapters["default"].trained


def test_the_page_about_serving_runs_from_top_to_bottom(presets, inputs, run):
    names = {"inputs": inputs}
    for block in BLOCK.findall(page("how-to/many-adapters.md")):
        exec(compile(block, "many-adapters.md", "exec"), names)
    server, rows = names["server"], names["answers"]
    server.activate_lora("legal")
    legal = run(server)["pooled_output"]
    for answer in (rows[0], rows[2], names["mixed"]):
        pooled = keras.ops.convert_to_numpy(answer["pooled_output"])
        assert np.abs(pooled[0] - legal[0]).max() <= 1e-5


def test_the_page_about_images_runs_from_top_to_bottom():
    names = {}
    for block in BLOCK.findall(page("concepts/images.md")):
        exec(compile(block, "images.md", "exec"), names)
    assert names["states"].shape == (4, 17, 16)
    assert [tuple(states.shape) for states in names["maps"]] == [(4, 4, 4, 16)] * 2
    assert names["larger"]["sequence_output"].shape == (4, 19, 16)
    assert [tuple(states.shape) for states in names["detector"](names["images"])] == [(4, 4, 4, 16)] * 2


@pytest.fixture
def lora_fa(monkeypatch):
    """Adds the strategy of the page, as a notebook does, until the test ends."""
    module = types.ModuleType(STRATEGY[1])
    monkeypatch.setitem(sys.modules, STRATEGY[1], module)
    exec(compile(STRATEGY[2], f"{STRATEGY[1]}.py", "exec"), module.__dict__)
    vertebra.add_plugin(module, "lora_fa")
    yield "lora_fa"
    plugins.registry.cache_clear()
    catalog.clear_catalog()


def test_the_strategy_on_the_page_works(lora_fa, golden, run, train, tmp_path):
    assert len(STRATEGY[2].splitlines()) <= 50
    backbone = vertebra.Backbone.from_preset(golden / "transformers", dropout=0.0)
    base = run(backbone)
    receipt = backbone.enable_lora(4, strategy=lora_fa, spread=0.5, seed=0)
    assert receipt.parameters_trained == receipt.parameters_added / 2
    np.testing.assert_array_equal(run(backbone)["pooled_output"], base["pooled_output"])
    losses = train(backbone, steps=3)
    assert losses[-1] < losses[0]
    trained = run(backbone)
    for name in ("short.safetensors", "peft", "keras.lora.h5"):
        backbone.save_lora_weights(tmp_path / name)
        fresh = vertebra.Backbone.from_preset(golden / "transformers", dropout=0.0)
        fresh.load_lora_weights(tmp_path / name)
        np.testing.assert_allclose(run(fresh)["pooled_output"], trained["pooled_output"], atol=1e-6)
    backbone.merge_lora()
    np.testing.assert_allclose(run(backbone)["pooled_output"], trained["pooled_output"], atol=1e-6)


PLUGINS = page("how-to/declare-an-architecture.md")
VIT = re.findall(r"`acme_vit/\w+\.py`\n\n```python\n(.+?)```", PLUGINS, flags=re.DOTALL)
RESIZE, MIGRATE, *_ = BLOCK.findall(PLUGINS.partition("## Another size")[2])


def test_the_architecture_on_the_page_is_short():
    translation, network = ([line for line in code.splitlines() if line.strip()] for code in VIT)
    assert len(translation + network) <= 81


def test_the_command_for_these_tests_chooses_the_runtime(runtime):
    variable = re.search(r"\$ (\w+)=torch pytest && \1=jax pytest", PLUGINS).group(1)
    environment = {k: v for k, v in os.environ.items() if k not in ("KERAS_BACKEND", "VERTEBRA_RUNTIME")}
    code = "import keras, vertebra\nvertebra.models.BertBackbone.from_preset\nprint(keras.backend.backend())"
    run = subprocess.run(
        [sys.executable, "-c", code], env=environment | {variable: runtime}, capture_output=True, text=True, check=False
    )
    assert (run.stdout.strip(), run.returncode) == (runtime, 0), run.stderr


def test_the_architecture_on_the_page_takes_another_image_size(documented_vit, tmp_path, monkeypatch, caplog):
    names = {"vertebra": vertebra, "keras": keras, "np": np}
    exec(compile(RESIZE, "declare-an-architecture.md", "exec"), names)
    small = vertebra.models.AcmeViTBackbone(8, 4, 16, 1, 2, 24)
    small.save_to_preset(tmp_path / "small")
    with pytest.raises(vertebra.errors.WeightsMismatchError, match="positions/embeddings"):
        vertebra.Backbone.from_preset(tmp_path / "small", size=12)
    resize = vars(names["AcmeViTBackbone"])["resize_weight"]
    monkeypatch.setattr(vertebra.models.AcmeViTBackbone, "resize_weight", resize)
    large = vertebra.Backbone.from_preset(tmp_path / "small", size=12)
    assert large(np.zeros((1, 12, 12, 3))).shape == (1, 10, 16)
    before, after = (model.get_layer("positions").embeddings.numpy() for model in (small, large))
    np.testing.assert_array_equal(after[:, 0], before[:, 0])
    np.testing.assert_allclose(after[:, [1, 3, 7, 9]], before[:, 1:], atol=1e-6)  # bilinear: corners stay
    assert "positions/embeddings was resized from (1, 5, 16) to (1, 10, 16)" in caplog.text


def test_the_migration_on_the_page_renames():
    names = {}
    exec(compile(MIGRATE, "declare-an-architecture.md", "exec"), names)
    assert names["migrate"]({"hidden_dim": 4, "depth": 1}, 1) == (
        {"width": 4, "depth": 1},
        {"block_0_dense": "block_0_up"},
    )
