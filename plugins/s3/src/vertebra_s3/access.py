"""Endpoints and credentials of each service, from the variables and files that the service's own tools read."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from vertebra.errors import SettingsError

ENDPOINT_SETTING = "AWS_ENDPOINT_URL_S3"
CONNECT_SECONDS, READ_SECONDS = 10.0, 30.0
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
    """Credentials of S3; nothing prints them."""

    key: str = field(repr=False)
    secret: str = field(repr=False)
    token: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Access:
    """A service's endpoint, and the user's credentials for it."""

    client: str
    """Name of the client library's class."""
    endpoint: str
    """URL of the service, or its name, for messages."""
    login: str
    """Where the credentials come from, for messages."""
    options: tuple[tuple[str, str], ...] = ()
    """For the class; no secrets."""
    keys: Keys | None = None
    sends_token: bool = False
    """Whether requests have a session token, which is a header of its own."""
    reads_by_address: bool = False
    """Whether files are read by addresses that the client signs, and not by the client itself."""


def timeouts() -> tuple[float, float]:
    """Returns the seconds to wait for a connection, and for the next bytes."""
    return CONNECT_SECONDS, READ_SECONDS


def google() -> Access:
    """Returns the access to Google Cloud Storage; the client library reads the variables and files itself."""
    names = _those_set(_GOOGLE)
    if not names and _default_login().is_file():
        names = ["gcloud auth application-default login"]
    return _read_by_client("GCSStore", "Google Cloud Storage", names, _GOOGLE[0])


def azure() -> Access:
    """Returns the access to Azure Blob Storage; the client library reads the variables itself.

    Raises:
        SettingsError: it is not said which account the containers are of.
    """
    account = value("AZURE_STORAGE_ACCOUNT_NAME")
    if account is None:
        raise SettingsError("AZURE_STORAGE_ACCOUNT_NAME", "it is missing; set it to the account of the container")
    return _read_by_client("AzureStore", f"Azure account {account}", _those_set(_AZURE), _AZURE[0])


def value(variable: str) -> str | None:
    """Returns what a variable says, or None if it is blank."""
    return os.environ.get(variable, "").strip() or None


def switched_on(variable: str) -> bool:
    """Says whether a variable that is a switch is on."""
    return (value(variable) or "").lower() in ("1", "true", "yes", "on")


def _those_set(variables: Iterable[str]) -> list[str]:
    return [variable for variable in variables if value(variable)]


def _read_by_client(client: str, endpoint: str, found: list[str], usual: str) -> Access:
    """Without credentials the client library would ask a server that machines in a cloud have, and others wait for."""
    if found:
        return Access(client, endpoint, f"the credentials are those of {found[0]}")
    return Access(client, endpoint, f"no credentials were found; set {usual}", (("skip_signature", "true"),))


def _default_login() -> Path:
    return Path(os.path.expanduser("~"), ".config", "gcloud", "application_default_credentials.json")  # noqa: PTH111
