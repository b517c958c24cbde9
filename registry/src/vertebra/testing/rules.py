"""The rules of the suites: each test names the rule that it checks, and a failure shows it.

`docs/rules` has a page for each kind of plugin, with the reason of each rule.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, TypeVar

import pytest

Test = TypeVar("Test", bound=Callable[..., Any])

_ATTRIBUTE = "vertebra_rule"


def rule(identifier: str) -> Callable[[Test], Test]:
    """Marks a test with the rule that it checks, such as `BB-03`; the test's docstring is the rule.

    A failure of the test shows both.
    """

    def mark(test: Test) -> Test:
        note = f"{identifier}: {first_paragraph(test)}"

        @functools.wraps(test)
        def checked(*args: Any, **kwargs: Any) -> None:
            try:
                test(*args, **kwargs)
            except (Exception, pytest.fail.Exception) as error:  # the latter, as of `pytest.raises`, is no Exception
                error.add_note(note)
                raise

        setattr(checked, _ATTRIBUTE, identifier)
        return checked  # type: ignore[return-value]  # functools.wraps keeps the signature

    return mark


def rules_of(suite: type) -> dict[str, str]:
    """Returns the rules that the tests of a suite check, each with its identifier."""
    tests = [getattr(suite, name) for name in dir(suite) if name.startswith("test_")]
    return {getattr(test, _ATTRIBUTE): first_paragraph(test) for test in tests if hasattr(test, _ATTRIBUTE)}


def first_paragraph(documented: object) -> str:
    """Returns the first paragraph of a docstring, in one line."""
    return " ".join((inspect.getdoc(documented) or "").partition("\n\n")[0].split())
