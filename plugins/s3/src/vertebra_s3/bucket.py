"""Buckets: the operations that presets need, by the client library obstore."""

from __future__ import annotations

import contextlib
import math
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import timedelta
from typing import Any

from vertebra import ByteStream, PresetFile, PresetHandle, require_client
from vertebra.errors import (
    IntegrityError,
    PresetConfigError,
    SettingsError,
    SourceUnavailableError,
    VertebraError,
)
from vertebra_s3 import layout, signed_requests
from vertebra_s3.access import Access, timeouts
from vertebra_s3.error_mapping import is_about_ranges, is_no_bucket, refusal, replaced
from vertebra_s3.signed_requests import ObjectRequest

_RETRIES = 3
"""Of requests that write, and of a part each where they are large; the core retries reading."""
_LARGEST_DOCUMENT = 8 * 2**20
_CHUNK = 2**16
_PART, _MOST_PARTS, _PARTS_AT_ONCE = 8 * 2**20, 9_000, 8

_user: int | None = None
"""The process that uses the client library."""

Object = Mapping[str, Any]
"""What a list tells of an object."""


class Buckets:
    """Makes clients for buckets, and keeps them: they hold connections."""

    def __init__(self, access: Callable[[], Access]) -> None:
        self._access = access
        self._stores: dict[tuple[object, ...], Any] = {}
        self._making = threading.Lock()
        self._checked: set[tuple[Access, str, str]] = set()
        """Objects whose requests the service does not redirect."""
        self._checking: dict[tuple[Access, str, str], threading.Lock] = {}

    def open(self, handle: PresetHandle, name: str, writing: bool = False) -> Bucket:
        """Returns the bucket of a name, as the user's settings are now.

        Raises:
            ClientMissingError: obstore is not installed.
            SettingsError: a setting is not what it should be.
            SourceUnavailableError: the client library must not be used in this process.
        """
        with importing(handle):
            import obstore  # noqa: F401 (asked for each time, so that it is missed in time)
        _check_process(handle)
        access = self._access()
        store = self._store(access, name, _RETRIES if writing else 0)
        return Bucket(handle, access, (store, name), self._check if access.sends_token else None, writing)

    def _check(self, request: ObjectRequest) -> None:
        """Asks once whether the service redirects requests for an object."""
        known = request.access, request.bucket, request.key
        with self._checking.setdefault(known, threading.Lock()):
            if known not in self._checked:
                signed_requests.check(request)
                self._checked.add(known)

    def _store(self, access: Access, bucket: str, retries: int) -> Any:
        with self._making:
            key = (access, bucket, retries)
            if key not in self._stores:
                self._stores[key] = _connect(access, bucket, retries)
            return self._stores[key]


