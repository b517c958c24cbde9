"""The rules for uploads of remote sources."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from vertebra.errors import PresetExistsError, PresetNotFoundError, VertebraError
from vertebra.handles import PresetHandle
from vertebra.remote import RemoteSource
from vertebra.testing.rules import rule
from vertebra.testing.sources import FILES, LARGE, OTHER_FILES, SourceSuite, contents, opened, written


class UploadRules(SourceSuite):
    """Rules for a source with `upload`."""

    @pytest.fixture
    def new_handle(self) -> PresetHandle:
        """A handle without a preset that the user may upload to."""
        pytest.skip("the `new_handle` fixture is not defined")

    @rule("RS-13")
    def test_an_uploaded_preset_can_be_downloaded(
        self, source: RemoteSource, new_handle: PresetHandle, tmp_path: Path
    ) -> None:
        """`upload` returns the pinned handle of the preset, which is downloaded with the same files."""
        pinned = source.upload(new_handle, written(tmp_path / "one", FILES), False, "first")
        assert source.is_pinned(pinned)
        assert contents(source, pinned) == contents(source, new_handle) == FILES

    @rule("RS-14")
    def test_a_preset_is_replaced_only_with_replace(
        self, source: RemoteSource, new_handle: PresetHandle, tmp_path: Path
    ) -> None:
        """Another preset at the target is a `PresetExistsError`, and is replaced only with `replace=True`."""
        first = source.upload(new_handle, written(tmp_path / "one", FILES), False, "first")
        others = written(tmp_path / "other", OTHER_FILES)
        with pytest.raises(PresetExistsError):
            source.upload(new_handle, others, False, "second")
        assert opened(source).resolve(new_handle) == first
        second = source.upload(new_handle, others, True, "second")
        assert opened(source).resolve(new_handle) == second != first
        assert contents(source, second) == OTHER_FILES

    @rule("RS-15")
    def test_an_upload_is_found_under_its_revision_or_refused(
        self, source: RemoteSource, new_handle: PresetHandle, tmp_path: Path
    ) -> None:
        """A target with a revision is published under it, or refused before anything is sent."""
        target = replace(new_handle, revision="release-1")
        try:
            source.upload(target, written(tmp_path / "one", FILES), False, "first")
        except VertebraError:
            return
        assert contents(source, target) == FILES

    @rule("RS-17")
    def test_an_upload_that_fails_publishes_nothing(
        self, source: RemoteSource, new_handle: PresetHandle, tmp_path: Path
    ) -> None:
        """An upload of which one file cannot be read publishes nothing."""
        files = written(tmp_path / "one", FILES)
        files[LARGE].unlink()
        with pytest.raises((VertebraError, OSError)):
            source.upload(new_handle, files, False, "first")
        with pytest.raises(PresetNotFoundError):
            opened(source).files(opened(source).resolve(new_handle))
