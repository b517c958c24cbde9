"""What the plugin contributes: the classes of an installed KerasHub, without importing it, and nothing without one."""

import importlib.machinery
import importlib.util

import pytest

from vertebra.errors import PresetConfigError
from vertebra_kerashub import configs, installed, plugin

EXPORTS = '''"""DO NOT EDIT."""
from keras_hub.src.models.backbone import Backbone as Backbone
from keras_hub.src.models.deit.deit_backbone import DeiTBackbone as DeiTBackbone
from keras_hub.src.models.bert.bert_backbone import (
    BertBackbone as BertBackbone,
)
from keras_hub.src.models.bert.bert_tokenizer import (
    BertTokenizer as BertTokenizer,
)
from keras_hub.src.models.qwen.qwen_backbone import QwenBackbone as Qwen2Backbone
from keras_hub.src.models.qwen.qwen_backbone import QwenBackbone as QwenBackbone
from keras_hub.src.models.feature_pyramid_backbone import (
    FeaturePyramidBackbone as FeaturePyramidBackbone,
)
raise RuntimeError("imported")
'''


@pytest.fixture
def kerashub(tmp_path, monkeypatch):
    """Installs a package with KerasHub's list of public names, whose import fails."""
    (tmp_path / "keras_hub" / "models").mkdir(parents=True)
    for name in ("__init__.py", "models/__init__.py"):
        (tmp_path / "keras_hub" / name).write_text(EXPORTS)
    monkeypatch.syspath_prepend(tmp_path)
    installed.backbone_classes.cache_clear()
    yield tmp_path / "keras_hub"
    installed.backbone_classes.cache_clear()


def test_classes_are_listed_once_without_an_import(kerashub):
    assert installed.backbone_classes() == ("BertBackbone", "DeiTBackbone", "QwenBackbone")
    specs = plugin.vertebra_backbones()
    assert [spec.name for spec in specs] == ["KerasHubBertBackbone", "KerasHubDeiTBackbone", "KerasHubQwenBackbone"]
    assert all(spec.fallback for spec in specs)
    assert specs[2].formats["kerashub"].identifiers == ("keras_hub>QwenBackbone", "keras_nlp>QwenBackbone")


def test_another_layout_of_kerashub_contributes_nothing(kerashub):
    (kerashub / "models" / "__init__.py").unlink()
    assert plugin.vertebra_backbones() == []


def test_nothing_without_kerashub(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    installed.backbone_classes.cache_clear()
    assert plugin.vertebra_backbones() == []
    installed.backbone_classes.cache_clear()


OWN = {"module": "keras_hub.src.models", "class_name": "ResNetBackbone", "registered_name": "keras_hub>ResNetBackbone"}
POLICY = {"module": "keras", "class_name": "DTypePolicy", "config": {"name": "float32"}, "registered_name": None}
ZEROS = {"module": "keras.initializers", "class_name": "Zeros", "config": {}, "registered_name": None}


@pytest.mark.parametrize("value", [OWN | {"config": {"dtype": POLICY, "start": [ZEROS]}}, [OWN], 3, {"depths": [1]}])
def test_objects_of_kerashub_and_data_of_keras_may_be_in_configs(value):
    configs.check_config("SegFormerBackbone", {"image_encoder": value})


@pytest.mark.parametrize(
    ("value", "named"),
    [
        (POLICY | {"class_name": "Lambda"}, "keras.Lambda"),
        (POLICY | {"module": "keras.layers", "class_name": "Lambda"}, "keras.layers.Lambda"),
        (POLICY | {"module": "builtins", "class_name": "function"}, "builtins.function"),
        (POLICY | {"module": "os", "class_name": "system"}, "os.system"),
        (POLICY | {"module": ["os"]}, r"\['os'\]\.DTypePolicy"),
        (OWN | {"class_name": "Popen"}, "keras_hub>ResNetBackbone"),
        (OWN | {"module": "mine.models"}, "keras_hub>ResNetBackbone"),
        (OWN | {"module": "keras_hubs"}, "keras_hub>ResNetBackbone"),
        (OWN | {"registered_name": "mine>ResNetBackbone"}, "mine>ResNetBackbone"),
        ({"class_name": "__lambda__", "config": {"value": "e30="}}, "None.__lambda__"),
        (OWN | {"config": {"inner": [{"class_name": "__typespec__"}]}}, "None.__typespec__"),
    ],
    ids=str,
)
def test_other_objects_are_refused_by_name(value, named):
    with pytest.raises(PresetConfigError, match=f"is an object of {named}, expected one of KerasHub's classes"):
        configs.check_config("SegFormerBackbone", {"image_encoder": value})