class Bucket:
    """A bucket, for the requests of one preset; errors are mapped to Vertebra's."""

    def __init__(
        self,
        handle: PresetHandle,
        access: Access,
        store: tuple[Any, str],
        check: Callable[[ObjectRequest], None] | None,
        writing: bool,
    ) -> None:
        """
        Args:
            handle: The preset.
            access: How the service is asked.
            store: The client, and the name of the bucket.
            check: Raises an error if the service redirects a request; None where that needs no check.
            writing: Whether the preset is written.
        """
        self._handle, self._access, self._check = handle, access, check
        self._store, self._name = store
        self._writing = writing

    # === Reading ===

    def document(self, key: str) -> bytes | None:
        """Returns the content of a small object, or None if there is none.

        Raises:
            PresetConfigError: it is not small.
        """
        import obstore

        with self._explained(key):
            try:
                found = obstore.get(self._store, key)
            except FileNotFoundError as error:
                if is_no_bucket(error):
                    raise
                return None
            if found.meta["size"] > _LARGEST_DOCUMENT:
                problem = f"its {key.rpartition('/')[2]} has {found.meta['size']:,} bytes, which is too much"
                raise PresetConfigError(f"Preset {str(self._handle)!r}", problem, "Push the preset again")
            return bytes(found.bytes())

    def attributes(self, key: str) -> tuple[int, Mapping[str, str]] | None:
        """Returns the size of an object and its attributes, or None if there is none that the user may see."""
        import obstore
        from obstore.exceptions import PermissionDeniedError

        with self._explained(key):
            try:
                found = obstore.get(self._store, key, options={"head": True})
            except (FileNotFoundError, PermissionDeniedError):
                return None
            return found.meta["size"], found.attributes

    def list(self, prefix: str) -> Iterator[Object]:
        """Yields the objects below a prefix."""
        import obstore

        with self._explained(""):
            for page in obstore.list(self._store, prefix.rstrip("/") or None):
                yield from (found for found in page if found["path"].startswith(prefix))

    def names(self, prefix: str) -> set[str]:
        """Returns the names of the objects directly below a prefix."""
        import obstore

        with self._explained(""):
            found = obstore.list_with_delimiter(self._store, prefix.rstrip("/") or None)
            return {listed["path"].removeprefix(prefix) for listed in found["objects"]}

    def read(self, key: str, file: PresetFile, tag: str | None, start: int, stop: int | None) -> ByteStream:
        """Begins to read a file of the preset, or a part of it: of S3, by signed addresses, else by the client library.

        Args:
            key: Of the object.
            file: What it is.
            tag: What its content is called, or None if that does not matter.
            start: The first byte.
            stop: The byte after the last one, or None for the end.

        Raises:
            IntegrityError: the content is another one.
        """
        if self._access.reads_by_address:
            return signed_requests.read(self._request(key), file, tag, (start, stop))
        found = self._begin(key, file, tag, start, stop)
        encoding = found.attributes.get("Content-Encoding", "")
        if encoding not in ("", "identity"):
            raise IntegrityError(self._handle, file.name, f"it is stored as {encoding}", "Store it as it is")
        noted = found.attributes.get("sha256", "")
        digest = f"sha256:{noted}" if layout.is_sha256(noted) else None
        return ByteStream(self._chunks(found), found.range[0], found.meta["size"], found.meta["e_tag"], digest)

    def _begin(self, key: str, file: PresetFile, tag: str | None, start: int, stop: int | None) -> Any:
        import obstore
        from obstore.exceptions import GenericError, PreconditionError

        options: dict[str, Any] = {} if tag is None else {"if_match": tag}
        part = {"range": {"offset": start} if stop is None else (start, stop)} if (start, stop) != (0, None) else {}
        with self._explained(key):
            try:
                return obstore.get(self._store, key, options={**options, **part})
            except PreconditionError:
                raise replaced(self._handle, file.name) from None
            except GenericError as error:
                if not part or not is_about_ranges(error):
                    raise
                return obstore.get(self._store, key, options=options)  # the part is there: it is ranges that are not

    def _chunks(self, found: Any) -> Iterator[bytes]:
        """Yields the bytes of an answer."""
        with self._explained():
            yield from found.stream(min_chunk_size=_CHUNK)

    # === Writing ===

    def put(self, key: str, content: bytes | Iterable[bytes], size: int, attributes: Mapping[str, str]) -> None:
        """Writes an object, whole or not at all; if it is large, in several parts at once."""
        import obstore

        part = max(_PART, size // _MOST_PARTS)
        with self._explained(key):
            obstore.put(
                self._store,
                key,
                content,
                attributes=dict(attributes),
                chunk_size=part,
                max_concurrency=_PARTS_AT_ONCE,
            )

    def create(self, key: str, content: bytes) -> bool:
        """Writes an object unless there is one; says whether it did."""
        import obstore
        from obstore.exceptions import AlreadyExistsError

        with self._explained(key):
            try:
                obstore.put(self._store, key, content, mode="create")
            except AlreadyExistsError:
                return False
            return True

    @contextlib.contextmanager
    def _explained(self, key: str | None = None) -> Iterator[None]:
        """Maps errors of the client library; first checks that the service does not redirect requests for an object."""
        from obstore.exceptions import BaseError

        try:
            if key is not None and self._check is not None:
                self._check(self._request(key))
            yield
        except VertebraError:
            raise
        except (BaseError, OSError, ValueError) as error:
            raise refusal(self._handle, self._access, error, self._writing) from None

    def _request(self, key: str) -> ObjectRequest:
        return ObjectRequest(self._handle, self._access, self._store, self._name, key)


def _check_process(handle: PresetHandle) -> None:
    """A child made by fork would wait for ever for the library's threads, and take the parent's answers meanwhile.

    Raises:
        SourceUnavailableError: this is one, and its parent has used the library; trying again is of no use.
    """
    global _user
    _user = _user or os.getpid()
    if _user != os.getpid():
        problem = "this process was forked from one that has used obstore, which cannot be used in both"
        remedy = "Fetch the preset before with vertebra pull, or start processes by spawn or forkserver"
        raise SourceUnavailableError(handle, problem, math.inf, remedy)


def importing(handle: PresetHandle) -> contextlib.AbstractContextManager[None]:
    """Says what to install if the client library is not there."""
    return require_client(f"{handle.scheme}://", "obstore")


def _connect(access: Access, bucket: str, retries: int) -> Any:
    import obstore.store

    connect, read = timeouts()
    options: dict[str, Any] = dict(access.options)
    keys = access.keys
    if keys is not None:  # in this way, a session token of the environment does not get to keys of a profile
        secrets = {"access_key_id": keys.key, "secret_access_key": keys.secret, "token": keys.token}
        options["credential_provider"] = lambda: {**secrets, "expires_at": None}
    client = {
        "allow_http": access.endpoint.startswith("http://"),
        "connect_timeout": timedelta(seconds=connect),
        "read_timeout": timedelta(seconds=read),
        "timeout": "100years",  # for the whole of an answer, which may be large
    }
    retry = {"max_retries": retries, "retry_timeout": timedelta(seconds=60)}
    make = getattr(obstore.store, access.client)
    try:
        return make(bucket, client_options=client, retry_config=retry, **options)
    except (obstore.exceptions.BaseError, ValueError, TypeError) as error:
        problem = f"the client library does not take the settings ({type(error).__name__})"
        raise SettingsError(access.endpoint, problem) from None
