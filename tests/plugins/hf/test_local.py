"""The Hugging Face cache as people have it: copied without links, without records of branches, and in part."""

import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from servers import faults
from vertebra import PresetHandle
from vertebra._cache import cached_source
from vertebra._configuration.settings import settings
from vertebra._resolve.open import open_folder
from vertebra.errors import IntegrityError, OfflineError
from vertebra.testing import opened

REPO = "acme/bert"
HANDLE = PresetHandle("hf", REPO)
FILES = {"config.json": b"{}", "model.safetensors": b"weights" * 1000, "inside/config.json": b'{"a": 1}'}


@pytest.fixture
def downloaded(hub, client, source):
    """Downloads commits with the real client, and returns the folder of the repository in its cache."""

    def download(*contents):
        for files in contents or (FILES,):
            sha = hub.commit(REPO, files)
            snapshot = Path(client.snapshot_download(REPO, revision=sha, endpoint=hub.url))
        Path(client.hf_hub_download(REPO, "config.json", endpoint=hub.url))  # records the main branch
        hub.clear()
        return snapshot.parents[1]

    return download


@pytest.fixture
def offline(monkeypatch):
    monkeypatch.setenv("VERTEBRA_OFFLINE", "1")
    settings.cache_clear()


def without_links(repository):
    """Copies a cache as `rsync -L` and `docker COPY` do."""
    copy = repository.with_name("copy")
    shutil.copytree(repository, copy)
    shutil.rmtree(repository)
    copy.rename(repository)


def without_blobs(repository):
    """As the client itself writes on a system without links, and as a copy of the snapshots alone."""
    without_links(repository)
    shutil.rmtree(repository / "blobs")


def to_another_place(repository):
    """Links to a store whose files are not named by hashes."""
    for path in [path for path in (repository / "snapshots").rglob("*") if path.is_symlink()]:
        blob = path.resolve()
        path.unlink()
        path.symlink_to(shutil.copy(blob, repository.parent / f"file-{blob.name}"))


@pytest.mark.parametrize("change", [without_links, without_blobs, to_another_place])
@pytest.mark.parametrize("pinned", [False, True])
def test_a_cache_without_hashes_is_used_offline(downloaded, hub, offline, change, pinned, caplog):
    repository = downloaded()
    change(repository)
    (commit,) = [path.name for path in (repository / "snapshots").iterdir()]
    folder = open_folder(f"hf://{REPO}@{commit}" if pinned else f"hf://{REPO}")
    assert folder.handle.revision == commit
    for _ in range(2):
        assert {name: folder.fetch(name).read_bytes() for name in FILES} == FILES
    told = [record.getMessage() for record in caplog.records if "cannot be verified" in record.getMessage()]
    assert len(told) == len(FILES)
    assert str(repository) in told[0]
    assert hub.requests == []


def test_it_serves_when_the_hub_does_not_answer_too(downloaded, hub):
    without_links(downloaded())
    hub.faults = [faults.status(503, paths="/api/*")]
    assert open_folder(f"hf://{REPO}").fetch("config.json").read_bytes() == FILES["config.json"]


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])  # with a hash of git, and with a SHA-256
def test_what_was_not_verified_is_verified_when_the_hub_answers(downloaded, hub, source, monkeypatch, name):
    repository = downloaded()
    without_links(repository)
    (path,) = (repository / "snapshots").glob(f"*/{name}")
    path.write_bytes(b"?" * len(FILES[name]))
    hub.faults = [faults.status(503, paths="/api/*")]
    assert open_folder(f"hf://{REPO}").fetch(name).read_bytes() == path.read_bytes()
    hub.faults = []
    monkeypatch.setattr(cached_source, "_listed", {})
    assert open_folder(f"hf://{REPO}").fetch(name).read_bytes() == FILES[name]


def test_a_copy_that_is_completed_later_is_used(downloaded, offline):
    repository = downloaded()
    without_links(repository)
    (path,) = (repository / "snapshots").glob("*/model.safetensors")
    path.write_bytes(FILES["model.safetensors"][:100])
    assert len(open_folder(f"hf://{REPO}").fetch("model.safetensors").read_bytes()) == 100
    path.write_bytes(FILES["model.safetensors"])
    assert open_folder(f"hf://{REPO}").fetch("model.safetensors").read_bytes() == FILES["model.safetensors"]


