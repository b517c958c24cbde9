"""The public functions that are not methods of a backbone."""

import types

import keras
import numpy as np
import pytest

import vertebra
from vertebra._discovery import plugins
from vertebra.errors import CacheError, PluginError, PresetClassError, RuntimeBoundError, UnknownNameError

pytestmark = pytest.mark.keras


@pytest.fixture
def forget():
    """Takes the plugins that a test adds away again."""
    yield
    for name in [plugin.name for plugin in plugins.registry().plugins if plugin.added]:
        vertebra.remove_plugin(name)


# === use ===


def test_use_returns_the_runtime_and_may_be_repeated(runtime):
    assert vertebra.use(runtime).name == runtime
    assert vertebra.use(runtime) is vertebra.use(runtime)


def test_use_cannot_change_what_keras_runs_on(runtime):
    other = {"torch": "jax", "jax": "torch"}[runtime]
    with pytest.raises(RuntimeBoundError) as caught:
        vertebra.use(other)
    assert (caught.value.wanted, caught.value.bound) == (other, runtime)
    assert keras.config.backend() == runtime


def test_use_of_an_unknown_runtime_suggests_known_ones(runtime):
    with pytest.raises(UnknownNameError) as caught:
        vertebra.use(f"{runtime}x")
    assert caught.value.suggestions == [runtime]


# === load_model ===


def test_load_model_knows_classes_that_were_never_imported(golden, tmp_path, child, run, backbone):
    backbone.save(tmp_path / "model.keras")
    printed = child(
        "import sys, vertebra\n"
        "model = vertebra.load_model(sys.argv[1])\n"
        "print(type(model).__name__, isinstance(model, vertebra.Backbone), model.count_params())",
        tmp_path / "model.keras",
    )
    assert printed.split() == ["BertBackbone", "True", "6656"]


def test_load_model_passes_its_arguments_on(backbone, inputs, tmp_path):
    model = keras.Model(backbone.input, backbone.output["pooled_output"])
    model.compile("sgd", "mse")
    model.save(tmp_path / "model.keras")
    assert vertebra.load_model(tmp_path / "model.keras").compiled
    assert not vertebra.load_model(tmp_path / "model.keras", compile=False).compiled


# === add_plugin ===


def test_an_added_plugin_is_used_at_once(forget, backbone, run, adapters_of_one):
    vertebra.add_plugin(adapters_of_one, "notebook")
    before = run(backbone)
    receipt = backbone.enable_lora(2, strategy="one")
    assert receipt.parameters_added == 4
    assert np.array_equal(run(backbone)["pooled_output"], before["pooled_output"])
    backbone.trainable_weights[0].assign(1.0)
    assert not np.array_equal(run(backbone)["pooled_output"], before["pooled_output"])


@pytest.fixture
def adapters_of_one():
    """A plugin with a LoRA strategy that adds a single number to all values of each layer's kernel."""

    class One(vertebra.LoraStrategy):
        name = "one"

        def build(self, part, site):
            part.number = part.add_weight(name="number", shape=(), initializer="zeros")

        def factors(self, part, site):
            return part.number * keras.ops.ones((site.in_features, 1)), keras.ops.ones((1, site.out_features))

    plugin = types.ModuleType("notebook")
    plugin.vertebra_lora_strategies = vertebra.hookimpl(specname="vertebra_lora_strategies")(lambda: [One()])
    return plugin


def test_a_strategy_of_a_plugin_saves_and_loads_like_the_builtin_one(
    forget, golden, backbone, run, adapters_of_one, tmp_path
):
    vertebra.add_plugin(adapters_of_one, "notebook")
    backbone.enable_lora(2, strategy="one")
    for number, variable in enumerate(backbone.trainable_weights):
        variable.assign(number + 1.0)
    backbone.save_lora_weights(tmp_path / "adapter.safetensors")
    again = vertebra.Backbone.from_preset(golden / "transformers")
    again.load_lora_weights(tmp_path / "adapter.safetensors")
    assert np.array_equal(run(again)["pooled_output"], run(backbone)["pooled_output"])


def test_a_preset_of_an_added_plugin_loads_by_its_id(forget, golden, run, backbone):
    plugin = types.ModuleType("pack")
    preset = vertebra.PresetSpec("packed", f"file://{golden / 'transformers'}", 6656, backbone="BertBackbone")
    plugin.vertebra_presets = vertebra.hookimpl(specname="vertebra_presets")(lambda: [preset])
    vertebra.add_plugin(plugin, "notebook")
    for owner in (vertebra.models.BertBackbone, vertebra.Backbone):
        assert owner.presets["packed"] == preset
        assert np.array_equal(run(owner.from_preset("packed"))["pooled_output"], run(backbone)["pooled_output"])
    assert "packed" not in vertebra.models.GPT2Backbone.presets
    with pytest.raises(PresetClassError):
        vertebra.models.GPT2Backbone.from_preset("packed")
    vertebra.remove_plugin("notebook")
    assert "packed" not in vertebra.models.BertBackbone.presets


@pytest.mark.parametrize(
    "hooks",
    [
        {},
        {"vertebra_backbones": lambda: ["BertBackbone"]},
        {"vertebra_backbones": lambda: None},
        {"vertebra_runtimes": lambda: 1 / 0},
        {"vertebra_backbone": lambda: [0]},
        {"vertebra_backbones": lambda surprise: []},
    ],
    ids=["none", "wrong items", "no list", "raises", "misspelled", "wrong arguments"],
)
def test_a_plugin_that_is_wrong_is_refused_and_the_others_stay(forget, hooks):
    marked = {name: vertebra.hookimpl(specname=name)(function) for name, function in hooks.items()}
    with pytest.raises(PluginError) as caught:
        vertebra.add_plugin(types.SimpleNamespace(**marked), "notebook")
    assert caught.value.plugin == "notebook"
    assert "BertBackbone" in dir(vertebra.models)


# === runtime_folder ===


def test_a_runtime_keeps_files_in_the_cache(configure, tmp_path):
    configure(VERTEBRA_CACHE=str(tmp_path / "new"))
    assert vertebra.runtime_folder("torch") == tmp_path / "new" / "runtimes" / "torch"
    assert not (tmp_path / "new").exists()


def test_a_user_without_a_cache_has_no_such_folder(monkeypatch):
    def refuse():
        raise CacheError("~", "this user has no home folder", "Set VERTEBRA_CACHE")

    monkeypatch.setattr("vertebra._cache.default_store.cache_folder", refuse)
    assert vertebra.runtime_folder("torch") is None
