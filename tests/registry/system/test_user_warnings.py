"""Warnings point at the first line outside the package, however deep inside it they are given."""

import ast
from pathlib import Path

import pytest

import vertebra
from vertebra._system import user_warnings

PACKAGE = Path(vertebra.__file__).parent


def called_in(path, depth):
    """Calls `warn` below some calls in code that is in a file."""
    names: dict[str, object] = {"warn": user_warnings.warn}
    exec(compile("def call(depth):\n    return call(depth - 1) if depth else warn('x')", str(path), "exec"), names)
    names["call"](depth)


@pytest.mark.parametrize("depth", [0, 1, 7])
def test_the_calls_inside_the_package_are_skipped(depth):
    with pytest.warns(UserWarning, match="x") as caught:
        called_in(PACKAGE / "_presets" / "any.py", depth)
    assert [warning.filename for warning in caught] == [__file__]


def test_a_plugin_is_outside_the_package():
    path = f"{PACKAGE}_acme/source.py"
    with pytest.warns(UserWarning, match="x") as caught:
        called_in(path, 1)
    assert [warning.filename for warning in caught] == [path]


def test_without_a_caller_outside_it_is_given_nevertheless(monkeypatch):
    monkeypatch.setattr(user_warnings, "_PACKAGE", "")
    with pytest.warns(UserWarning, match="x"):
        user_warnings.warn("x")


def test_no_other_module_counts_calls():
    found = {
        path.name
        for path in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_bytes()))
        if isinstance(node, ast.keyword) and node.arg == "stacklevel"
    }
    assert found == {"user_warnings.py"}
