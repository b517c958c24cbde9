"""References of plugins to code: each that cannot be imported is found."""

import pytest

from vertebra._discovery.references import broken_references
from vertebra.errors import RuntimeChoiceError

pytestmark = pytest.mark.keras(once=True)

PLUGIN = """
from vertebra import BackboneSpec, FormatSpec, hookimpl

@hookimpl
def vertebra_backbones():
    translations = {"transformers": "acme_code:Abstract", "kerashub": "acme_code:Sound"}
    formats = {format: FormatSpec(("x",), translation) for format, translation in translations.items()}
    return [
        BackboneSpec("GoneBackbone", "acme_gone:Gone", formats=formats, demo="acme_code:demo"),
        BackboneSpec("SoundBackbone", "acme_code:Sound", demo="acme_code:Sound"),
    ]
"""
CODE = """
import keras
from vertebra import Translation

class Abstract(Translation):
    pass

class Sound:
    pass
"""


@pytest.fixture(autouse=True)
def plugin(install, reload_plugins, monkeypatch, runtime):
    monkeypatch.setenv("VERTEBRA_PLUGINS", f"acme,{runtime}")
    install("acme", PLUGIN)
    install("acme_code", CODE)


def test_each_reference_is_resolved():
    (problems,) = broken_references(["acme"]).values()
    assert [problem.split(" cannot be imported (")[0] for problem in problems] == [
        "the transformers translation of GoneBackbone, acme_code:Abstract,",
        "the class of GoneBackbone, acme_gone:Gone,",
        "the demo of GoneBackbone, acme_code:demo,",
    ]
    assert "TypeError: Can't instantiate abstract class Abstract" in problems[0]
    assert "ModuleNotFoundError: No module named 'acme_gone'" in problems[1]
    assert broken_references(["other"]) == {}


def test_without_a_runtime_translations_alone_are_resolved(monkeypatch):
    def bind_any():
        raise RuntimeChoiceError([])

    monkeypatch.setattr("vertebra._discovery.runtimes.bind_any", bind_any)
    assert len(broken_references(["acme"])["acme"]) == 1
