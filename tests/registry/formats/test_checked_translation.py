"""Faults of a translation are told as those of the file or of the plugin, and a save reads back what it writes."""

import json

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import vertebra
from vertebra import TensorRule
from vertebra._formats.checked_translation import CheckedTranslation
from vertebra._formats.translation import in_module
from vertebra.errors import PluginError, PresetConfigError, PresetFormatError, WeightsMismatchError

pytestmark = pytest.mark.keras(once=True)

SIZES = {"size": 8, "patch": 4, "width": 16, "depth": 1, "heads": 2, "hidden": 24}


@pytest.fixture
def translation(documented_vit):
    """The class of the translation, whose methods a test may replace."""
    return documented_vit.ViTTranslation


@pytest.fixture
def backbone(documented_vit):
    return vertebra.models.AcmeViTBackbone(**SIZES)


@pytest.fixture
def checkpoint(backbone, tmp_path):
    """Returns a function that changes a checkpoint's config or tensors, and returns its folder."""
    folder = tmp_path / "checkpoint"
    backbone.save_to_preset(folder, format="transformers")

    def change(without=(), tensors=None, **fields):
        config = json.loads((folder / "config.json").read_text()) | fields
        (folder / "config.json").write_text(json.dumps({k: v for k, v in config.items() if k not in without}))
        if tensors:
            save_file(tensors(load_file(folder / "model.safetensors")), folder / "model.safetensors")
        return folder

    return change


def load(folder):
    return vertebra.Backbone.from_preset(folder)


# === Reading ===


def test_a_field_that_the_config_lacks_is_its_own_fault(checkpoint, translation, monkeypatch):
    monkeypatch.setattr(translation, "arguments", lambda self, config: {"width": config["hidden_size"]})
    folder = checkpoint(without=["hidden_size"])
    with pytest.raises(PresetConfigError) as caught:
        load(folder)
    told = str(caught.value)
    assert f"config.json of 'file://{folder}'" in told
    assert "it lacks 'hidden_size', which acme_vit:ViTTranslation of plugin acme-vit looks up" in told
    assert isinstance(caught.value.__cause__, KeyError)


def test_a_merged_table_of_defaults_does_not_hide_the_missing_field(checkpoint, translation, monkeypatch):
    monkeypatch.setattr(
        translation, "arguments", lambda self, config: {"width": ({"depth": 1} | config)["hidden_size"]}
    )
    with pytest.raises(PresetConfigError, match="it lacks 'hidden_size'"):
        load(checkpoint(without=["hidden_size"]))


def test_a_value_that_a_table_of_the_plugin_lacks_names_its_field(checkpoint, translation, monkeypatch):
    monkeypatch.setattr(translation, "arguments", lambda self, config: {"a": {"gelu": 1}[config["hidden_act"]]})
    with pytest.raises(PresetConfigError, match="hidden_act is 'geluu', which acme_vit:ViTTranslation of plugin acme-"):
        load(checkpoint(hidden_act="geluu"))


def test_a_value_within_a_table_of_the_config_is_named_with_both(checkpoint, translation, monkeypatch):
    monkeypatch.setattr(translation, "arguments", lambda self, config: {"a": {"linear": 1}[config["rope"]["type"]]})
    with pytest.raises(PresetConfigError, match=r"rope\.type is 'yarn', which acme_vit:ViTTranslation"):
        load(checkpoint(rope={"type": "yarn"}))


