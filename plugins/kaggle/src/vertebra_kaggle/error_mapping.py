"""Maps error responses of Kaggle to Vertebra's errors; the text of a response is not repeated."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from vertebra import PresetHandle, http
from vertebra.errors import PresetAccessError, PresetError, PresetNotFoundError
from vertebra_kaggle.variations import Variation

Login = Literal["none", "accepted", "refused"]
"""Use of the user's credentials: none, accepted, or refused and the request repeated without them."""
Purpose = Literal["list", "read"]
"""The purpose of a request: to list the files of a preset, or to read one."""
LOG_IN = "Log in: get a token at https://www.kaggle.com/settings and set KAGGLE_API_TOKEN"
LOG_IN_AGAIN = "Get a new token at https://www.kaggle.com/settings, or correct or unset KAGGLE_API_TOKEN"


def refusal(
    handle: PresetHandle,
    variation: Variation,
    purpose: Purpose,
    status: int,
    headers: Mapping[str, str],
    login: Login,
    page: str,
) -> PresetError:
    """Returns the error for Kaggle's response to a read request."""
    if status == 403 and purpose == "read":
        return _terms(handle, page, login)
    if status == 404 and purpose == "read":
        return PresetNotFoundError(handle, "Kaggle lists a file that it does not have")
    if status in (401, 403) or (status == 404 and login == "refused"):
        return _not_seen(handle, variation, status, login)
    if status == 404:
        private = "; a private model needs credentials (KAGGLE_API_TOKEN)" if login == "none" else ""
        return PresetNotFoundError(handle, f"Kaggle has no such model, framework, variation or version{private}")
    return http.error(handle, status, headers)


def write_refusal(handle: PresetHandle, status: int, headers: Mapping[str, str]) -> PresetError:
    """Returns the error for Kaggle's response to a write request."""
    if status in (401, 403):
        problem = f"Kaggle does not let you write to this model (HTTP {status})"
        return PresetAccessError(handle, problem, "Set KAGGLE_API_TOKEN to the token of an account with write access")
    return http.error(handle, status, headers)


def _terms(handle: PresetHandle, page: str, login: Login) -> PresetError:
    """Returns the error for a file that the user may list, but not read."""
    problem = {
        "none": "its terms must be accepted, and you are not logged in",
        "accepted": "your account has not accepted its terms",
        "refused": "its terms must be accepted, and your credentials were refused: expired, revoked or mistyped",
    }[login]
    remedy = f"Accept them at {page}"
    return PresetAccessError(handle, problem, remedy if login == "accepted" else f"{remedy}. {_log_in(login)}")


def _not_seen(handle: PresetHandle, variation: Variation, status: int, login: Login) -> PresetError:
    name = f"{variation.owner}/{variation.model}"
    if login == "refused":
        problem = f"your credentials were refused (expired, revoked or mistyped), and {name!r} is not public"
    elif login == "accepted":
        problem = f"{name!r} does not exist, or is private and your account has no access (HTTP {status})"
    else:
        problem = f"{name!r} does not exist, or is private (HTTP {status})"
    check = "Check its name, or ask its owner for access"
    return PresetAccessError(handle, problem, check if login == "accepted" else _log_in(login))


def _log_in(login: Login) -> str:
    return LOG_IN_AGAIN if login == "refused" else LOG_IN
