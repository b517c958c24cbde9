"""Schemas of functions: those without types or descriptions are refused; tests/peers compares with transformers."""

import enum

import pytest

import tool_functions
from vertebra.errors import ArgumentError
from vertebra_generation.chat.schemas import schema_of


def test_a_function_is_described():
    found = schema_of("f", tool_functions.weather)["function"]
    assert (found["name"], found["description"]) == ("weather", "Returns the weather.")
    properties = found["parameters"]["properties"]
    assert properties["city"] == {"type": "string", "enum": ["Bonn", "Rome"], "description": "A place"}
    assert properties["days"] == {"type": "integer", "nullable": True, "description": "How many days"}
    assert found["parameters"]["required"] == ["city", "unit"]


def undescribed(a: int):
    pass


def partly(a: int, b: int):
    """Text.

    Args:
        a: A
    """


def untyped(a):
    """Text.

    Args:
        a: A
    """


def foreign(a: ArgumentError):
    """Text.

    Args:
        a: A
    """


def unknown(a: "Nowhere"):  # noqa: F821
    """Text.

    Args:
        a: A
    """


class Empty(enum.Enum):
    pass


def empty(a: Empty):
    """Text.

    Args:
        a: A
    """


def inner(a: list[ArgumentError]):
    """Text.

    Args:
        a: A
    """


@pytest.mark.parametrize("function", [undescribed, partly, untyped, foreign, unknown, empty, inner, len])
def test_functions_without_a_schema_are_refused(function):
    with pytest.raises(ArgumentError, match=r"render: tools\[2\]="):
        schema_of("tools[2]", function)
