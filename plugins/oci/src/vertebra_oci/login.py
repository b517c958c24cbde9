"""The user's credentials for a registry, from the files and helpers of docker, podman and oras."""

from __future__ import annotations

import base64
import binascii
import json
import os
import re
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vertebra.errors import SettingsError

_HELPER = re.compile(r"[\w-]+")
_HELPER_SECONDS = 30.0
_DOCKER_HUB = "https://index.docker.io/v1/"
"""The key of docker.io in these files."""
_OF_DOCKER_HUB = ("docker.io", "index.docker.io")
_NOT_FOUND = "credentials not found in native keychain"
"""What every credential helper writes that has no credentials of a registry, and fails."""


@dataclass(frozen=True, slots=True)
class Login:
    """A user's credentials; they are not shown in logs or messages."""

    origin: str
    """The file or variable, for messages."""
    user: str = field(default="", repr=False)
    secret: str = field(default="", repr=False)
    """A password, or an identity token, which has no user."""

    @property
    def basic(self) -> str:
        """The header that sends user and password."""
        return f"Basic {base64.b64encode(f'{self.user}:{self.secret}'.encode()).decode()}"


def login_of(registry: str, repository: str = "") -> Login | None:
    """Returns the user's credentials for a repository of a registry, or None.

    Raises:
        SettingsError: a file is malformed, or a credential helper failed.
    """
    keys = _keys(registry, repository)
    usual = _DOCKER_HUB if registry in _OF_DOCKER_HUB else registry
    failure: SettingsError | None = None
    for origin, config in _configs():
        found = _listed(origin, config, keys)
        try:
            found = found or _unlisted(origin, config, usual)
        except SettingsError as error:  # the store may be of another machine, and a later file has the credentials
            failure = failure or error
        if found is not None:
            return found
    if failure is not None:
        raise failure
    return None


def _listed(origin: str, config: Mapping[str, Any], keys: Iterable[str]) -> Login | None:
    """Returns the credentials of the first key that a file lists, or None."""
    helpers, entries = config.get("credHelpers") or {}, config.get("auths") or {}
    for key in keys:
        entry = entries.get(key)
        if helper := helpers.get(key, None if entry is None else config.get("credsStore")):
            if (login := _of_helper(origin, helper, key)) is not None:
                return login
        elif isinstance(entry, Mapping) and entry:  # an empty name of a helper means that the file has them
            return _of_entry(origin, entry)
    return None


def _unlisted(origin: str, config: Mapping[str, Any], key: str) -> Login | None:
    """Returns the credentials that only the store of a file has, as after oras's login, or None."""
    is_listed = key in (config.get("auths") or {}) or key in (config.get("credHelpers") or {})
    store = None if is_listed else config.get("credsStore")
    return _of_helper(origin, store, key) if store else None


def _keys(registry: str, repository: str) -> list[str]:
    """Returns the keys of credentials for a repository, the nearest first: podman's may be of a part of a registry."""
    parts = repository.split("/") if repository else []
    nested = ["/".join([registry, *parts[:number]]) for number in range(len(parts), 0, -1)]
    urls = [f"https://{registry}", f"https://{registry}/", f"https://{registry}/v1/", f"{registry}/v1/"]
    return [*nested, registry, *urls, *([_DOCKER_HUB] if registry in _OF_DOCKER_HUB else [])]


def _configs() -> Iterator[tuple[str, dict[str, Any]]]:
    """Yields the settings of the user's tools, each with its origin; the first that has credentials counts."""
    if text := os.environ.get("DOCKER_AUTH_CONFIG", "").strip():
        yield "DOCKER_AUTH_CONFIG", _parsed("DOCKER_AUTH_CONFIG", text)
    for path in _paths():
        try:
            text = path.read_text(encoding="utf-8")
        except (FileNotFoundError, NotADirectoryError, PermissionError):
            continue
        except (OSError, UnicodeDecodeError) as error:
            raise SettingsError(str(path), f"it cannot be read ({type(error).__name__})") from None
        yield str(path), _parsed(str(path), text)


def _paths() -> Iterator[Path]:
    home = Path(os.path.expanduser("~"))  # noqa: PTH111 (users without a home)
    if named := os.environ.get("REGISTRY_AUTH_FILE"):
        yield Path(named)
    yield Path(os.environ.get("DOCKER_CONFIG") or home / ".docker", "config.json")
    if runtime := os.environ.get("XDG_RUNTIME_DIR"):
        yield Path(runtime, "containers", "auth.json")
    yield home / ".config" / "containers" / "auth.json"


def _parsed(origin: str, text: str) -> dict[str, Any]:
    try:
        config = json.loads(text)
        tables = [config.get("auths") or {}, config.get("credHelpers") or {}]
        if all(isinstance(table, dict) for table in tables):
            return dict(config)
    except (ValueError, AttributeError, RecursionError):
        pass
    raise SettingsError(origin, "it is not the JSON of docker login", "Log in again with docker login or oras login")


def _of_entry(origin: str, entry: Mapping[str, Any]) -> Login:
    try:
        user, secret = entry.get("username") or "", entry.get("password") or ""
        if entry.get("auth"):
            user, _, secret = base64.b64decode(entry["auth"], validate=True).decode().partition(":")
        if entry.get("identitytoken"):
            user, secret = "", entry["identitytoken"]
        return _login(origin, user, secret)
    except (TypeError, ValueError, AttributeError, binascii.Error):
        raise SettingsError(origin, "its credentials are malformed", "Log in again with docker login") from None


def _of_helper(origin: str, name: object, key: str) -> Login | None:
    """Asks a credential helper, the program `docker-credential-NAME`, for the credentials of a registry, if any."""
    program = f"docker-credential-{name}"
    if not isinstance(name, str) or not _HELPER.fullmatch(name):
        raise SettingsError(origin, "its credential helper is not the name of a program")
    try:
        done = subprocess.run([program, "get"], input=key, capture_output=True, text=True, timeout=_HELPER_SECONDS)
        if done.returncode != 0 and _NOT_FOUND in done.stdout:
            return None
        done.check_returncode()
        found = json.loads(done.stdout)
        user, secret = found["Username"], found["Secret"]
        return _login(f"{program} ({origin})", "" if user == "<token>" else user, secret)
    except FileNotFoundError:
        raise SettingsError(origin, f"its credential helper {program} is not installed") from None
    except (OSError, subprocess.SubprocessError, ValueError, LookupError, TypeError, AttributeError) as error:
        problem = f"its credential helper {program} returned no credentials of {key} ({type(error).__name__})"
        raise SettingsError(origin, problem, "Log in again with docker login") from None


def _login(origin: str, user: object, secret: object) -> Login:
    if not isinstance(user, str) or not isinstance(secret, str):
        raise TypeError(origin)
    return Login(origin, user, secret)
