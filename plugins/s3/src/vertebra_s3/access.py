"""Endpoints and credentials of each service, from the variables and files of the service's own tools."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

from vertebra.errors import SettingsError

ENDPOINT_SETTING, AZURE_ENDPOINT = "AWS_ENDPOINT_URL_S3", "AZURE_STORAGE_ENDPOINT"
_URL = re.compile(r"https?://[A-Za-z0-9._:\[\]-]+(?:/[\w./~%-]*)?", re.ASCII)
CONNECT_SECONDS, READ_SECONDS = 10.0, 30.0
_GOOGLE_CLIENT = "GCSStore"
_GOOGLE = (
    "GOOGLE_APPLICATION_CREDENTIALS",
    "GOOGLE_SERVICE_ACCOUNT",
    "GOOGLE_SERVICE_ACCOUNT_PATH",
    "GOOGLE_SERVICE_ACCOUNT_KEY",
    "GOOGLE_SKIP_SIGNATURE",
)
_AZURE = (
    "AZURE_STORAGE_ACCOUNT_KEY",
    "AZURE_STORAGE_ACCESS_KEY",
    "AZURE_STORAGE_SAS_KEY",
    "AZURE_STORAGE_SAS_TOKEN",
    "AZURE_STORAGE_TOKEN",
    "AZURE_STORAGE_CLIENT_ID",
    "AZURE_CLIENT_ID",
    "AZURE_FEDERATED_TOKEN_FILE",
    "AZURE_USE_AZURE_CLI",
    "AZURE_SKIP_SIGNATURE",
)


@dataclass(frozen=True, slots=True)
class Keys:
    """Credentials of S3; they are not shown in logs or messages."""

    key: str = field(repr=False)
    secret: str = field(repr=False)
    token: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Access:
    """A service's endpoint, and the user's credentials for it."""

    client: str
    """Name of the store class in the client library."""
    endpoint: str
    """URL of the service, or its name, for messages."""
    login: str
    """Source of the credentials, for messages."""
    options: tuple[tuple[str, str], ...] = ()
    """Options of the store class, without secrets."""
    keys: Keys | None = None
    sends_token: bool = False
    """Whether requests have a session token, in a separate header."""
    reads_by_url: bool = False
    """Whether files are read by URLs that the client signs, and not by the client itself."""

    @property
    def needs_login_to_write(self) -> bool:
        """Whether a write is refused here: without credentials, the client library asks Google's metadata server."""
        return self.client == _GOOGLE_CLIENT and ("skip_signature", "true") in self.options


def timeouts() -> tuple[float, float]:
    """Returns the seconds to wait for a connection, and for the next bytes."""
    return CONNECT_SECONDS, READ_SECONDS


def google() -> Access:
    """Returns the access to Google Cloud Storage; the client library reads its credentials itself."""
    names = _set_variables(_GOOGLE)
    if not names and _default_login().is_file():
        names = ["gcloud auth application-default login"]
    return _read_by_client(_GOOGLE_CLIENT, "Google Cloud Storage", names, _GOOGLE[0])


def azure() -> Access:
    """Returns the access to Azure Blob Storage; the client library reads its credentials itself.

    Raises:
        SettingsError: the account of the containers is not set.
    """
    account = value("AZURE_STORAGE_ACCOUNT_NAME")
    if account is None:
        raise SettingsError("AZURE_STORAGE_ACCOUNT_NAME", "it is missing; set it to the account of the container")
    names = _set_variables(_AZURE)
    endpoint = value(AZURE_ENDPOINT)
    if endpoint is None:
        return _read_by_client("AzureStore", f"Azure account {account}", names, _AZURE[0])
    if not _URL.fullmatch(endpoint):
        raise SettingsError(AZURE_ENDPOINT, "expected a URL such as https://account.blob.core.windows.net")
    found = _read_by_client("AzureStore", endpoint, names, _AZURE[0])
    return replace(found, options=(*found.options, ("endpoint", endpoint.rstrip("/"))))


def value(variable: str) -> str | None:
    """Returns the value of a variable, or None if it is unset or blank."""
    return os.environ.get(variable, "").strip() or None


def switched_on(variable: str) -> bool:
    """Returns whether a boolean variable is true."""
    return (value(variable) or "").lower() in ("1", "true", "yes", "on")


def _set_variables(variables: Iterable[str]) -> list[str]:
    return [variable for variable in variables if value(variable)]


def _read_by_client(client: str, endpoint: str, names: list[str], usual: str) -> Access:
    """Returns an access whose credentials the client library reads; without any, requests are not signed.

    Otherwise, the client library would wait for the metadata server of a cloud machine.
    """
    if names:
        return Access(client, endpoint, f"the credentials come from {names[0]}")
    return Access(client, endpoint, f"no credentials were found; set {usual}", (("skip_signature", "true"),))


def _default_login() -> Path:
    return Path(os.path.expanduser("~"), ".config", "gcloud", "application_default_credentials.json")  # noqa: PTH111
