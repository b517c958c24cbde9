"""ModelScope on the loopback interface, for the tests of the plugin."""

import os

import pytest

from servers.modelscope import ModelScopeServer

TOKEN = "ms-0123456789abcdef"


@pytest.fixture(autouse=True)
def nobody(tmp_path, monkeypatch):
    """The settings of a user without any."""
    for name in [name for name in os.environ if name.startswith("MODELSCOPE_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))


@pytest.fixture
def service(nobody, monkeypatch):
    """The user's service."""
    with ModelScopeServer(tokens={TOKEN}) as service:
        monkeypatch.setenv("MODELSCOPE_ENDPOINT", service.url)
        yield service


@pytest.fixture
def token(monkeypatch):
    """The user's token, which is sent with every request."""
    monkeypatch.setenv("MODELSCOPE_API_TOKEN", TOKEN)
    return TOKEN


@pytest.fixture
def source(service, cache):
    from vertebra_modelscope.source import ModelScopeSource

    return ModelScopeSource()


@pytest.fixture
def client(service, token):
    """The real client, with the user's token."""
    hub = pytest.importorskip("modelscope_hub", reason="modelscope-hub is not installed")
    return hub.HubApi(endpoint=service.url)