@pytest.mark.parametrize(
    ("method", "result", "told"),
    [
        ("arguments", lambda self, config: 1 / 0, r"arguments failed \(ZeroDivisionError: .*for config.json of 'file:"),
        ("arguments", lambda self, config: {"a": 1}["hidden_size"], r"arguments failed \(KeyError: 'hidden_size'\)"),
        ("arguments", lambda self, config: [], r"arguments returned \[\], expected a dict with str keys"),
        (
            "rules",
            lambda self, arguments: {}["depthh"],
            r"rules failed \(KeyError: 'depthh'\), with the arguments size,",
        ),
        (
            "rules",
            lambda self, arguments: {"norm/gamma": "norm"},
            "rules returned 'norm' for norm/gamma, not a TensorRule",
        ),
        ("rules", lambda self, arguments: None, "rules returned None, expected a dict of TensorRule"),
        ("current_name", lambda self, tensor: tensor.nothing, "current_name failed .*AttributeError.*, for '"),
        ("prefixes", "vit.", "prefixes is 'vit.', expected a tuple of strings"),
        ("optional", "norm/*", "optional is 'norm/\\*', expected a tuple of strings"),
        ("ignored", (1,), r"ignored is \(1,\), expected a tuple of strings"),
    ],
)
def test_every_other_fault_is_the_plugin_s(checkpoint, translation, monkeypatch, method, result, told):
    folder = checkpoint()
    monkeypatch.setattr(translation, method, result)
    with pytest.raises(PluginError, match=f"Plugin acme-vit: acme_vit:ViTTranslation: {told}"):
        load(folder)


@pytest.mark.parametrize("load_weights", [True, False])
def test_a_required_argument_that_the_translation_leaves_out_is_the_plugin_s_fault(
    checkpoint, translation, monkeypatch, load_weights
):
    arguments = translation.arguments
    without = lambda self, config: {k: v for k, v in arguments(self, config).items() if k not in ("heads", "depth")}  # noqa: E731
    folder = checkpoint()
    monkeypatch.setattr(translation, "arguments", without)
    told = (
        r"acme_vit:ViTTranslation: arguments returned no depth, heads, which AcmeViTBackbone requires, for config.json"
    )
    with pytest.raises(PluginError, match=told):
        vertebra.Backbone.from_preset(folder, load_weights=load_weights)


def test_errors_of_vertebra_are_raised_as_they_are(checkpoint):
    with pytest.raises(PresetConfigError, match="qkv_bias is False, and this architecture computes only True"):
        load(checkpoint(qkv_bias=False))


def with_rules(monkeypatch, translation, change):
    rules = translation.rules
    monkeypatch.setattr(translation, "rules", lambda self, arguments: change(rules(self, arguments)))


def test_a_rule_for_no_weight_is_the_plugin_s_fault(checkpoint, translation, monkeypatch):
    folder = checkpoint()

    def misspell(rules):
        return {name.replace("up/bias", "up/bais"): rule for name, rule in rules.items()}

    with_rules(monkeypatch, translation, misspell)
    with pytest.raises(PluginError, match=r"does not have: block_0_up/bais, did you mean 'block_0_up/bias'\?"):
        load(folder)


def test_a_weight_without_a_rule_is_the_plugin_s_fault(checkpoint, translation, monkeypatch):
    folder = checkpoint()
    with_rules(monkeypatch, translation, lambda rules: {k: v for k, v in rules.items() if k != "norm/beta"})
    with pytest.raises(PluginError, match="names no tensor for weights of the model: norm/beta"):
        load(folder)


def test_a_tensor_that_the_file_lacks_is_the_file_s_fault(checkpoint):
    folder = checkpoint(tensors=lambda found: {k: v for k, v in found.items() if k != "layernorm.bias"})
    with pytest.raises(WeightsMismatchError, match="norm/beta"):
        load(folder)


def test_harmless_rules_and_optional_weights_are_not_blamed_for_it(checkpoint, translation, monkeypatch):
    folder = checkpoint(tensors=lambda found: {k: v for k, v in found.items() if k != "layernorm.bias"})
    monkeypatch.setattr(translation, "optional", ("block_0_up/bias", "pooler/*"))

    def change(rules):
        others = {name: rule for name, rule in rules.items() if name != "block_0_up/bias"}
        return others | {"pooler/kernel": TensorRule("pool.weight")}

    with_rules(monkeypatch, translation, change)
    with pytest.raises(WeightsMismatchError, match="1 missing: norm/beta"):
        load(folder)


