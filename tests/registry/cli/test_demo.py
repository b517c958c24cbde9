"""`vertebra demo`: finds the demo that an architecture contributes, and gives it runtimes and a folder."""

import sys
from types import SimpleNamespace

import pytest

from vertebra import BackboneSpec
from vertebra._discovery.catalog import BACKBONES, Catalog, Entry
from vertebra._discovery.plugin import Owner
from vertebra.cli import demo, main


@pytest.fixture
def contexts(monkeypatch):
    """Installs two architectures, one with a demo that records its context."""
    given = []
    monkeypatch.setitem(sys.modules, "sample_demo", SimpleNamespace(run=given.append))
    owner = Owner("sample", "1.0", "sample")
    specs = [BackboneSpec("Plain", "sample:Plain"), BackboneSpec("Shown", "sample:Shown", demo="sample_demo:run")]
    found = Catalog("backbone", [Entry(spec.name, spec, owner) for spec in specs])
    monkeypatch.setattr(demo, "catalog", {BACKBONES: found}.get)
    monkeypatch.setattr(demo._runtimes, "available", lambda: [SimpleNamespace(name="one"), SimpleNamespace(name="two")])
    return given


def test_runs_the_demo_with_runtimes_and_an_existing_folder(contexts, tmp_path):
    assert main(["demo", "--output", str(tmp_path / "made" / "here")]) == 0
    (context,) = contexts
    assert context.runtimes == ("one", "two")
    assert context.folder.is_dir()


def test_an_architecture_without_a_demo_is_an_error(contexts, tmp_path, capsys):
    assert main(["demo", "--backbone", "Plain", "--output", str(tmp_path)]) == 1
    assert "Shown" in capsys.readouterr().err
    assert contexts == []


def test_without_a_runtime_says_so(contexts, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(demo._runtimes, "available", list)
    assert main(["demo", "--output", str(tmp_path)]) == 1
    assert "No runtime is installed" in capsys.readouterr().err
