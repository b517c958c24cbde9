"""The pages of rules and the tests of the suites agree, and a failure shows the rule."""

import inspect
import re
from pathlib import Path

import pytest

import vertebra_text.testing
from vertebra import testing
from vertebra.testing.rules import rule, rules_of

pytestmark = pytest.mark.keras(once=True)

PAGES = Path(__file__).parents[3] / "docs" / "rules"
ROW = re.compile(r"^\| ([A-Z]{2}-\d\d) \| (.+?) \| (.+?) \|$", flags=re.MULTILINE)
SUITES = [
    value
    for package in (testing, vertebra_text.testing)
    for value in (getattr(package, name) for name in package.__all__)
    if inspect.isclass(value) and value.__name__.endswith("Suite")
]


def written():
    """Returns the rules of each page: identifiers with sentences."""
    return {path.name: {row[0]: row[1] for row in ROW.findall(path.read_text())} for path in PAGES.glob("*.md")}


def test_every_rule_is_tested_and_every_test_cites_a_rule():
    tested = {identifier: text for suite in SUITES for identifier, text in rules_of(suite).items()}
    assert tested == {identifier: text for page in written().values() for identifier, text in page.items()}
    for suite in SUITES:
        tests = [name for name in dir(suite) if name.startswith("test_")]
        assert len(tests) == len(rules_of(suite)), f"{suite.__name__}: a test without a rule, or two with the same"


def test_the_rules_of_a_page_are_numbered():
    for page, rules in written().items():
        prefixes = {identifier[:2] for identifier in rules}
        assert len(prefixes) == 1, page
        assert list(rules) == [f"{prefixes.copy().pop()}-{number:02}" for number in range(1, len(rules) + 1)], page


def test_each_suite_has_its_page():
    text = "".join(path.read_text() for path in PAGES.glob("*.md"))
    assert [suite.__name__ for suite in SUITES if f"testing.{suite.__name__}`" not in text] == []


def test_a_failure_shows_its_rule():
    @rule("XX-07")
    def test_numbers(self):
        """Numbers are
        equal.

        This is said for authors only.
        """
        assert self == 2

    test_numbers(2)
    with pytest.raises(AssertionError) as caught:
        test_numbers(1)
    assert caught.value.__notes__ == ["XX-07: Numbers are equal."]


def test_a_missing_error_and_a_failure_with_a_message_show_it_too():
    @rule("XX-08")
    def test_raises(self):
        """Numbers are refused."""
        with pytest.raises(TypeError):
            len(str(self))

    with pytest.raises(pytest.fail.Exception) as caught:
        test_raises(1)
    assert caught.value.__notes__ == ["XX-08: Numbers are refused."]
    assert "XX-08: Numbers are refused." in str(caught.getrepr())


def test_a_skipped_test_shows_no_rule():
    @rule("XX-09")
    def test_skips(self):
        """Nothing."""
        pytest.skip("it has no numbers")

    with pytest.raises(pytest.skip.Exception) as caught:
        test_skips(1)
    assert not hasattr(caught.value, "__notes__")
