"""A plugin that is registered for the duration of a block."""

import types
from contextlib import contextmanager

import pytest


@pytest.fixture(scope="session")
def plugin():
    """Returns a context manager that registers a plugin with some hooks, and unregisters it."""
    import vertebra

    @contextmanager
    def adding(**hooks):
        functions = {name: vertebra.hookimpl(function) for name, function in hooks.items()}
        vertebra.add_plugin(types.SimpleNamespace(**functions), "test-plugin")
        try:
            yield
        finally:
            vertebra.remove_plugin("test-plugin")

    return adding