def test_a_translation_that_cannot_be_imported_names_the_plugin(checkpoint, documented_vit, monkeypatch):
    folder = checkpoint()
    monkeypatch.delattr(documented_vit, "ViTTranslation")
    with pytest.raises(PluginError, match=r"acme_vit:ViTTranslation, cannot be imported \(AttributeError"):
        load(folder)
    monkeypatch.setattr(documented_vit, "ViTTranslation", dict, raising=False)
    with pytest.raises(PluginError, match=r"acme_vit:ViTTranslation is \{\}, expected a subclass of Translation"):
        load(folder)


# === Writing ===


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"model_type": None}, "config returned model_type=None, expected one of vit"),
        ({"model_type": "vitt"}, "config returned model_type='vitt', expected one of vit"),
        ({"hidden_size": 32}, "config wrote width=16, and arguments reads it as 32"),
        ({"hidden_act": "relu"}, "arguments refuses the config that config wrote: .*hidden_act is 'relu'"),
        ({"image_size": np.zeros(2)}, "config returned image_size=array.*, which JSON cannot hold"),
    ],
)
def test_a_config_that_would_be_read_as_another_model_is_not_written(
    backbone, translation, tmp_path, monkeypatch, change, told
):
    config = translation.config
    monkeypatch.setattr(translation, "config", lambda self, arguments: config(self, arguments) | change)
    with pytest.raises(PluginError, match=f"acme_vit:ViTTranslation: {told}"):
        backbone.save_to_preset(tmp_path / "saved", format="transformers")
    assert not (tmp_path / "saved").exists()


@pytest.mark.parametrize("value", [2, None])
def test_a_forgotten_argument_is_found_whatever_its_default(value):
    class Forgetful(vertebra.Translation):
        def arguments(self, config):
            return {"depth": 1, "window": config.get("window", value)}

        def config(self, arguments):
            return {"depth": arguments["depth"]}

        def rules(self, arguments):
            return {}

    translation = CheckedTranslation(Forgetful(), "x:Forgetful", "acme", "config.json")
    arguments = {"depth": 1, "window": 3}
    with pytest.raises(PluginError, match="config wrote window=3, and arguments reads it as"):
        translation.check_read_back(translation.config(arguments), arguments, {})
    translation.check_read_back({"depth": 1}, {"depth": 1, "window": value}, {})


def test_two_values_of_one_meaning_and_arguments_without_effect_are_not_faults():
    class Meaning(vertebra.Translation):
        def arguments(self, config):
            return {"rate": config["rate"] or None, "kinds": config["kinds"]}

        def config(self, arguments):
            return {"rate": arguments["rate"] or 0.0, "kinds": list(arguments["kinds"])}

        def rules(self, arguments):
            return {}

        def ineffective_arguments(self, arguments):
            return ("spread",)

    translation = CheckedTranslation(Meaning(), "x:Meaning", "acme", "config.json")
    arguments = {"rate": 0.0, "kinds": ("a",), "spread": 0.5}
    translation.check_read_back(translation.config(arguments), arguments, {"spread": 0.02})


def test_an_unknown_format_is_named(backbone, tmp_path):
    with pytest.raises(PresetFormatError, match="no plugin has a translation of it to the kerashub format"):
        backbone.save_to_preset(tmp_path / "saved", format="kerashub")


# === Names ===


def test_a_checkpoint_with_the_names_of_the_library_s_model_is_read(checkpoint, backbone, translation):
    own = {rule.tensor: in_module(rule) for rule in translation().rules(SIZES).values()}
    assert own["encoder.layer.0.attention.attention.query.weight"] == "layers.0.attention.q_proj.weight"
    folder = checkpoint(tensors=lambda found: {f"vit.{own[name]}": array for name, array in found.items()})
    pixels = np.random.default_rng(0).random((1, 8, 8, 3), "float32")
    np.testing.assert_array_equal(load(folder).predict(pixels), backbone.predict(pixels))


def test_a_module_has_a_name():
    with pytest.raises(TypeError, match="module='', expected the name of a module"):
        TensorRule("a.weight", module="")
