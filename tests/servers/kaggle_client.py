"""How Kaggle's real clients are made to speak to a server on loopback, and to know nothing of who runs the tests."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest

    from servers.kaggle import KaggleServer


def connect(server: "KaggleServer", monkeypatch: "pytest.MonkeyPatch", home: Path, user: str | None = None) -> None:
    """Makes kagglehub and kagglesdk of this process use a server, as one of its users if one is named.

    Credentials and caches are looked for in the folder `home`.
    """
    from kagglehub import clients
    from kagglesdk.kaggle_env import KaggleEnv, _env_to_endpoint

    for name in [name for name in os.environ if name.startswith(("KAGGLE_", "KAGGLEHUB_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("KAGGLE_API_ENVIRONMENT", "LOCALHOST")
    # There is no setting for an address with a port.
    monkeypatch.setitem(_env_to_endpoint, KaggleEnv.LOCAL, server.url)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("KAGGLE_CONFIG_DIR", str(home / ".kaggle"))
    monkeypatch.setenv("KAGGLEHUB_CACHE", str(home / "kagglehub"))
    # To name the library that calls, each client looks through the call stack six times, which takes most of a test.
    monkeypatch.setattr(clients, "get_user_agent", lambda: "kagglehub")
    if user is not None:
        monkeypatch.setenv("KAGGLE_API_TOKEN", server.users[user])
