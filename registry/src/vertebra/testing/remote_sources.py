"""What must hold for every source that downloads, beyond what must hold for every source.

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

The other fixtures may be given, too: whatever needs one that is not is skipped.
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
    PresetExistsError,
    PresetNotFoundError,
    SourceUnavailableError,
    VertebraError,
)
from vertebra.handles import PresetHandle
from vertebra.remote import RemoteSource
from vertebra.specs import PresetFile
from vertebra.testing.network import network, stranger
from vertebra.testing.sources import (
    FILES,
    LARGE,
    OTHER_FILES,
    Publish,
    SourceSuite,
    contents,
    opened,
    set_variables,
    written,
)


class Faults(Protocol):
    """What a test can make a service do wrong."""

    def cut(self, name: str, times: int | None) -> None:
        """Ends the next transfers of a file halfway, or all if `times` is None."""

    def flip(self, name: str) -> None:
        """Gives out a file with one bit wrong, from now on."""

    def heal(self) -> None:
        """Ends all faults."""


class RemoteSourceSuite(SourceSuite):
    """Tests of a source that downloads."""

    client: ClassVar[str | None] = None
    """Import name of the client library, if there is one."""

    # === What a subclass gives, if it can ===

    @pytest.fixture
    def source(self) -> RemoteSource:
        """The source."""
        raise NotImplementedError

    @pytest.fixture
    def secret(self) -> str:
        """A credential that the source sends, also to where it is of no use."""
        pytest.skip("the source has no credentials here")

    @pytest.fixture
    def requests(self) -> Callable[[], int]:
        """Returns how many requests the service has had."""
        pytest.skip("the service does not count its requests")

    @pytest.fixture
    def faults(self) -> Faults:
        """What can go wrong with the service."""
        pytest.skip("the service does nothing wrong")

    @pytest.fixture
    def redirect(self) -> Callable[[str], None]:
        """Has the service answer every request from now on with a redirect to an address."""
        pytest.skip("the service redirects nobody")

    @pytest.fixture
    def new_handle(self) -> PresetHandle:
        """A handle of a place where nothing is yet, and the user may write."""
        pytest.skip("nothing can be uploaded")

    # === Revisions ===

    def test_a_bad_revision_is_an_error(self, source: RemoteSource, publish: Publish) -> None:
        bad = replace(publish(FILES), revision="no-such-revision")
        with pytest.raises(PresetNotFoundError):
            opened(source).files(opened(source).resolve(bad))

    def test_a_handle_is_pinned_to_one_that_stays(self, source: RemoteSource, publish: Publish) -> None:
        handle = publish(FILES)
        pinned = opened(source).resolve(handle)
        assert (source.is_pinned(handle), source.is_pinned(pinned)) == (False, True)
        assert source.unpinned(pinned) == source.unpinned(handle)  # else no cache may say what the handle means
        assert PresetHandle.parse(str(pinned)) == opened(source).resolve(pinned) == pinned

    def test_all_files_are_of_one_revision(self, source: RemoteSource, publish: Publish) -> None:
        pinned = opened(source).resolve(publish(FILES))
        opened(source).fetch(pinned, "config.json")
        later = opened(source).resolve(publish(OTHER_FILES))  # somebody publishes another one meanwhile
        fetched = {name: opened(source).fetch(pinned, name).read_bytes() for name in FILES}
        assert fetched == FILES
        assert later != pinned
        assert contents(source, later) == OTHER_FILES

    def test_what_is_pinned_and_here_costs_no_request(
        self, source: RemoteSource, publish: Publish, requests: Callable[[], int], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        pinned = opened(source).resolve(publish(FILES))
        contents(source, pinned)
        before = requests()
        monkeypatch.setattr(cached_source, "_listed", {})  # as another process
        assert contents(source, pinned) == FILES
        assert requests() == before

    # === Transfers ===

    @pytest.mark.parametrize(("start", "stop"), [(0, 7), (3, 12_345), (50_000, None), (0, None)])
    def test_a_part_of_a_file_is_read(
        self, source: RemoteSource, publish: Publish, start: int, stop: int | None
    ) -> None:
        pinned = opened(source).resolve(publish(FILES))
        (file,) = [file for file in opened(source).files(pinned) if file.name == LARGE]
        with source.read(pinned, file, start, stop) as content:
            found = b"".join(content.chunks)
        wanted = FILES[LARGE][start:stop]
        assert content.total in (None, file.size)
        assert content.start in (0, start)  # a service may send the whole file whatever it is asked for
        assert found[start - content.start :][: len(wanted)] == wanted

    def test_a_transfer_that_stops_goes_on(self, source: RemoteSource, publish: Publish, faults: Faults) -> None:
        handle = publish(FILES)
        faults.cut(LARGE, 2)
        assert contents(source, handle) == FILES

    def test_a_file_is_here_completely_or_not_at_all(
        self, source: RemoteSource, publish: Publish, faults: Faults, cache: Path
    ) -> None:
        pinned = opened(source).resolve(publish(FILES))
        faults.cut(LARGE, None)
        with pytest.raises(SourceUnavailableError):
            opened(source).fetch(pinned, LARGE)
        assert [file.path for file in opened(source).files(pinned) if file.name == LARGE] == [None]
        assert list(cache.glob("blobs/*/*")) == []
        faults.heal()
        assert opened(source).fetch(pinned, LARGE).read_bytes() == FILES[LARGE]

    def test_a_wrong_bit_is_never_accepted(
        self, source: RemoteSource, publish: Publish, faults: Faults, cache: Path
    ) -> None:
        pinned = opened(source).resolve(publish(FILES))
        faults.flip(LARGE)
        with pytest.raises(IntegrityError):
            opened(source).fetch(pinned, LARGE)
        assert [path for path in cache.rglob("*") if path.is_file() and path.stat().st_size == len(FILES[LARGE])] == []
        faults.heal()
        assert opened(source).fetch(pinned, LARGE).read_bytes() == FILES[LARGE]

    # === Offline ===

    def test_offline_nothing_goes_out(
        self, source: RemoteSource, publish: Publish, monkeypatch: pytest.MonkeyPatch
    ) -> None:
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

    # === Secrets, and what is not installed ===

    def test_credentials_are_told_nobody(
        self,
        source: RemoteSource,
        publish: Publish,
        missing_handle: PresetHandle,
        secret: str,
        cache: Path,
        caplog: pytest.LogCaptureFixture,
        capfd: pytest.CaptureFixture[str],
    ) -> None:
        caplog.set_level(logging.DEBUG)
        handle = publish(FILES)
        contents(source, handle)
        told = [repr(source), str(vars(source))]
        for bad in (missing_handle, replace(handle, revision="no-such-revision")):
            with pytest.raises(VertebraError) as raised:
                opened(source).files(opened(source).resolve(bad))
            told += [repr(raised.value), str(vars(raised.value)), *traceback.format_exception(raised.value)]
        told += [caplog.text, *capfd.readouterr()]
        told += [path.read_text(errors="replace") for path in cache.rglob("*.json")]
        assert [text for text in told if secret in text] == []

    @pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
    @pytest.mark.parametrize("what", ["the list of files", "a file"])
    def test_credentials_go_along_to_no_other_host(
        self,
        source: RemoteSource,
        publish: Publish,
        secret: str,
        redirect: Callable[[str], None],
        what: str,
        host: str,
    ) -> None:
        handle = publish(FILES)
        pinned = opened(source).resolve(handle)
        (file,) = [file for file in opened(source).files(pinned) if file.name == LARGE]
        with stranger(host) as other:
            redirect(f"{other.url}/moved")
            with pytest.raises(VertebraError) as raised:  # the other host has nothing
                source.resolve_snapshot(handle) if what == "the list of files" else _read(source, pinned, file)
        said = str(raised.value)
        assert other.told or other.url in said, f"no redirect was met: the other host had no request: {said}"
        assert other.learned(secret) == []

    def test_a_missing_client_says_what_to_install(
        self, source: RemoteSource, publish: Publish, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        if self.client is None:
            pytest.skip("the source needs no client library")
        handle = publish(FILES)
        for name in [name for name in sys.modules if f"{name}.".startswith(f"{self.client}.")] or [self.client]:
            monkeypatch.setitem(sys.modules, name, None)
        with pytest.raises(ClientMissingError, match="pip install"):
            opened(source).resolve(handle)

    # === Writing ===

    def test_what_is_uploaded_is_downloaded(
        self, source: RemoteSource, new_handle: PresetHandle, tmp_path: Path
    ) -> None:
        pinned = source.upload(new_handle, written(tmp_path / "one", FILES), False, "first")
        assert source.is_pinned(pinned)
        assert contents(source, pinned) == contents(source, new_handle) == FILES

    def test_a_preset_is_replaced_on_purpose_only(
        self, source: RemoteSource, new_handle: PresetHandle, tmp_path: Path
    ) -> None:
        first = source.upload(new_handle, written(tmp_path / "one", FILES), False, "first")
        others = written(tmp_path / "other", OTHER_FILES)
        with pytest.raises(PresetExistsError):
            source.upload(new_handle, others, False, "second")
        assert opened(source).resolve(new_handle) == first
        second = source.upload(new_handle, others, True, "second")
        assert opened(source).resolve(new_handle) == second != first
        assert contents(source, second) == OTHER_FILES


def _read(source: RemoteSource, pinned: PresetHandle, file: PresetFile) -> bytes:
    with source.read(pinned, file) as content:
        return b"".join(content.chunks)
