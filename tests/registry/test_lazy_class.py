"""Lazy classes are proxies of backbone classes: looking up attributes about them does not import Keras."""

import copy
import inspect
import pydoc
import sys

import pytest

import vertebra
from vertebra._lazy_class import LazyBackbone
from vertebra.errors import NameClashError

BACKBONE = """
from vertebra import BackboneSpec, PresetSpec, hookimpl

@hookimpl
def vertebra_backbones():
    return [BackboneSpec("ToyBackbone", "nowhere:ToyBackbone", presets=(PresetSpec("toy_en", "file:///toy", 7),))]
"""


@pytest.fixture(autouse=True)
def closed():
    """Keras is imported by no test here."""
    yield
    assert "keras" not in sys.modules


@pytest.fixture
def toy(reload_plugins, install, monkeypatch):
    """The only plugin: an architecture whose class is nowhere."""
    monkeypatch.setenv("VERTEBRA_PLUGINS", "acme*")
    install("acme", BACKBONE)


def test_every_public_name_resolves():
    assert {name for name in vertebra.__all__ if getattr(vertebra, name) is None} == set()
    assert set(vertebra.__all__) < set(dir(vertebra))
    assert vertebra.__version__
    assert not hasattr(vertebra, "nothing")


def test_models_lists_what_is_installed(toy):
    assert dir(vertebra.models) == ["Backbone", "ToyBackbone"]
    assert vertebra.models.Backbone is vertebra.Backbone
    assert not hasattr(vertebra.models, "TyoBackbone")
    assert not hasattr(vertebra.models, "_private")


def test_models_names_both_claimants(toy, install):
    install("acme-two", BACKBONE)
    with pytest.raises(NameClashError):
        hasattr(vertebra.models, "ToyBackbone")


def test_a_lazy_class_has_presets(toy):
    door = vertebra.models.ToyBackbone
    assert isinstance(door, LazyBackbone)
    assert {name: preset.parameters for name, preset in door.presets.items()} == {"toy_en": 7}
    assert vertebra.Backbone.presets == door.presets


def test_a_preset_has_the_keys_of_kerashubs(toy):
    preset = vertebra.models.Backbone.presets["toy_en"]
    assert preset["metadata"] == {"description": "", "params": 7}
    assert preset["file_handle"] == preset.handle == "file:///toy"
    assert "metadata" in preset
    assert preset.get("kaggle_handle") is None
    assert dict(preset) == {"metadata": preset["metadata"], "file_handle": "file:///toy"}
    assert len({preset, preset}) == 1


@pytest.mark.parametrize(
    "ask",
    [
        repr,
        str,
        hash,
        bool,
        callable,
        copy.copy,
        inspect.isclass,
        inspect.unwrap,
        lambda door: door == "something else",
        lambda door: isinstance(3, door),
        lambda door: issubclass(int, door),
        lambda door: {door: 1},
        lambda door: hasattr(door, "__array__"),
        lambda door: hasattr(door, "_repr_html_"),  # notebooks ask this, and more, of whatever they show
    ],
)
def test_asking_does_not_open(ask):
    ask(vertebra.Backbone)


def test_a_name_has_one_lazy_class():
    assert vertebra.Backbone is vertebra.Backbone


def test_nothing_is_an_instance_before_keras_is_there():
    assert not isinstance(3, vertebra.Backbone)
    assert not issubclass(int, vertebra.Backbone)
    assert repr(vertebra.Backbone) == "<vertebra lazy class Backbone>"
    assert vertebra.Backbone.__name__ == "Backbone"


def test_the_signature_and_the_docstring_are_those_of_the_class():
    signature = inspect.signature(vertebra.models.BertBackbone)
    assert list(signature.parameters)[:2] == ["vocabulary_size", "num_layers"]
    assert signature.parameters["max_sequence_length"].default == 512
    assert signature.parameters["runtime"].kind is inspect.Parameter.KEYWORD_ONLY
    assert list(inspect.signature(vertebra.Backbone).parameters)[-2:] == ["runtime", "kwargs"]
    assert "hidden_dim" in inspect.getdoc(vertebra.models.BertBackbone)
    assert "Args:" in pydoc.plain(pydoc.render_doc(vertebra.models.BertBackbone))
    assert "proxy" in LazyBackbone.__doc__


def test_an_argument_of_the_name_of_the_runtime_is_the_runtime(toy, monkeypatch):
    def own(reference):
        return inspect.signature(lambda runtime, size: None)

    monkeypatch.setattr("vertebra._lazy_class.signature_of", own)
    signature = inspect.signature(vertebra.models.ToyBackbone)
    assert str(signature) == "(size, *, runtime: 'str | None' = None)"


def test_a_class_without_source_code_has_the_signature_of_the_call(toy):
    assert list(inspect.signature(vertebra.models.ToyBackbone).parameters) == ["args", "runtime", "kwargs"]
    assert vertebra.models.ToyBackbone.__doc__ is None
