"""Maps error responses of a hub to Vertebra's errors; the text of a response is not repeated."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal
from urllib.parse import quote

from vertebra import PresetHandle, http
from vertebra.errors import PresetAccessError, PresetError, PresetNotFoundError, SourceUnavailableError

Login = Literal["none", "accepted", "refused"]
"""Use of the user's token: none was sent, it was accepted, or it was refused and the request repeated without it."""
_LOG_IN = "Log in with: hf auth login, or set HF_TOKEN"
_LOG_IN_AGAIN = "Log in again with: hf auth login, or correct or unset HF_TOKEN"
_RATE_LIMIT = re.compile(r"\br=0\s*;\s*t=(\d+)")


def refusal(
    handle: PresetHandle, repo: str, endpoint: str, status: int, headers: Mapping[str, str], login: Login
) -> PresetError:
    """Returns the error for a hub's response to a read request."""
    code = headers.get("x-error-code")
    if code == "GatedRepo":
        return _gated(handle, f"{endpoint}/{quote(repo)}", login)
    if code == "RevisionNotFound":
        return _no_revision(handle, repo)
    if code == "EntryNotFound":
        return PresetNotFoundError(handle, "the hub lists a file that it does not have")
    if headers.get("x-error-message") == "Access to this resource is disabled.":
        return PresetAccessError(handle, f"access to {repo!r} was disabled by the hub", "Choose another preset")
    if status in (401, 404) or code == "RepoNotFound":
        return _no_repository(handle, repo, login)
    if status == 403:
        return PresetAccessError(handle, f"the token may not read {repo!r} (HTTP 403)", _LOG_IN_AGAIN)
    return _other(handle, status, headers)


def write_refusal(handle: PresetHandle, repo: str, status: int, headers: Mapping[str, str]) -> PresetError:
    """Returns the error for a hub's response to a write request."""
    if headers.get("x-error-code") == "RevisionNotFound":
        return _no_revision(handle, repo)
    if status in (401, 403, 404):
        problem = f"the hub does not let you write to {repo!r} (HTTP {status})"
        return PresetAccessError(handle, problem, "Log in with a token with write access: hf auth login")
    return _other(handle, status, headers)


def _gated(handle: PresetHandle, page: str, login: Login) -> PresetError:
    problem = {
        "none": "it is gated, and you are not logged in",
        "accepted": "it is gated, and your account was not granted access",
        "refused": "it is gated, and your token was refused: it is expired, revoked or mistyped",
    }[login]
    remedy = f"Ask for access at {page}" if login == "accepted" else f"Ask for access at {page}. {_LOG_IN}"
    return PresetAccessError(handle, problem, remedy)


def _no_revision(handle: PresetHandle, repo: str) -> PresetError:
    problem = f"{repo!r} has no revision {handle.revision!r}"
    if "/" in (handle.revision or ""):
        problem += " (the revision comes last, as in hf://org/name/folder@revision)"
    return PresetNotFoundError(handle, problem)


def _no_repository(handle: PresetHandle, repo: str, login: Login) -> PresetError:
    if login == "refused":
        problem = f"the token was refused (expired, revoked or mistyped), and {repo!r} is not public"
        return PresetAccessError(handle, problem, _LOG_IN_AGAIN)
    if login == "accepted":
        return PresetNotFoundError(handle, f"{repo!r} does not exist, or is private and your account has no access")
    problem = f"{repo!r} does not exist, or is private; for a private one, log in with hf auth login or HF_TOKEN"
    return PresetNotFoundError(handle, problem)


def _other(handle: PresetHandle, status: int, headers: Mapping[str, str]) -> PresetError:
    limit = _RATE_LIMIT.search(headers.get("ratelimit", ""))  # the hub's own header for rate limits
    if status == 429 and "retry-after" not in headers and limit:
        return SourceUnavailableError(handle, "HTTP 429, too many requests", float(limit[1]))
    return http.error(handle, status, headers)
