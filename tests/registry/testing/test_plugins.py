"""A plugin that is installed and cannot be used fails its suite with the reason; one that is not installed does not."""

import os

import pytest

SOUND = """
from pathlib import Path
from vertebra import LocalSource, hookimpl

class AcmeSource(LocalSource):
    scheme = "acme"

    def resolve(self, handle): return handle
    def files(self, handle): return []
    def fetch(self, handle, name): return Path(name)

@hookimpl
def vertebra_preset_sources():
    return [AcmeSource()]
"""
TEST = """
import pytest
from vertebra.testing import SourceSuite
from acme import AcmeSource

class TestAcme(SourceSuite):
    @pytest.fixture
    def source(self):
        return AcmeSource()
"""
POLICY_TEST = """
import acme, pytest
from vertebra.testing import PolicySuite

class TestAcme(PolicySuite):
    @pytest.fixture
    def policy(self):
        return acme
"""
FAULTS = {
    "no marker": (("@hookimpl", ""), "vertebra_preset_sources() lacks the hookimpl marker"),
    "misspelled": (("_preset_sources", "_preset_source"), "there is no hook 'vertebra_preset_source'"),
    "no list": (("[AcmeSource()]", "AcmeSource()"), "expected a list of PresetSource"),
    "a class": (("[AcmeSource()]", "[AcmeSource]"), "expected a PresetSource"),
}


@pytest.fixture
def run_suite(tmp_path, install, python):
    """Returns a function that runs a test of a suite in a new process; returns the output."""

    def run(test, selected):
        (tmp_path / "test_acme.py").write_text(test)
        variables = os.environ | {"PYTHONPATH": str(tmp_path / "site"), "VERTEBRA_PLUGINS": "acme*"}
        words = ["-m", "pytest", "-q", "-rs", "-p", "no:cacheprovider", "-k", selected, "test_acme.py"]
        done = python(words, cwd=tmp_path, env=variables, text=True, timeout=60)
        return done.returncode, done.stdout

    return run


@pytest.mark.parametrize(("change", "reason"), FAULTS.values(), ids=FAULTS)
def test_one_that_is_not_used_fails_with_the_reason(change, reason, install, run_suite):
    install("acme", SOUND.replace(*change))
    status, shown = run_suite(TEST, "test_the_plugin_is_accepted or imports_no_framework")
    assert status == 1, shown
    assert "plugin acme of acme is not used: " in shown
    assert reason in shown
    assert "2 errors" in shown


def test_one_that_is_used_passes(install, run_suite):
    install("acme", SOUND)
    status, shown = run_suite(TEST, "test_the_plugin_is_accepted or imports_no_framework")
    assert (status, "2 passed" in shown) == (0, True), shown


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("print('hello', end='')", "the import prints"),
        ("import os; os.write(1, b'hello')", "the import prints"),
        ("import socket; socket.getaddrinfo('localhost', 80)", "socket.getaddrinfo"),
    ],
)
def test_one_that_does_more_than_to_define_its_hooks_fails(line, shown, install, run_suite):
    install("acme", f"{SOUND}\n{line}\n")
    status, output = run_suite(TEST, "imports_no_framework")
    assert status == 1, output
    assert "PL-01: The entry module imports" in output
    assert shown in output


def test_one_that_is_not_installed_is_skipped(tmp_path, run_suite):
    (tmp_path / "site" / "acme.py").write_text(SOUND)
    status, shown = run_suite(TEST, "test_the_plugin_is_accepted")
    assert (status, "no installed plugin contributes the " in shown) == (0, True), shown


def test_a_policy_that_is_not_used_fails_with_the_reason(install, run_suite):
    install("acme", "def vertebra_refuse_preset(handle): return None")
    status, shown = run_suite(POLICY_TEST, "test_the_plugin_is_accepted or refusing_gives_a_reason")
    assert status == 1, shown
    assert "plugin acme of acme is not used: vertebra_refuse_preset() lacks the hookimpl marker" in shown
    assert "the policy would not be used: vertebra_refuse_preset() lacks the hookimpl marker" in shown
