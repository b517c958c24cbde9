"""Type hints that are checked: what a constructor takes, in its order, without what the base class takes."""

import math
from collections.abc import Callable
from typing import Annotated, Any, Literal

import annotated_types
import pytest
from annotated_types import Ge, Gt, Interval, IsDigits, Le, Len, Lt, MaxLen, MinLen, MultipleOf, Predicate

from vertebra import hints


class Model:
    def __init__(
        self,
        width: hints.Size,
        rate: hints.Rate | None = None,
        dtype: Any = None,
        *,
        even: Annotated[int, hints.Expected(lambda value: value % 2 == 0, "an even number")] = 0,
        free: object = None,
        **kwargs: Any,
    ):
        self.arguments = hints.checked(Model.__init__, locals())


def test_arguments_come_in_their_order_without_those_of_the_base_class():
    arguments = Model(4, dtype="float32", free="x", name="y").arguments
    assert arguments == {"width": 4, "rate": None, "even": 0, "free": "x"}
    assert list(arguments) == ["width", "rate", "even", "free"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"width": "4"}, "width='4', expected an int, at least 1 and at most 2147483647."),
        ({"width": None}, "width=None, expected an int, at least 1 and at most 2147483647."),
        ({"rate": True}, "rate=True, expected a finite number, at least 0 and below 1, or None."),
        ({"even": 3}, "even=3, expected an even number."),
        ({"even": "4"}, "even='4', expected an even number."),
    ],
)
def test_a_value_that_does_not_fit_is_named_with_what_is_expected(given, message):
    with pytest.raises(ValueError) as caught:
        Model(**{"width": 4} | given)
    assert str(caught.value) == message


LAYERS = "an int, at least 1 and at most 1000"


def check(hint: Any, value: Any) -> str | None:
    """Returns what `checked` says of a value, or None if it accepts it."""

    def constructor(self, x: hint): ...

    try:
        assert hints.checked(constructor, {"x": value}) == {"x": value}
    except ValueError as error:
        return str(error).removeprefix(f"x={value!r}, expected ")
    return None


@pytest.mark.parametrize(
    ("hint", "good", "bad", "expected"),
    [
        (Annotated[int, Ge(1)], [1], [0, True, 1.0, "1", None], "an int, at least 1."),
        (Annotated[float, Gt(0)], [1, 0.5], [0, math.nan, math.inf, True], "a finite number, above 0."),
        (Annotated[int, Le(3)], [3], [4], "an int, at most 3."),
        (Annotated[float, Lt(1)], [0.9], [1], "a finite number, below 1."),
        (Annotated[int, Interval(gt=0, le=9)], [9], [0, 10], "an int, above 0 and at most 9."),
        (Annotated[int, Ge(1), MultipleOf(8)], [8], [0, 4], "an int, at least 1 and a multiple of 8."),
        (Annotated[str, MinLen(2)], ["ab"], ["a", ["a", "b"]], "a string, of length 2 or more."),
        (Annotated[list, MaxLen(1)], [[], (1,)], [[1, 2], 1], "a list, of length 1 or less."),
        (Annotated[tuple, Len(1, 2)], [[1], (1, 2)], [()], "a tuple, of length 1 or more and of length 2 or less."),
        (IsDigits[str], ["12"], ["a", 12], "a string, accepted by Predicate(str.isdigit)."),
        (Annotated[Any, Predicate(math.isinf)], [math.inf], [1, "a"], "a value, accepted by Predicate(math.isinf)."),
        (Annotated[Any, Ge(0)], [0, None], [-1, "a"], "a value, at least 0."),
        (Annotated[int, annotated_types.Unit("m")], [-1], ["a"], "an int."),
        (Annotated[int | None, Ge(1)], [1, None], [0], "an int or None, at least 1."),
        (hints.Layers | str | None, [1, "all", None], [0, 1.0], f"{LAYERS}, or a string, or None."),
        (list[hints.Layers], [[], [1], (1,)], [[0], [1, "1"], 1], f"a list, each item {LAYERS}."),
        (tuple[str, ...], [("a",), []], [(1,), "a"], "a tuple, each item a string."),
        (tuple[int, str], [(1, "a"), (1,)], [1], "a tuple."),
        (Literal["a", 1], ["a", 1], ["b", True, 1.0], "one of 'a', 1."),
        (hints.Flag, [True, False], [1, None], "True or False."),
    ],
)  # fmt: skip
def test_types_and_the_constraints_of_annotated_types_are_checked(hint, good, bad, expected):
    assert [check(hint, value) for value in good] == [None] * len(good)
    assert [check(hint, value) for value in bad] == [expected] * len(bad)


@pytest.mark.parametrize("hint", [Any, object, Callable[[int], int], dict[str, int], Annotated[Any, "a note"]])
def test_every_other_type_and_other_metadata_accept_every_value(hint):
    assert [check(hint, value) for value in (None, 1, "a", [])] == [None] * 4


@pytest.mark.parametrize("hint", [hints.Size, hints.Layers, hints.Rate, hints.Positive, hints.Deviation])
def test_the_ranges_are_those_of_annotated_types(hint):
    assert all(isinstance(item, annotated_types.BaseMetadata | annotated_types.Interval) for item in hint.__metadata__)
