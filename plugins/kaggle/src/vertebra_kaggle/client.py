"""Access to Kaggle's own client: its endpoint, the user's credentials and its errors."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib import metadata
from typing import Any

from vertebra import PresetHandle, http, require_client
from vertebra.errors import SettingsError, SourceUnavailableError

WAITS = 10.0, 30.0
"""Seconds to wait for a connection, and for the next bytes."""
ENDPOINT_SETTING = "KAGGLE_API_ENVIRONMENT"


def importing() -> contextlib.AbstractContextManager[None]:
    """Raises an error with the command to install the client library if it is missing."""
    return require_client("kaggle://", "kagglehub")


@dataclass(frozen=True, slots=True)
class Credentials:
    """A token, or a user name and its key."""

    user: str | None = field(repr=False)
    key: str | None = field(repr=False)
    token: str | None = field(repr=False)

    def digest(self) -> str:
        """Returns a hash that identifies these credentials without revealing them."""
        return hashlib.sha256(repr((self.user, self.key, self.token)).encode()).hexdigest()


def credentials() -> Credentials | None:
    """Returns the user's credentials as kagglehub finds them, or None.

    Raises:
        SettingsError: a file with credentials is malformed, or a token, name or key cannot be sent.
    """
    with importing():
        from kagglehub.config import get_kaggle_credentials
        from kagglesdk.kaggle_env import get_access_token_from_env
    try:
        saved, token_origin = get_kaggle_credentials(), get_access_token_from_env()[1]
    except (ValueError, OSError):
        if os.environ.get("KAGGLE_API_TOKEN"):
            raise SettingsError("KAGGLE_API_TOKEN", "it is neither a token nor the path of a readable file") from None
        problem = "it holds no username and key, or cannot be read"
        raise SettingsError("kaggle.json or access_token", problem) from None
    if saved is None:
        return None
    found = Credentials(saved.username, saved.key, saved.api_key)
    of_key = [name if os.environ.get(name) else "kaggle.json" for name in ("KAGGLE_USERNAME", "KAGGLE_KEY")]
    origins = (*of_key, token_origin or "the token of kagglehub.login")
    for origin, text in zip(origins, (found.user, found.key, found.token), strict=True):
        if text is not None:
            http.check_credential(origin, str(text))
    return found


def endpoint() -> str:
    """Returns the URL of Kaggle's API.

    Raises:
        SettingsError: the client does not know the environment that the user has set.
    """
    with importing():
        from kagglesdk.kaggle_env import get_endpoint
    return str(get_endpoint(_environment()))


def page(name: str) -> str:
    """Returns the URL of a model's page."""
    with importing():
        from kagglesdk.kaggle_env import get_web_endpoint
    return f"{get_web_endpoint(_environment())}/models/{name}"


@contextlib.contextmanager
def models(account: Credentials | None) -> Iterator[Any]:
    """Yields the client for models, which sends these credentials or none, and follows no redirects."""
    with importing():
        from kagglesdk import KaggleClient

        from vertebra_kaggle.connections import ApiAdapter, mount
    given = {} if account is None else {"username": account.user, "password": account.key, "api_token": account.token}
    agent = f"vertebra/{metadata.version('vertebra')}"
    with KaggleClient(env=_environment(), user_agent=agent, **given) as client:
        # The client has no settings for timeouts and redirects, and always looks for credentials.
        mount(client.http_client()._session, ApiAdapter(WAITS, anonymous=account is None))
        yield client.models.model_api_client


def client_errors() -> tuple[type[Exception], ...]:
    """Returns the exceptions of requests: the HTTP libraries', the system's, and those for invalid proxy URLs."""
    from requests import RequestException
    from urllib3.exceptions import HTTPError

    return RequestException, HTTPError, OSError, ValueError


def unavailable(handle: PresetHandle, url: str, error: BaseException) -> SourceUnavailableError:
    """Returns the error for a server that did not respond, with the reason; it never shows the whole URL."""
    return http.unavailable(handle, url, reason(error))


def reason(error: BaseException) -> str:
    """Returns why a request failed: error classes and the system's message, but no URLs, which may be secret."""
    name, words, cause = type(error).__name__, "", error
    for _ in range(10):
        words = (isinstance(cause, OSError) and cause.strerror) or words
        following = cause.__cause__ or cause.__context__
        if following is None:
            break
        cause = following
    return f"{name}: {words}" if words else name


def _environment() -> Any:
    with importing():
        from kagglesdk.kaggle_env import get_env
    try:
        return get_env()
    except ImportError:
        raise
    except Exception:  # the client has no specific class for it
        raise SettingsError(ENDPOINT_SETTING, "the client knows no such environment; PROD is the public one") from None
