"""The test suite for all sources of presets: subclass `SourceSuite`, or `RemoteSourceSuite` for a remote source."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from vertebra._cache import cached_source
from vertebra._cache.cached_source import CachedSource, open_source
from vertebra._cache.transfer import download, retry
from vertebra._configuration.settings import settings
from vertebra._resolve.filenames import unsafe_names
from vertebra.errors import PresetNotFoundError
from vertebra.handles import PresetHandle
from vertebra.interfaces import LocalSource, PresetSource
from vertebra.testing.plugins import PluginSuite, entry_module_of
from vertebra.testing.rules import rule

Files = Mapping[str, bytes]
Publish = Callable[[Files], PresetHandle]

RANGE = 10_000
"""Bytes of one range in these tests; several ranges are downloaded at once."""
FILES: Files = {
    "config.json": b'{"layers": 2}',
    "model.safetensors": bytes(range(251)) * 200,  # several ranges
    "assets/vocabulary.txt": b"one\ntwo\n",
    "empty.txt": b"",
}
OTHER_FILES: Files = {name: content[::-1] for name, content in FILES.items()}
LARGE = "model.safetensors"
_ABSOLUTE = Path(__file__).as_posix()
"""The path of a file that exists, and is in no preset."""


class SourceSuite(PluginSuite):
    """Tests of a source. Give the subclass a name that pytest collects, and define the fixtures."""

    # === Fixtures of a subclass ===

    @pytest.fixture
    def source(self) -> PresetSource:
        """The source."""
        raise NotImplementedError

    @pytest.fixture
    def publish(self) -> Publish:
        """A function that publishes files as the preset of one handle, replacing earlier files; returns the handle."""
        raise NotImplementedError

    @pytest.fixture
    def missing_handle(self) -> PresetHandle:
        """A handle that has no preset."""
        raise NotImplementedError

    # === Fixtures of the suite ===

    @pytest.fixture
    def entry_module(self, source: PresetSource, tested_modules: set[str]) -> str:
        """Name of the module that contributes the source."""
        return entry_module_of("vertebra_preset_sources", source.scheme, tested_modules)

    @pytest.fixture(autouse=True)
    def cache(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
        """A new cache folder for the test, with small ranges and no delays between retries."""
        monkeypatch.setattr(download, "RANGE", RANGE)
        monkeypatch.setattr(retry, "FIRST_WAIT", 0.0)
        monkeypatch.setattr(cached_source, "_listed", {})
        set_variables(monkeypatch, CACHE=str(tmp_path / "cache"))
        yield tmp_path / "cache"
        settings.cache_clear()

    # === Reading ===

    @rule("SO-01")
    def test_files_are_fetched_as_published(self, source: PresetSource, publish: Publish) -> None:
        """The bytes of every file are those that were published."""
        assert contents(source, publish(FILES)) == FILES

    @rule("SO-02")
    def test_files_are_listed_with_plain_names_and_sizes(self, source: PresetSource, publish: Publish) -> None:
        """Files are listed with names below the preset's folder and their sizes in bytes."""
        files = opened(source).files(opened(source).resolve(publish(FILES)))
        assert unsafe_names([file.name for file in files]) == {}
        sizes = {file.name: file.size for file in files if file.name in FILES}
        assert sizes == {name: len(content) for name, content in FILES.items()}

    @rule("SO-03")
    def test_one_file_is_fetched_at_a_time(self, source: PresetSource, publish: Publish) -> None:
        """One file can be fetched without the others."""
        pinned = opened(source).resolve(publish(FILES))
        assert opened(source).fetch(pinned, "assets/vocabulary.txt").read_bytes() == FILES["assets/vocabulary.txt"]

    @rule("SO-04")
    def test_a_missing_preset_is_an_error(self, source: PresetSource, missing_handle: PresetHandle) -> None:
        """A preset that does not exist is a `PresetNotFoundError`."""
        with pytest.raises(PresetNotFoundError):
            opened(source).files(opened(source).resolve(missing_handle))

    @rule("SO-05")
    @pytest.mark.parametrize("name", ["missing.txt", "assets", "../config.json", "assets/../config.json", _ABSOLUTE])
    def test_a_missing_file_is_an_error(self, source: PresetSource, publish: Publish, name: str) -> None:
        """A file that the preset does not have is a `PresetNotFoundError` that names it; no path leads out of it."""
        with pytest.raises(PresetNotFoundError, match=r"missing\.txt|assets|config\.json|sources\.py"):
            opened(source).fetch(opened(source).resolve(publish(FILES)), name)


# === Helpers ===


def opened(source: PresetSource) -> LocalSource | CachedSource:
    """Returns a source as the core uses it: a remote one wrapped in the cache, a local one as it is."""
    return open_source(source)


def contents(source: PresetSource, handle: PresetHandle) -> dict[str, bytes]:
    """Fetches all files of a preset that these tests publish; other files that a service adds are ignored."""
    access = opened(source)
    pinned = access.resolve(handle)
    names = [file.name for file in access.files(pinned) if file.name in FILES]
    return {name: access.fetch(pinned, name).read_bytes() for name in names}


def written(folder: Path, files: Files) -> dict[str, Path]:
    """Writes files into a folder; returns their paths by name."""
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return {name: folder / name for name in files}


def set_variables(monkeypatch: pytest.MonkeyPatch, **values: str) -> None:
    """Sets environment variables of Vertebra, and clears the cached settings."""
    for name, value in values.items():
        monkeypatch.setenv(f"VERTEBRA_{name}", value)
    settings.cache_clear()
