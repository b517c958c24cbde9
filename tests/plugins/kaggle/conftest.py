"""Kaggle on the loopback interface, and the real client, for the tests of the plugin."""

import os

import pytest

from servers import kaggle_client
from servers.kaggle import KaggleServer

TOKENS = {"acme": "KGAT_goodgoodgoodgood", "other": "KGAT_otherotherother"}
VARIATION = "acme/bert/keras/small"


@pytest.fixture
def client(monkeypatch):
    """The real client, without what the environment says of proxies."""
    for variable in [name for name in os.environ if name.upper().endswith("_PROXY")]:
        monkeypatch.delenv(variable)
    pytest.importorskip("kagglesdk")
    return pytest.importorskip("kagglehub")


@pytest.fixture
def kaggle(client, monkeypatch, tmp_path):
    """Kaggle, with two users, none of them logged in."""
    with KaggleServer(users=TOKENS) as kaggle:
        kaggle_client.connect(kaggle, monkeypatch, tmp_path / "home")
        yield kaggle


@pytest.fixture
def log_in(monkeypatch):
    """Has the client find a token."""
    return lambda token: monkeypatch.setenv("KAGGLE_API_TOKEN", token)


@pytest.fixture
def source(cache):
    from vertebra_kaggle.source import KaggleSource

    return KaggleSource()
