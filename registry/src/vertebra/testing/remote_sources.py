"""The test suite for remote sources: the tests of `SourceSuite`, and tests of downloading, caching and uploading.

class TestMySource(RemoteSourceSuite):
    client = "my_client"

    @pytest.fixture
    def source(self):
        return MySource()

    @pytest.fixture
    def publish(self, server):
        def publish(files):
            server.put("team/bert", files)
            return PresetHandle("my", "team/bert")

        return publish

    @pytest.fixture
    def missing_handle(self):
        return PresetHandle("my", "team/missing")

For a source with `upload`, `new_handle` may be given instead of the last two. The other fixtures are optional: tests
that need an undefined one are skipped.
"""

from __future__ import annotations

import logging
import sys
import traceback
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import ClassVar, Protocol

import pytest

from vertebra._cache import cached_source
from vertebra.errors import (
    ClientMissingError,
    IntegrityError,
    OfflineError,
    PresetNotFoundError,
    SourceUnavailableError,
    VertebraError,
)
from vertebra.handles import PresetHandle
from vertebra.remote import RemoteSource
from vertebra.specs import PresetFile
from vertebra.testing.network import network, other_host
from vertebra.testing.rules import rule
from vertebra.testing.sources import (
    FILES,
    LARGE,
    OTHER_FILES,
    Files,
    Publish,
    contents,
    opened,
    set_variables,
    written,
)
from vertebra.testing.uploads import UploadRules


class Faults(Protocol):
    """Faults that a test can switch on in a service."""

    def cut(self, name: str, times: int | None) -> None:
        """Cuts off the next downloads of a file halfway; all of them if `times` is None."""

    def flip(self, name: str) -> None:
        """Sends a file with one wrong bit from now on."""

    def heal(self) -> None:
        """Removes all faults."""


