"""Signatures and docstrings are read from source code, and nothing is imported."""

import inspect
import sys

import pytest

from vertebra._discovery.source_code import docstring_of, mentions, signature_of

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
    package = tmp_path / "toy_package"
    package.mkdir()
    for path in (tmp_path / "toy_source.py", package / "__init__.py", package / "inner.py"):
        path.write_text(SOURCE)
    (tmp_path / "toy_faulty.py").write_text("class Toy(:")
    monkeypatch.syspath_prepend(tmp_path)
    yield
    assert not sys.modules.keys() & {"toy_source", "toy_package", "toy_package.inner"}


def test_the_signature_and_docstring_are_those_of_the_source():
    signature = signature_of("toy_source:Toy")
    assert str(signature) == "(first, /, second: \"'int'\" = -2, *rest, third: 'float' = DEFAULT, fourth, **others)"
    assert signature.parameters["second"].default == -2
    assert signature.parameters["fourth"].default is inspect.Parameter.empty
    assert docstring_of("toy_source:Toy") == "A toy."


@pytest.mark.parametrize(
    "reference",
    [
        "toy_source:Plain",
        "toy_source:Other",
        "toy_source.inner:Toy",
        "toy_package.other:Toy",
        "toy_faulty:Toy",
        "nowhere:Toy",
        "nowhere.inner:Toy",
        "itertools:chain",
    ],
)
def test_a_class_without_them_has_none(reference):
    assert signature_of(reference) is None
    assert docstring_of(reference) is None


def test_packages_are_not_imported():
    assert docstring_of("toy_package.inner:Toy") == docstring_of("toy_package:Toy") == "A toy."
    assert len(signature_of("toy_package.inner:Toy").parameters) == 6


def test_a_word_is_found_in_the_module_of_a_class():
    assert mentions("toy_source:Toy", "fourth")
    assert mentions("toy_source:Nothing", "fourth")
    assert not mentions("toy_source:Toy", "our")
    assert mentions("nowhere:Toy", "anything")  # there is no source to look in
    assert mentions("itertools:chain", "anything")
