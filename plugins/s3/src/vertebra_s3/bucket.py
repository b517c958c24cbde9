"""Operations on buckets that presets need, with the client library obstore."""

from __future__ import annotations

import contextlib
import math
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
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
from vertebra_s3 import layout, listing, signed_requests
from vertebra_s3.access import Access, timeouts
from vertebra_s3.error_mapping import is_no_bucket, is_range_error, no_login, refusal, replaced
from vertebra_s3.signed_requests import ObjectRequest

_RETRIES = 3
"""Retries of a write request, or of each part of a multipart upload; the core retries reads."""
_LARGEST_DOCUMENT = 8 * 2**20
_CHUNK = 2**16
_PART_SIZE, _MOST_PARTS, _PARTS_AT_ONCE = 8 * 2**20, 9_000, 8

_owner: int | None = None
"""Id of the process that has used the client library."""

Object = listing.Object
MOST_OBJECTS = 10_000
"""Most objects below the prefix of a preset; a prefix with more may be a whole bucket."""


class Buckets:
    """Creates clients for buckets, and keeps them for their connections."""

    def __init__(self, access: Callable[[], Access]) -> None:
        self._access = access
        self._stores: dict[tuple[object, ...], Any] = {}
        self._stores_lock = threading.Lock()
        self._checked: set[tuple[Access, str, str]] = set()
        """Objects whose requests the service does not redirect."""
        self._check_locks: dict[tuple[Access, str, str], threading.Lock] = {}

    def open(self, handle: PresetHandle, name: str, writing: bool = False) -> Bucket:
        """Returns the bucket of a name, with the user's current settings.

        Raises:
            ClientMissingError: obstore is not installed.
            SettingsError: a setting is malformed.
            PresetAccessError: the user has no credentials, which writing needs.
            SourceUnavailableError: the client library must not be used in this process.
        """
        with importing(handle):
            import obstore  # noqa: F401 (raises an error here if it is missing)
        _check_process(handle)
        access = self._access()
        if writing and access.needs_login_to_write:
            raise no_login(handle, access)
        store = self._store(access, name, _RETRIES if writing else 0)
        return Bucket(handle, access, (store, name), self._check if access.sends_token else None, writing)

    def _check(self, request: ObjectRequest) -> None:
        """Checks once that the service does not redirect requests for an object."""
        target = request.access, request.bucket, request.key
        with self._check_locks.setdefault(target, threading.Lock()):
            if target not in self._checked:
                signed_requests.check(request)
                self._checked.add(target)

    def _store(self, access: Access, bucket: str, retries: int) -> Any:
        with self._stores_lock:
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
            access: The service, and the user's credentials.
            store: The client, and the name of the bucket.
            check: Raises an error if the service redirects a request; None if no check is needed.
            writing: Whether the requests are for publishing the preset.
        """
        self._handle, self._access, self._check = handle, access, check
        self._store, self._name = store
        self._writing = writing

    # === Reading ===

    def document(self, key: str) -> bytes | None:
        """Returns the bytes of a small object, or None if it does not exist.

        Raises:
            PresetConfigError: the object is too large.
        """
        import obstore

        with self._mapped_errors(key):
            try:
                response = obstore.get(self._store, key)
            except FileNotFoundError as error:
                if is_no_bucket(error):
                    raise
                return None
            if response.meta["size"] > _LARGEST_DOCUMENT:
                problem = f"its {key.rpartition('/')[2]} has {response.meta['size']:,} bytes, which is too much"
                raise PresetConfigError(f"Preset {str(self._handle)!r}", problem, "Push the preset again")
            return bytes(response.bytes())

    def attributes(self, key: str) -> tuple[int, Mapping[str, str]] | None:
        """Returns the size and the attributes of an object, or None if it does not exist or is not readable."""
        import obstore
        from obstore.exceptions import PermissionDeniedError

        with self._mapped_errors(key):
            try:
                response = obstore.get(self._store, key, options={"head": True})
            except (FileNotFoundError, PermissionDeniedError):
                return None
            return response.meta["size"], response.attributes

    def list(self, prefix: str, most: int = MOST_OBJECTS + 1) -> Sequence[Object]:
        """Returns the first objects below a prefix, in the order of the service.

        Raises:
            SourceUnavailableError: the service sends pages without objects, and no end of its list.
        """
        with self._mapped_errors(""):
            listed = listing.first_objects(self._handle, self._store, prefix.rstrip("/") or None, most)
        return [entry for entry in listed if entry["path"].startswith(prefix)]

    def names(self, prefix: str) -> set[str]:
        """Returns the names of all objects directly below a prefix, however many are in its folders.

        Raises:
            SourceUnavailableError: the list did not end in time.
        """
        with self._mapped_errors(""):
            listed = listing.direct_objects(self._handle, self._store, prefix.rstrip("/") or None)
        return {entry["path"].removeprefix(prefix) for entry in listed}

    def read(self, key: str, file: PresetFile, tag: str | None, start: int, stop: int | None) -> ByteStream:
        """Starts to read a file of the preset, or a range of it: by a signed URL in S3, else by the client library.

        Args:
            key: Key of the object.
            file: The file that the object holds.
            tag: The expected ETag, or None to accept any.
            start: Offset of the first byte.
            stop: Offset after the last byte, or None for the end.

        Raises:
            IntegrityError: the object has another ETag, or is stored with an encoding.
        """
        if self._access.reads_by_url:
            return signed_requests.read(self._request(key), file, tag, (start, stop))
        response = self._open(key, file, tag, start, stop)
        encoding = response.attributes.get("Content-Encoding", "")
        if encoding not in ("", "identity"):
            raise IntegrityError(self._handle, file.name, f"it is stored as {encoding}", "Store it without encoding")
        sha256 = response.attributes.get("sha256", "")
        digest = f"sha256:{sha256}" if layout.is_sha256(sha256) else None
        meta = response.meta
        return ByteStream(self._chunks(response), response.range[0], meta["size"], meta["e_tag"], digest)

    def _open(self, key: str, file: PresetFile, tag: str | None, start: int, stop: int | None) -> Any:
        import obstore
        from obstore.exceptions import GenericError, PreconditionError

        options: dict[str, Any] = {} if tag is None else {"if_match": _quoted(tag)}
        ranged = {"range": {"offset": start} if stop is None else (start, stop)} if (start, stop) != (0, None) else {}
        with self._mapped_errors(key):
            try:
                return obstore.get(self._store, key, options={**options, **ranged})
            except PreconditionError:
                raise replaced(self._handle, file.name) from None
            except GenericError as error:
                if not ranged or not is_range_error(error):
                    raise
                return obstore.get(self._store, key, options=options)  # the server does not support ranges

    def _chunks(self, response: Any) -> Iterator[bytes]:
        """Yields the bytes of a response."""
        with self._mapped_errors():
            yield from response.stream(min_chunk_size=_CHUNK)

    # === Writing ===

    def put(self, key: str, data: bytes | Iterable[bytes], size: int, attributes: Mapping[str, str]) -> None:
        """Writes an object atomically; a large one is sent as a multipart upload."""
        import obstore

        part_size = max(_PART_SIZE, size // _MOST_PARTS)
        with self._mapped_errors(key):
            obstore.put(
                self._store,
                key,
                data,
                attributes=dict(attributes),
                chunk_size=part_size,
                max_concurrency=_PARTS_AT_ONCE,
            )

    def create(self, key: str, data: bytes) -> bool:
        """Writes an object unless it exists; returns whether it was written."""
        import obstore
        from obstore.exceptions import AlreadyExistsError

        with self._mapped_errors(key):
            try:
                obstore.put(self._store, key, data, mode="create")
            except AlreadyExistsError:
                return False
            return True

    @contextlib.contextmanager
    def _mapped_errors(self, key: str | None = None) -> Iterator[None]:
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


def _quoted(tag: str) -> str:
    """Returns an ETag as HTTP has it; Azure lists them without quotation marks."""
    return tag if tag.startswith(('"', "W/")) else f'"{tag}"'


def _check_process(handle: PresetHandle) -> None:
    """Refuses the client library in a forked child: it would hang, and take the responses of its parent.

    Raises:
        SourceUnavailableError: this process was forked after its parent had used the library; a retry would fail, too.
    """
    global _owner
    _owner = _owner or os.getpid()
    if _owner != os.getpid():
        problem = "this process was forked from one that has used obstore, which cannot be used in both"
        remedy = "First download the preset with vertebra pull, or start processes by spawn or forkserver"
        raise SourceUnavailableError(handle, problem, math.inf, remedy)


def importing(handle: PresetHandle) -> contextlib.AbstractContextManager[None]:
    """Raises an error with the command to install the client library if it is missing."""
    return require_client(f"{handle.scheme}://", "obstore")


def _connect(access: Access, bucket: str, retries: int) -> Any:
    import obstore.store

    connect, read = timeouts()
    options: dict[str, Any] = dict(access.options)
    keys = access.keys
    if keys is not None:  # so keys of a profile are never combined with a session token of the environment
        secrets = {"access_key_id": keys.key, "secret_access_key": keys.secret, "token": keys.token}
        options["credential_provider"] = lambda: {**secrets, "expires_at": None}
    client = {
        "allow_http": access.endpoint.startswith("http://"),
        "connect_timeout": timedelta(seconds=connect),
        "read_timeout": timedelta(seconds=read),
        "timeout": "100years",  # for a complete response, which may be large
    }
    retry = {"max_retries": retries, "retry_timeout": timedelta(seconds=60)}
    make = getattr(obstore.store, access.client)
    try:
        return make(bucket, client_options=client, retry_config=retry, **options)
    except (obstore.exceptions.BaseError, ValueError, TypeError) as error:
        problem = f"the client library does not accept the settings ({type(error).__name__}; {access.login})"
        raise SettingsError(access.endpoint, problem) from None
