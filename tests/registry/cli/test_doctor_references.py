"""Code that plugins name, as `vertebra doctor` tries it before a user does."""

import sys

import pytest

from vertebra._discovery.backbone_classes import backbone_class
from vertebra.cli import doctor
from vertebra.cli.doctor_contributions import broken_references
from vertebra.errors import PluginError, RuntimeChoiceError

pytestmark = pytest.mark.keras(once=True)

REFERENCES = """
from vertebra import BackboneSpec, FormatSpec, PresetFormat, hookimpl

@hookimpl
def vertebra_formats():
    names = ("none", "text")
    return [type(name, (PresetFormat,), {"name": name, "identifier_field": name})() for name in names]

@hookimpl
def vertebra_backbones():
    translations = {"transformers": "Abstract", "kerashub": "Sound", "none": "NoTranslation", "text": "Text"}
    formats = {format: FormatSpec(("x",), f"acme_code:{name}") for format, name in translations.items()}
    return [
        BackboneSpec("GoneBackbone", "acme_gone:Gone", formats=formats, demo="acme_code:demo", migrate="acme_code:old"),
        BackboneSpec("OtherBackbone", "acme_code:Sound", demo="acme_code:Sound", migrate="acme_code:number"),
        BackboneSpec("NumberBackbone", "acme_code:number"),
        BackboneSpec("SoundBackbone", "acme_code:Network", demo="acme_code:Sound", migrate="acme_code:Sound"),
    ]
"""
CODE = """
import vertebra

number = 3

class Network(vertebra.Backbone):
    pass

class Abstract(vertebra.Translation):
    pass

class Sound(vertebra.Translation):
    def arguments(self, config): ...
    def config(self, arguments): ...
    def rules(self, arguments): ...

class Text(Sound):
    prefixes = "model."

class NoTranslation:
    pass
"""


@pytest.fixture(autouse=True)
def code(install, reload_plugins, monkeypatch, runtime):
    monkeypatch.setenv("VERTEBRA_PLUGINS", f"acme,{runtime}")
    install("acme", REFERENCES)
    install("acme_code", CODE)


def test_each_reference_is_resolved():
    (problems,) = broken_references(["acme"]).values()
    expected = (
        "the translation of GoneBackbone, acme_code:Abstract, cannot be imported (TypeError: Can't instantiate",
        "acme_code:NoTranslation is <acme_code.NoTranslation object",
        "acme_code:Text: prefixes is 'model.', expected a tuple of strings",
        "the class of GoneBackbone, acme_gone:Gone, cannot be imported (ModuleNotFoundError: No module named 'acme_gon",
        "the demo of GoneBackbone, acme_code:demo, cannot be imported (AttributeError",
        "the migration of GoneBackbone, acme_code:old, cannot be imported (AttributeError",
        "the class of NumberBackbone, acme_code:number, is 3, expected a subclass of vertebra.Backbone",
        "the class of OtherBackbone, acme_code:Sound, is <class 'acme_code.Sound'>, expected a subclass of vertebra.Ba",
        "the migration of OtherBackbone, acme_code:number, is 3, expected a function",
    )
    for problem, start in zip(problems, expected, strict=True):
        assert problem.startswith(start)
    assert broken_references(["other"]) == {}
    with pytest.raises(PluginError, match="acme_code:number is 3, expected a class"):
        backbone_class("NumberBackbone")


def test_without_a_runtime_translations_alone_are_resolved(monkeypatch):
    def bind_for(_):
        raise RuntimeChoiceError([])

    monkeypatch.setattr("vertebra.cli.doctor_contributions.bind_for", bind_for)
    assert len(broken_references(["acme"])["acme"]) == 3


def test_the_doctor_resolves_them_in_a_process_of_its_own(monkeypatch, runtime):
    monkeypatch.setenv("VERTEBRA_PLUGINS", f"acme,bert,{runtime}")
    monkeypatch.setenv("PYTHONPATH", sys.path[0])
    monkeypatch.delitem(sys.modules, "acme_code", raising=False)
    found = {finding.subject: finding for finding in doctor._examine_references(["acme", "bert"])}
    assert (found["code of acme"].ok, found["code of bert"].ok) == (False, True)
    assert "the class of GoneBackbone, acme_gone:Gone, cannot be imported" in found["code of acme"].detail
    assert "acme_code" not in sys.modules
