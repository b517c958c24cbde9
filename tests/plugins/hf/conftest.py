"""A hub on the loopback interface, and the real client, for the tests of the plugin."""

import os
from types import SimpleNamespace

import pytest

from servers.hub import HubServer

TOKEN = "hf_goodgoodgoodgood"


@pytest.fixture
def client(tmp_path, monkeypatch):
    """The real client: without Xet, bars and pauses, and with a home of its own."""
    for variable in [name for name in os.environ if name.startswith("HF_") or name.upper().endswith("_PROXY")]:
        monkeypatch.delenv(variable)
    huggingface_hub = pytest.importorskip("huggingface_hub")
    from huggingface_hub import constants, file_download
    from huggingface_hub.utils import disable_progress_bars

    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)  # it is read when the client is imported
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "home" / "hub"))
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "home" / "token"))
    monkeypatch.setattr(constants, "HF_STORED_TOKENS_PATH", str(tmp_path / "home" / "tokens"))
    monkeypatch.setattr(file_download, "time", SimpleNamespace(sleep=lambda seconds: None))
    disable_progress_bars()
    return huggingface_hub


@pytest.fixture
def proxy(client, monkeypatch):
    """Returns a function that sets proxy variables and resets the client, which is reset again after the test."""
    from huggingface_hub.utils import close_session

    def proxy(**variables):
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        close_session()

    yield proxy
    close_session()


@pytest.fixture
def hub(client, monkeypatch):
    """The user's hub, which keeps large files at another origin."""
    with HubServer(tokens={TOKEN}, read_only={"hf_reader"}, separate_storage=True) as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        yield hub


@pytest.fixture
def source(cache):
    from vertebra_hf.source import HfSource

    return HfSource()