def test_a_cache_that_was_copied_in_part_names_what_is_missing(downloaded, offline):
    repository = downloaded()
    without_links(repository)
    for path in (repository / "snapshots").glob("*/model.safetensors"):
        path.unlink()
    folder = open_folder(f"hf://{REPO}")
    assert folder.fetch("config.json").read_bytes() == FILES["config.json"]
    with pytest.raises(OfflineError, match=r"missing files: model\.safetensors"):
        folder.fetch("model.safetensors")
    with pytest.raises(OfflineError):
        folder.require_complete()


@pytest.mark.parametrize("revision", [None, "main"])
def test_without_a_record_of_the_branch_the_only_commit_is_used_and_named(
    downloaded, offline, source, revision, caplog
):
    repository = downloaded()
    shutil.rmtree(repository / "refs")
    (commit,) = [path.name for path in (repository / "snapshots").iterdir()]
    assert opened(source).resolve(replace(HANDLE, revision=revision)).revision == commit
    assert commit in caplog.text


def test_of_several_commits_none_is_guessed_and_all_are_named(downloaded, offline, source):
    repository = downloaded(FILES, FILES | {"README.md": b"second"})
    shutil.rmtree(repository / "refs")
    with pytest.raises(OfflineError) as caught:
        opened(source).resolve(HANDLE)
    commits = sorted(path.name for path in (repository / "snapshots").iterdir())
    assert caught.value.revisions == [f"hf://{REPO}@{commit}" for commit in commits]
    assert all(handle in str(caught.value) for handle in caught.value.revisions)
    assert opened(source).resolve(PresetHandle.parse(caught.value.revisions[0]))


@pytest.mark.parametrize("revision", ["v2", "d" * 40])
def test_another_branch_or_commit_is_not_the_one_that_is_there(downloaded, offline, source, revision):
    repository = downloaded()
    shutil.rmtree(repository / "refs")
    (commit,) = [path.name for path in (repository / "snapshots").iterdir()]
    with pytest.raises(OfflineError, match=commit):
        opened(source).files(opened(source).resolve(replace(HANDLE, revision=revision)))


def test_a_record_of_a_commit_that_is_not_there_is_not_passed_over(downloaded, offline, source):
    repository = downloaded()
    (repository / "refs" / "main").write_text("d" * 40)
    with pytest.raises(OfflineError, match=r"these revisions are on this machine: hf://acme/bert@"):
        opened(source).resolve(HANDLE)


def test_a_commit_without_files_is_not_named(downloaded, offline, source):
    """As after a copy of the links alone."""
    repository = downloaded()
    shutil.rmtree(repository / "blobs")
    with pytest.raises(OfflineError) as caught:
        opened(source).resolve(HANDLE)
    assert caught.value.revisions == []


def test_what_is_no_file_is_not_listed(downloaded, offline):
    repository = downloaded()
    (snapshot,) = (repository / "snapshots").iterdir()
    (snapshot / "dangling").symlink_to("../../blobs/nothing")
    (snapshot / "loop").symlink_to("loop")
    assert open_folder(f"hf://{REPO}").names == FILES.keys()


def test_a_wrong_file_in_the_cache_is_still_found_by_its_hash(downloaded, offline):
    repository = downloaded()
    for path in (repository / "snapshots").glob("*/model.safetensors"):
        path.resolve().write_bytes(b"?" * len(FILES["model.safetensors"]))
    with pytest.raises((OfflineError, IntegrityError)):
        open_folder(f"hf://{REPO}").fetch("model.safetensors")


@pytest.mark.skipif(os.name != "posix", reason="needs the special files of POSIX")
@pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.symlink_to("/dev/zero")], ids=["pipe", "device"])
def test_a_record_that_is_no_file_is_not_read(downloaded, offline, source, make):
    """V10: other users may write to a shared cache, and a pipe would be waited for."""
    record = downloaded() / "refs" / "main"
    record.unlink()
    make(record)
    with pytest.raises(OfflineError):
        opened(source).resolve(HANDLE)
