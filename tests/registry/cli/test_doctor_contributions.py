"""Contributions that cannot be used, as `vertebra doctor` finds them without importing their code."""

import pytest

from vertebra.cli.doctor_contributions import examine_contributions

PLUGIN = """
from vertebra import BackboneSpec, FormatSpec, PresetFormat, PresetSpec, hookimpl

@hookimpl
def vertebra_backbones():
    formats = {name: FormatSpec((name,), "x:T") for name in ("known", "unknown", "kerashub")}
    return [BackboneSpec("OneBackbone", "x:One", formats=formats)]

@hookimpl
def vertebra_formats():
    return [type("Known", (PresetFormat,), {"name": "known", "identifier_field": "x"})()]
"""
PACK = """
from vertebra import PresetSpec, hookimpl

@hookimpl
def vertebra_presets():
    return [
        PresetSpec("sound", "ftp://x", 1, copies=("file:///x",), backbone="OneBackbone"),
        PresetSpec("unread", "ftp://x", 1, backbone="OneBackbone"),
        PresetSpec("unread_copy", "ftp://x", 1, copies=("ipfs://x",), backbone="OneBackbone"),
        PresetSpec("elsewhere", "s3://x", 1, backbone="OneBackbone"),
        PresetSpec("of_none", "file:///x", 1, backbone="NoBackbone"),
        PresetSpec("lost", "ipfs://x", 1, backbone="NoBackbone"),
        *(PresetSpec(f"bert_{number}", "file:///x", 1, backbone="BertBackbone") for number in range(7)),
    ]
"""


@pytest.fixture(autouse=True)
def plugins(install, reload_plugins, monkeypatch):
    monkeypatch.setenv("VERTEBRA_PLUGINS", "acme-*")
    install("acme-one", PLUGIN)
    install("acme-pack", PACK)


def failed():
    return [(subject, detail) for subject, ok, detail in examine_contributions() if not ok]


def test_presets_of_absent_architectures_and_schemes_are_named(monkeypatch):
    monkeypatch.setattr("vertebra._discovery.extras.is_installed", lambda name: False)
    presets = [detail for subject, detail in failed() if subject == "presets of acme-pack"]
    bert = "bert_0, bert_1, bert_2, bert_3, bert_4 and 2 more: the backbone BertBackbone is of no installed plugin"
    assert presets == [
        f"{bert}; install one with: pip install 'vertebra[bert]'",
        "lost, of_none: the backbone NoBackbone is of no installed plugin; install one",
        "lost: no installed plugin reads ipfs://; install one",
        "unread: no installed plugin reads ftp://; install one",
        "unread_copy: no installed plugin reads ftp:// or ipfs://; install one",
    ]


def test_a_known_source_that_is_not_installed_is_no_failure(monkeypatch):
    monkeypatch.setattr("vertebra._discovery.extras.is_installed", lambda name: False)
    (found,) = [(ok, detail) for _, ok, detail in examine_contributions() if detail.startswith("elsewhere: ")]
    assert found == (True, "elsewhere: no installed plugin reads s3://; install one with: pip install 'vertebra[s3]'")


def test_a_format_that_no_plugin_contributes_is_named():
    (detail,) = [detail for subject, detail in failed() if subject == "formats of OneBackbone"]
    assert detail.startswith("acme-one 1.0 (acme_one) has a FormatSpec for unknown, which no plugin contributes")


def test_a_kind_that_every_installation_needs_is_missed():
    assert "runtimes" in dict(failed())
    assert "backbones" not in dict(failed())
