"""Type hints that are checked: what a constructor takes, in its order, without what the base class takes."""

from typing import Annotated, Any

import pytest

from vertebra import hints


class Model:
    def __init__(
        self,
        width: hints.Size,
        rate: hints.Rate | None = None,
        dtype: Any = None,
        *,
        even: Annotated[int, hints.Expected("an even number", lambda value: value % 2 == 0)] = 0,
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
        ({"width": "4"}, "width='4', expected an int from 1 to 2147483647."),
        ({"width": None}, "width=None, expected an int from 1 to 2147483647."),
        ({"rate": True}, "rate=True, expected a rate in [0, 1) or None."),
        ({"even": 3}, "even=3, expected an even number."),
    ],
)
def test_a_value_that_does_not_fit_is_named_with_what_is_expected(given, message):
    with pytest.raises(ValueError) as caught:
        Model(**{"width": 4} | given)
    assert str(caught.value) == message
