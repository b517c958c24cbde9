"""Endpoint, region and credentials of S3, from the variables and files of Amazon's own tools.

The client library reads some of the variables itself, and crashes on a blank endpoint or a stray newline. So this
module reads and checks all of its settings.
"""

from __future__ import annotations

import contextlib
import functools
import os
import re
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from vertebra import http
from vertebra.errors import SettingsError
from vertebra_s3.access import ENDPOINT_SETTING, Access, Keys, switched_on, value

_ENDPOINTS = (ENDPOINT_SETTING, "AWS_ENDPOINT_URL", "AWS_ENDPOINT")
_KEY, _SECRET, _TOKEN = "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"
_CONTAINER = ("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI")
_AMAZON_ONLY = ("sso_session", "sso_start_url", "role_arn", "credential_process")
"""Settings of a profile from which only Amazon's own tools can get credentials."""
_REGION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_URL = re.compile(r"https?://[A-Za-z0-9._:\[\]-]+(?:/[\w./~%-]*)?", re.ASCII)

Profile = Mapping[str, str]
"""The settings of the user's profile, with the profile's name as `name`."""


def amazon() -> Access:
    """Returns the endpoint of S3, and the user's credentials.

    Raises:
        SettingsError: a variable or a file is malformed.
    """
    profile = read_profile()
    region = value("AWS_REGION") or value("AWS_DEFAULT_REGION") or profile.get("region") or "us-east-1"
    if not _REGION.fullmatch(region):
        raise SettingsError("AWS_REGION", f"{region!r} is not a region; an example is eu-central-1")
    options = {"region": region}
    endpoint = _endpoint(profile)
    if endpoint is None:
        endpoint = f"https://s3.{region}.amazonaws.com{'.cn' if region.startswith('cn-') else ''}"
        options["virtual_hosted_style_request"] = "false"
    options |= {
        "endpoint": endpoint,
        "aws_endpoint_url_s3": endpoint,
    }  # both, because an environment variable would override the first
    login, keys, signs = _login(profile)
    options["skip_signature"] = "false" if signs else "true"
    sends_token = signs and (keys is None or keys.token is not None)  # credentials that the client finds are temporary
    return Access("S3Store", endpoint, login, tuple(options.items()), keys, sends_token, reads_by_url=True)


def read_profile() -> Profile:
    """Returns the user's profile from the files of Amazon's tools.

    Raises:
        SettingsError: a file cannot be read, or has no such profile.
    """
    chosen = value("AWS_PROFILE")
    name = chosen or "default"
    config = _sections(_file("AWS_CONFIG_FILE", "config"))
    credentials = _sections(_file("AWS_SHARED_CREDENTIALS_FILE", "credentials"))
    plain = config.get(name) if name == "default" else None
    sections = [config.get(f"profile {name}"), plain, credentials.get(name)]
    if chosen and not any(section is not None for section in sections):
        raise SettingsError("AWS_PROFILE", f"there is no profile {chosen!r} in the files of aws configure")
    merged = {"name": name}
    for section in sections:
        merged.update({key: text.strip() for key, text in (section or {}).items() if text and text.strip()})
    return merged


# === Endpoint ===


def _endpoint(profile: Profile) -> str | None:
    """Returns the URL that the user has set, or None for Amazon's own."""
    if switched_on("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS"):
        return None
    settings = [(name, text) for name in _ENDPOINTS if (text := value(name))]
    if "endpoint_url" in profile:
        settings.append((f"endpoint_url of profile {profile['name']!r}", profile["endpoint_url"]))
    for name, text in settings[:1]:
        with contextlib.suppress(ValueError):
            split = urlsplit(text)
            if _URL.fullmatch(text) and split.hostname and split.port != 0:
                return text.rstrip("/")
        raise SettingsError(name, "expected a URL such as https://s3.example.org, without credentials")
    return None


# === Credentials ===


def _login(profile: Profile) -> tuple[str, Keys | None, bool]:
    """Returns the source of the credentials as text, the keys, and whether requests are signed.

    If requests are signed and the keys are None, the client library gets the keys by itself.
    """
    if switched_on("AWS_SKIP_SIGNATURE"):
        return "AWS_SKIP_SIGNATURE is set, so no credentials were sent", None, False
    if keys := _keys(_KEY, value(_KEY), _SECRET, value(_SECRET), value(_TOKEN)):
        return f"the credentials come from {_KEY}", keys, True
    if value("AWS_WEB_IDENTITY_TOKEN_FILE") and value("AWS_ROLE_ARN"):
        return "the credentials come from AWS_WEB_IDENTITY_TOKEN_FILE", None, True
    name = f"profile {profile['name']!r}"
    key, secret, token = map(profile.get, ("aws_access_key_id", "aws_secret_access_key", "aws_session_token"))
    if keys := _keys(f"aws_access_key_id of {name}", key, f"aws_secret_access_key of {name}", secret, token):
        return f"the credentials come from {name}", keys, True
    if any(map(value, _CONTAINER)):
        return "the credentials come from the container", None, True
    if (value("AWS_EC2_METADATA_DISABLED") or "").lower() == "false":
        return "the credentials come from the EC2 instance", None, True
    if fields := [field for field in _AMAZON_ONLY if field in profile]:
        export = f"aws configure export-credentials --profile {profile['name']} --format env"
        return f'no credentials were sent, because {name} has {fields[0]}: run eval "$({export})"', None, False
    return f"no credentials were found, neither {_KEY} nor a profile of aws configure", None, False


def _keys(key_name: str, key: str | None, secret_name: str, secret: str | None, token: str | None) -> Keys | None:
    if not key and not secret:
        return None
    for name, text in ((key_name, key), (secret_name, secret)):
        if not text:
            raise SettingsError(name, "it is missing, but its counterpart is set; set both, or none")
    for name, text in ((key_name, key), (secret_name, secret), (f"the session token of {key_name}", token)):
        if text:
            http.check_credential(name, text)
    return Keys(key or "", secret or "", token)


# === Files ===


def _file(variable: str, usual: str) -> Path:
    return Path(os.path.expanduser(value(variable) or f"~/.aws/{usual}"))  # noqa: PTH111 (users without a home)


def _sections(path: Path) -> dict[str, dict[str, str | None]]:
    """Returns the sections of a file; an unchanged file is not read again, because every request needs it."""
    import configparser  # not at the top: discovery imports this module

    try:
        facts = path.stat()
        return _read_sections(path, facts.st_mtime_ns, facts.st_size)
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return {}
    except (configparser.Error, UnicodeDecodeError, OSError) as error:
        kind = type(error).__name__  # the error's text may hold a secret
        raise SettingsError(str(path), f"the file is malformed ({kind}); write it with aws configure") from None


@functools.lru_cache(4)
def _read_sections(path: Path, *_: int) -> dict[str, dict[str, str | None]]:
    import configparser

    parser = configparser.RawConfigParser(strict=False, allow_no_value=True, default_section="\0")
    parser.read_string(path.read_text(encoding="utf-8-sig"))
    return {name: dict(parser.items(name)) for name in parser.sections()}
