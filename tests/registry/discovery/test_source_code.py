"""Signatures and docstrings are read from source code, and nothing but packages is imported."""

import inspect
import sys

import pytest

from vertebra._discovery.source_code import docstring_of, signature_of

SOURCE = """
raise RuntimeError("imported")
DEFAULT = 7

class Toy:
    'A toy.'

    def __init__(self, first, /, second: "int" = -2, *rest, third: float = DEFAULT, fourth, **others): ...

class Plain: ...
"""


@pytest.fixture(autouse=True)
def toy(tmp_path, monkeypatch):
    """A module that cannot be imported."""
    (tmp_path / "toy_source.py").write_text(SOURCE)
    monkeypatch.syspath_prepend(tmp_path)
    yield
    assert "toy_source" not in sys.modules


def test_the_signature_and_docstring_are_those_of_the_source():
    signature = signature_of("toy_source:Toy")
    assert str(signature) == "(first, /, second: \"'int'\" = -2, *rest, third: 'float' = DEFAULT, fourth, **others)"
    assert signature.parameters["second"].default == -2
    assert signature.parameters["fourth"].default is inspect.Parameter.empty
    assert docstring_of("toy_source:Toy") == "A toy."


@pytest.mark.parametrize(
    "reference",
    ["toy_source:Plain", "toy_source:Other", "nowhere:Toy", "nowhere.inner:Toy", "itertools:chain"],
)
def test_a_class_without_them_has_none(reference):
    assert signature_of(reference) is None
    assert docstring_of(reference) is None
