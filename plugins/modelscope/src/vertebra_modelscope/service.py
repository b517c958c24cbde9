"""Requests to ModelScope, with the endpoint and the token of its client's variables."""

from __future__ import annotations

import contextlib
import functools
import os
import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlencode, urlsplit

from vertebra import ByteStream, PresetFile, PresetHandle, http
from vertebra.errors import PresetError, PresetNotFoundError, SettingsError, SourceUnavailableError, close_names

ENDPOINT, TOKEN = "MODELSCOPE_ENDPOINT", "MODELSCOPE_API_TOKEN"
BRANCH = "master"
"""The branch of a handle without a revision."""
_PUBLIC = "https://modelscope.cn"
_MOST_FILES = 3_000
"""Files of the longest list: the service leaves out any further ones without saying so."""
_LONGEST_LISTING = 16 * 2**20
_SHA256 = re.compile(r"[0-9a-f]{64}")

Listing = Mapping[str, Any]
"""The file list of a revision, as the service sends it."""


def endpoint() -> str:
    """Returns the URL of the service: `MODELSCOPE_ENDPOINT`, or the public one.

    Raises:
        SettingsError: `MODELSCOPE_ENDPOINT` is not a URL.
    """
    text = os.environ.get(ENDPOINT, "").strip().rstrip("/") or _PUBLIC
    url = text if "://" in text else f"https://{text}"
    with contextlib.suppress(ValueError):
        split = urlsplit(url)
        if split.scheme in ("http", "https") and split.hostname and not (split.query or split.username):
            return url
    raise SettingsError(ENDPOINT, "expected a URL such as https://modelscope.cn, without credentials")


def login() -> dict[str, str]:
    """Returns the headers that identify the user: older parts of the service read the cookie, newer ones the token."""
    token = os.environ.get(TOKEN, "").strip()
    if not token:
        return {}
    http.check_credential(TOKEN, token)
    return {"authorization": f"Bearer {token}", "cookie": f"m_session_id={token}"}


def api() -> http.Transport:
    """Returns the interface of the user's service."""
    return _transport(endpoint())


@functools.cache
def _transport(url: str) -> http.Transport:
    """Returns the interface at a URL, always the same one: it keeps the addresses of files."""
    return http.Transport(f"{url}/api/v1", headers=login, setting=ENDPOINT)


def listing(handle: PresetHandle) -> Listing:
    """Returns the file list of a handle's revision.

    Raises:
        PresetNotFoundError: there is no such repository or revision.
        PresetAccessError, SourceUnavailableError: as `vertebra.http.Transport.json` does.
    """
    query = urlencode({"Revision": handle.revision or BRANCH, "Recursive": "True"})
    document = api().json(handle, f"models/{handle.path}/repo/files", query, most=_LONGEST_LISTING)
    data = document.get("Data") if isinstance(document, dict) else None
    if not isinstance(data, dict):
        raise _malformed(handle)
    if data.get("Files") is None:  # with status 200
        raise _no_revision(handle)
    return data


def files_of(handle: PresetHandle, listing: Listing) -> list[PresetFile]:
    """Returns the files of a list.

    Raises:
        SourceUnavailableError: the list is malformed.
        PresetError: it may be incomplete.
    """
    entries = listing["Files"]
    if not isinstance(entries, list):
        raise _malformed(handle)
    if len(entries) >= _MOST_FILES:
        problem = f"the service lists only the first {_MOST_FILES:,} of its files and folders"
        raise PresetError(f"Preset {str(handle)!r}: {problem}. Publish the preset in a repository of its own.")
    return [_file(handle, entry) for entry in entries if not (isinstance(entry, dict) and entry.get("Type") == "tree")]


def commits_of(listing: Listing) -> Iterator[str]:
    """Yields texts that may be the commit of a list; the service often gives only the first digits of its hash."""
    latest = _latest(listing)
    entries = listing["Files"] if isinstance(listing["Files"], list) else []
    yield str(latest.get("Id"))
    short = latest.get("ShortId")
    changed_in = {str(entry.get("Revision")) for entry in entries if isinstance(entry, dict)}
    yield from sorted(commit for commit in changed_in if isinstance(short, str) and short and commit.startswith(short))


def check_commit(handle: PresetHandle, listing: Listing) -> None:
    """Checks that a list is of the commit of a pinned handle, as far as the service says.

    Raises:
        PresetNotFoundError: it is of another commit.
    """
    short = _latest(listing).get("ShortId")
    if isinstance(short, str) and not str(handle.revision).startswith(short):
        raise PresetNotFoundError(handle, f"the service sent the files of another commit, {short[:40]}")


def read(handle: PresetHandle, file: PresetFile, start: int, stop: int | None) -> ByteStream:
    """Starts the download of a file, or of a range of it."""
    query = urlencode({"Revision": handle.revision or BRANCH, "FilePath": file.name})
    return api().read(handle, file, f"models/{handle.path}/repo", start, stop, query)


def _latest(listing: Listing) -> Mapping[str, Any]:
    """Returns the newest commit as the service describes it; an empty dict if it is malformed."""
    latest = listing.get("LatestCommitter")
    return latest if isinstance(latest, dict) else {}


def _file(handle: PresetHandle, entry: Any) -> PresetFile:
    try:
        name, size, sha256 = entry["Path"], entry["Size"], entry.get("Sha256")
    except (LookupError, TypeError, AttributeError):
        raise _malformed(handle) from None
    if not isinstance(name, str) or type(size) is not int or size < 0:
        raise _malformed(handle)
    known = isinstance(sha256, str) and _SHA256.fullmatch(sha256)
    return PresetFile(name, size, None, f"sha256:{sha256}" if known else None)


def _no_revision(handle: PresetHandle) -> PresetNotFoundError:
    """Returns the error for a missing revision; it names the nearest of the repository."""
    wanted = handle.revision or BRANCH
    problem, names = f"it has no revision {wanted!r}", list[str]()
    with contextlib.suppress(PresetError, AttributeError, LookupError, TypeError):
        revisions = api().json(handle, f"models/{handle.path}/revisions")["Data"]["RevisionMap"]
        for kind in ("Branches", "Tags"):
            names += [entry["Revision"] for entry in revisions.get(kind) or []]
    nearest = close_names(wanted, names) or names[:3]
    found = [str(PresetHandle(handle.scheme, handle.path, name)) for name in nearest]
    return PresetNotFoundError(handle, problem, found)


def _malformed(handle: PresetHandle) -> SourceUnavailableError:
    return SourceUnavailableError(handle, "its file list is malformed")
