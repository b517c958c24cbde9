"""One process, one runtime: `--runtime none` collects the tests that need no framework, torch or jax the others."""

import os

import pytest

MARK = "pytestmark = pytest.mark.keras"


def pytest_addoption(parser):
    parser.addoption("--runtime", default="none", choices=["none", "torch", "jax"])


def pytest_configure(config):
    runtime = config.getoption("--runtime")
    for variable in [name for name in os.environ if name.startswith(("VERTEBRA_", "KERAS_"))]:
        if variable != "VERTEBRA_FAULT_RUNS":
            del os.environ[variable]
    os.environ["VERTEBRA_CONFIG"] = os.devnull  # the user's own settings must not change what is tested
    if runtime != "none":
        os.environ["VERTEBRA_RUNTIME"] = runtime


def pytest_ignore_collect(collection_path, config):
    if collection_path.suffix != ".py" or not collection_path.name.startswith("test_"):
        return None
    needs_keras = MARK in collection_path.read_text(encoding="utf-8")
    return True if needs_keras == (config.getoption("--runtime") == "none") else None


@pytest.fixture(scope="session")
def runtime(pytestconfig):
    """Name of the runtime that this process tests."""
    return pytestconfig.getoption("--runtime")
