"""Signatures and docstrings are read from source code, and nothing but packages is imported."""

import ast
import inspect
import sys

import pytest

from vertebra._discovery.source_code import class_definition, constructor_signature

SOURCE = """
raise RuntimeError("imported")
DEFAULT = 7

class Toy:
    'A toy.'

    def __init__(self, first, /, second: "int" = -2, *rest, third: float = DEFAULT, fourth, **others): ...

class Plain: ...
"""


@pytest.fixture
def toy(tmp_path, monkeypatch):
    (tmp_path / "toy_source.py").write_text(SOURCE)
    monkeypatch.syspath_prepend(tmp_path)
    yield lambda name: class_definition(f"toy_source:{name}")
    assert "toy_source" not in sys.modules


def test_a_signature_is_that_of_the_constructor(toy):
    signature = constructor_signature(toy("Toy"))
    assert str(signature) == "(first, /, second: \"'int'\" = -2, *rest, third: 'float' = DEFAULT, fourth, **others)"
    assert signature.parameters["second"].default == -2
    assert signature.parameters["fourth"].default is inspect.Parameter.empty
    assert ast.get_docstring(toy("Toy")) == "A toy."


def test_what_is_not_there_is_none(toy):
    assert constructor_signature(toy("Plain")) is None
    assert toy("Other") is None
    assert class_definition("nowhere:Toy") is None
    assert class_definition("nowhere.inner:Toy") is None
    assert class_definition("itertools:chain") is None  # a module without source code
