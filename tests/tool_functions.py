"""Functions that a model may call, in the forms that their types and docstrings take."""

import enum
from typing import Any, Literal, Optional, Union


class Unit(enum.Enum):
    """Units of temperature."""

    CELSIUS = "c"
    KELVIN = "k"


def add(a: int, b: float = 2) -> float:
    """Adds two numbers.

    They may be negative.

    Args:
        a: The first
            number, which: is needed.
        b: The second number.

    Returns:
        The sum.
    """
    return a + b


def weather(
    city: str,
    unit: Unit,
    days: int | None = None,
    kinds: list[str] = [],  # noqa: B006
    mode: Literal["fast", "slow", 3] = "fast",
) -> dict[str, Any]:
    """Returns the weather.

    Args:
        city: A place (choices: ["Bonn", " Rome "])
        unit: The unit
        days: How many days
        kinds: What to tell, such as (rain)
        mode: How

    Raises:
        ValueError: if there is none
    """
    return {"city": city}


def complicated(
    a: Union[int, str],  # noqa: UP007
    b: Optional[list[int]],  # noqa: UP045
    c: dict[str, list[float]],
    d: tuple[int, str],
    e: list | bool,
    f: list[int] | str,
    g: Any,
    h: dict,
):
    """Takes much.

    Args:
        a: A
        b: B
        c: C
        d: D
        e: E
        f: F
        g: G
        h: H
    """


FUNCTIONS = {"add": add, "weather": weather, "complicated": complicated}