class RemoteSourceSuite(UploadRules):
    """Tests of a remote source."""

    client: ClassVar[str | None] = None
    """Import name of the client library, if there is one."""

    # === Fixtures of a subclass; without `publish`, presets are uploaded to `new_handle` ===

    @pytest.fixture
    def source(self) -> RemoteSource:
        """The source."""
        raise NotImplementedError

    @pytest.fixture
    def publish(self, source: RemoteSource, new_handle: PresetHandle, tmp_path: Path) -> Publish:
        def publish(files: Files) -> PresetHandle:
            source.upload(new_handle, written(tmp_path / "published", files), True, "message")
            return new_handle

        return publish

    @pytest.fixture
    def missing_handle(self, new_handle: PresetHandle) -> PresetHandle:
        return replace(new_handle, path=f"{new_handle.path}-missing")

    # === Optional fixtures ===

    @pytest.fixture
    def secret(self) -> str:
        """A credential that the source sends with every request."""
        pytest.skip("the `secret` fixture is not defined")

    @pytest.fixture
    def requests(self) -> Callable[[], int]:
        """A function that returns the number of requests to the service."""
        pytest.skip("the `requests` fixture is not defined")

    @pytest.fixture
    def faults(self) -> Faults:
        """The faults of the service."""
        pytest.skip("the `faults` fixture is not defined")

    @pytest.fixture
    def redirect(self) -> Callable[[str], None]:
        """A function that makes the service answer every further request with a redirect to a URL."""
        pytest.skip("the `redirect` fixture is not defined")

    # === Revisions ===

    @rule("RS-01")
    def test_a_bad_revision_is_an_error(self, source: RemoteSource, publish: Publish) -> None:
        """A revision that does not exist is a `PresetNotFoundError`."""
        bad = replace(publish(FILES), revision="no-such-revision")
        with pytest.raises(PresetNotFoundError):
            opened(source).files(opened(source).resolve(bad))

    @rule("RS-02")
    def test_a_resolved_handle_is_pinned(self, source: RemoteSource, publish: Publish) -> None:
        """Resolving gives a pinned handle of the same preset, which resolves to itself and can be written as text."""
        handle = publish(FILES)
        pinned = opened(source).resolve(handle)
        assert (source.is_pinned(handle), source.is_pinned(pinned)) == (False, True)
        assert source.unpinned(pinned) == source.unpinned(handle)  # otherwise the cache would ignore the ref
        assert PresetHandle.parse(str(pinned)) == opened(source).resolve(pinned) == pinned

    @rule("RS-03")
    def test_all_files_are_of_one_revision(self, source: RemoteSource, publish: Publish) -> None:
        """All files of a pinned handle are of its revision, also after another one was published."""
        pinned = opened(source).resolve(publish(FILES))
        opened(source).fetch(pinned, "config.json")
        later = opened(source).resolve(publish(OTHER_FILES))  # another revision is published meanwhile
        fetched = {name: opened(source).fetch(pinned, name).read_bytes() for name in FILES}
        assert fetched == FILES
        assert later != pinned
        assert contents(source, later) == OTHER_FILES

    @rule("RS-04")
    def test_a_cached_preset_costs_no_request(
        self, source: RemoteSource, publish: Publish, requests: Callable[[], int], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A pinned preset that is in the cache is read without a request."""
        pinned = opened(source).resolve(publish(FILES))
        contents(source, pinned)
        before = requests()
        monkeypatch.setattr(cached_source, "_listed", {})  # as in another process
        assert contents(source, pinned) == FILES
        assert requests() == before

    # === Transfers ===

    @rule("RS-05")
    @pytest.mark.parametrize(("start", "stop"), [(0, 7), (3, 12_345), (50_000, None), (0, None)])
    def test_a_range_of_a_file_is_read(
        self, source: RemoteSource, publish: Publish, start: int, stop: int | None
    ) -> None:
        """`read` sends the bytes from `start` up to `stop`, or says that it begins at 0, and how large the file is."""
        pinned = opened(source).resolve(publish(FILES))
        (file,) = [file for file in opened(source).files(pinned) if file.name == LARGE]
        with source.read(pinned, file, start, stop) as stream:
            received = b"".join(stream.chunks)
        expected = FILES[LARGE][start:stop]
        assert stream.total in (None, file.size)
        assert stream.start in (0, start)  # a service may send the whole file
        assert received[start - stream.start :][: len(expected)] == expected

    @rule("RS-06")
    def test_an_interrupted_download_is_resumed(self, source: RemoteSource, publish: Publish, faults: Faults) -> None:
        """A transfer that is cut off is a `SourceUnavailableError`, after which the download goes on."""
        handle = publish(FILES)
        faults.cut(LARGE, 2)
        assert contents(source, handle) == FILES

    @rule("RS-07")
    def test_only_complete_files_are_cached(
        self, source: RemoteSource, publish: Publish, faults: Faults, cache: Path
    ) -> None:
        """A file that did not arrive completely is not in the cache."""
        pinned = opened(source).resolve(publish(FILES))
        faults.cut(LARGE, None)
        with pytest.raises(SourceUnavailableError):
            opened(source).fetch(pinned, LARGE)
        assert [file.path for file in opened(source).files(pinned) if file.name == LARGE] == [None]
        assert list(cache.glob("blobs/*/*")) == []
        faults.heal()
        assert opened(source).fetch(pinned, LARGE).read_bytes() == FILES[LARGE]

    @rule("RS-08")
    def test_a_wrong_bit_is_never_accepted(
        self, source: RemoteSource, publish: Publish, faults: Faults, cache: Path
    ) -> None:
        """Files have digests, so that one wrong bit is an `IntegrityError`."""
        pinned = opened(source).resolve(publish(FILES))
        faults.flip(LARGE)
        with pytest.raises(IntegrityError):
            opened(source).fetch(pinned, LARGE)
        assert [path for path in cache.rglob("*") if path.is_file() and path.stat().st_size == len(FILES[LARGE])] == []
        faults.heal()
        assert opened(source).fetch(pinned, LARGE).read_bytes() == FILES[LARGE]

    # === Offline ===

    @rule("RS-09")
    def test_offline_uses_no_network(
        self, source: RemoteSource, publish: Publish, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Offline, cached files are found without the network, and others are an `OfflineError` that names them."""
        handle = publish(FILES)
        pinned = opened(source).resolve(handle)
        opened(source).fetch(pinned, "config.json")
        monkeypatch.setattr(cached_source, "_listed", {})
        set_variables(monkeypatch, OFFLINE="1")
        with network() as used:
            assert (
                opened(source).fetch(opened(source).resolve(handle), "config.json").read_bytes() == FILES["config.json"]
            )
            with pytest.raises(OfflineError, match=LARGE):
                opened(source).fetch(pinned, LARGE)
            with pytest.raises(OfflineError):
                opened(source).files(opened(source).resolve(replace(handle, revision="never-looked-up")))
        assert used == []

    # === Secrets, and missing clients ===

    @rule("RS-10")
    def test_credentials_are_not_shown(
        self,
        source: RemoteSource,
        publish: Publish,
        missing_handle: PresetHandle,
        secret: str,
        cache: Path,
        caplog: pytest.LogCaptureFixture,
        capfd: pytest.CaptureFixture[str],
    ) -> None:
        """A credential appears in no message, log, representation or file of the cache."""
        caplog.set_level(logging.DEBUG)
        handle = publish(FILES)
        contents(source, handle)
        shown = [repr(source), str(vars(source))]
        for bad in (missing_handle, replace(handle, revision="no-such-revision")):
            with pytest.raises(VertebraError) as raised:
                opened(source).files(opened(source).resolve(bad))
            shown += _texts_of(raised.value)
        shown += [caplog.text, *capfd.readouterr()]
        shown += [path.read_text(errors="replace") for path in cache.rglob("*") if path.is_file()]
        assert [text for text in shown if secret in text] == []

    @rule("RS-11")
    @pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
    @pytest.mark.parametrize("request_kind", ["the file list", "a file"])
    def test_credentials_are_not_sent_to_another_host(
        self,
        source: RemoteSource,
        publish: Publish,
        secret: str,
        redirect: Callable[[str], None],
        request_kind: str,
        host: str,
    ) -> None:
        """A credential is not sent to another host after a redirect."""
        handle = publish(FILES)
        pinned = opened(source).resolve(handle)
        (file,) = [file for file in opened(source).files(pinned) if file.name == LARGE]
        with other_host(host) as other:
            redirect(f"{other.url}/moved")
            with pytest.raises(VertebraError) as raised:  # the other host has nothing
                source.resolve_snapshot(handle) if request_kind == "the file list" else _read(source, pinned, file)
        message = str(raised.value)
        assert other.requests or other.url in message, f"no redirect was followed or refused: {message}"
        assert other.leaks(secret) == []

    @rule("RS-12")
    def test_a_missing_client_is_named(
        self, source: RemoteSource, publish: Publish, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Without the client library, an error names the command that installs it."""
        if self.client is None:
            pytest.skip("the source needs no client library")
        handle = publish(FILES)
        for name in [name for name in sys.modules if f"{name}.".startswith(f"{self.client}.")] or [self.client]:
            monkeypatch.setitem(sys.modules, name, None)
        with pytest.raises(ClientMissingError, match="pip install"):
            opened(source).resolve(handle)

    @rule("RS-16")
    def test_a_transfer_that_fails_shows_no_credential(
        self, source: RemoteSource, publish: Publish, faults: Faults, secret: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        """The error of a transfer that is cut off shows no credential, and neither does a log."""
        caplog.set_level(logging.DEBUG)
        pinned = opened(source).resolve(publish(FILES))
        faults.cut(LARGE, None)
        with pytest.raises(VertebraError) as raised:
            opened(source).fetch(pinned, LARGE)
        assert [text for text in (*_texts_of(raised.value), caplog.text) if secret in text] == []


def _texts_of(error: BaseException) -> list[str]:
    """Returns everything that may be shown of an error, and of those that caused it."""
    return [repr(error), str(vars(error)), *traceback.format_exception(error)]


def _read(source: RemoteSource, pinned: PresetHandle, file: PresetFile) -> bytes:
    with source.read(pinned, file) as stream:
        return b"".join(stream.chunks)
