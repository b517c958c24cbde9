"""The package source: presets inside installed packages, found without importing the packages."""

import sys
import types

import pytest

from vertebra import PresetHandle
from vertebra.builtin.package import PackageSource
from vertebra.errors import PresetNotFoundError

NAME = "acme_package_with_presets"


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package that must not be imported, with a preset; next to it a namespace package and a module."""
    monkeypatch.syspath_prepend(tmp_path)
    preset = tmp_path / NAME / "presets" / "small"
    preset.mkdir(parents=True)
    (tmp_path / NAME / "__init__.py").write_text("raise RuntimeError('imported')")
    (preset / "config.json").write_text("{}")
    (tmp_path / f"{NAME}_namespace" / "small").mkdir(parents=True)
    (tmp_path / f"{NAME}_namespace" / "small" / "config.json").write_text("{}")
    (tmp_path / f"{NAME}_module.py").write_text("raise RuntimeError('imported')")
    by_hand = types.ModuleType(f"{NAME}_made_by_hand")  # as in a notebook: find_spec fails on its lack of a spec
    monkeypatch.setitem(sys.modules, by_hand.__name__, by_hand)
    return tmp_path / NAME


@pytest.mark.parametrize("path", [f"{NAME}/presets/small", f"{NAME}_namespace/small"])
def test_finds_a_preset_without_importing_the_package(path, package):
    handle = PresetHandle("package", path)
    assert [file.name for file in PackageSource().files(handle)] == ["config.json"]
    assert PackageSource().fetch(handle, "config.json") == package.parent / path / "config.json"
    assert NAME not in sys.modules


@pytest.mark.parametrize(
    "path",
    [
        "nothing_is_called_so/x",
        f"{NAME}/nothing",
        f"{NAME}_module/x",
        f"{NAME}.presets/small",
        f"/{NAME}/presets/small",
        "__main__/x",
        f"{NAME}_made_by_hand/x",
        "sys/x",
        "1/x",
        "a b",
        "class/x",
    ],
)
def test_anything_else_is_not_found(path, package):
    handle = PresetHandle("package", path)
    with pytest.raises(PresetNotFoundError) as caught:
        PackageSource().files(handle)
    assert caught.value.handle == handle
    assert not {NAME, f"{NAME}_module"} & sys.modules.keys()


@pytest.mark.parametrize("name", ["../small/config.json", "../../__init__.py", "", ".."])
def test_fetches_nothing_from_outside(name, package):
    with pytest.raises(PresetNotFoundError):
        PackageSource().fetch(PresetHandle("package", f"{NAME}/presets/small"), name)
