"""A plugin for the length of a block."""

import types
from contextlib import contextmanager

import pytest


@pytest.fixture(scope="session")
def plugin():
    """Returns a context manager that adds a plugin of some hooks, and takes it away again."""
    import vertebra
    from vertebra import _catalog, _plugins

    @contextmanager
    def adding(**hooks):
        functions = {name: vertebra.hookimpl(function) for name, function in hooks.items()}
        vertebra.add_plugin(types.SimpleNamespace(**functions), "test-plugin")
        try:
            yield
        finally:
            added = _plugins.registry().plugins.pop()
            _plugins.registry()._manager.unregister(name=f"{added.owner.distribution}:{added.name}")
            _catalog.forget()

    return adding
