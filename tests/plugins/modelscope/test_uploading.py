"""Uploads."""

import json

import pytest

from servers import faults
from servers.messages import Response
from vertebra import PresetHandle
from vertebra.errors import (
    HandleError,
    PresetAccessError,
    PresetError,
    PresetExistsError,
    PresetNotFoundError,
    SourceUnavailableError,
)
from vertebra.testing import opened

FILES = {"config.json": b'{"layers": 2}', "model.safetensors": bytes(range(200)) * 20, "empty.txt": b""}
HANDLE = PresetHandle("modelscope", "acme/new")


@pytest.fixture
def read(source):
    """Downloads the files of a handle that Vertebra has published; returns their bytes by name."""

    def read(handle, names=FILES):
        pinned = opened(source).resolve(handle)
        return {name: opened(source).fetch(pinned, name).read_bytes() for name in names}

    return read


def commits(service):
    return [request for request in service.requests if "/commit/" in request.target]


def test_a_repository_is_created_private(service, source, token, write, read):
    pinned = source.upload(HANDLE, write(FILES), False, "message")
    assert (read(HANDLE), read(pinned)) == (FILES, FILES)
    assert service.private("acme/new")
    assert len(commits(service)) == 1


def test_equal_files_are_published_once(service, source, token, write):
    first = source.upload(HANDLE, write(FILES), False, "one")
    service.clear()
    assert source.upload(HANDLE, write(FILES), False, "two") == first
    assert {request.method for request in service.requests} == {"GET"}


def test_stored_files_are_not_sent_again(service, source, token, write, read):
    source.upload(HANDLE, write(FILES), False, "message")
    service.storage.clear()
    other = PresetHandle("modelscope", "acme/other")
    source.upload(other, write(FILES), False, "message")
    assert service.storage.requests == []
    assert read(other) == FILES


def test_a_preset_is_replaced_with_its_weights_and_other_files_are_kept(service, source, token, write, read):
    source.upload(HANDLE, write({**FILES, "README.md": b"# Model"}), False, "one")
    others = {"config.json": b"[]", "model-00001-of-00001.safetensors": b"weights"}
    with pytest.raises(PresetExistsError, match="another preset is already there"):
        source.upload(HANDLE, write(others), False, "two")
    source.upload(HANDLE, write(others), True, "two")
    names = {file.name for file in source.resolve_snapshot(HANDLE).files}
    assert {"README.md", *others} <= names
    assert "model.safetensors" not in names
    assert read(HANDLE, others) == others


def test_a_branch_must_exist(service, source, token, write, read):
    service.commit("acme/new", {"README.md": b"# Model"}, "next")
    branch = PresetHandle("modelscope", "acme/new", "next")
    source.upload(branch, write(FILES), False, "message")
    assert read(branch) == FILES
    with pytest.raises(PresetNotFoundError, match="it has no revision 'other'"):
        source.upload(PresetHandle("modelscope", "acme/new", "other"), write(FILES), False, "message")
    assert len(commits(service)) == 1


def test_a_branch_whose_newest_commit_is_not_named_is_not_created_again(service, source, token, write):
    service.commit("acme/new", {"config.json": b"{}", "old.txt": b""})
    service.commit("acme/new", {"old.txt": None})
    with pytest.raises(PresetNotFoundError, match="does not name its newest commit"):
        source.upload(HANDLE, write(FILES), True, "message")
    assert {request.method for request in service.requests} == {"GET"}


def test_a_commit_is_no_target(service, source, token, write):
    with pytest.raises(HandleError, match="commits are made by the service"):
        source.upload(PresetHandle("modelscope", "acme/new", "0" * 40), write(FILES), False, "message")
    assert service.requests == []


def test_without_a_token_nothing_is_published(service, source, write):
    with pytest.raises(PresetAccessError):
        source.upload(HANDLE, write(FILES), False, "message")


def test_the_token_is_sent_to_no_other_host(service, source, token, write):
    source.upload(HANDLE, write(FILES), False, "message")
    assert service.storage.url.partition("localhost")[1]  # another origin
    assert [request.method for request in service.storage.requests] == ["PUT"]
    assert not any(token in str(request.headers) for request in service.storage.requests)


@pytest.mark.parametrize(
    "url", ["http://lfs.modelscope.cn/x", "https://modelscope.cn.evil.test/x", "https://evil.test/x"]
)
def test_hosts_that_get_no_token(monkeypatch, url):
    from vertebra_modelscope.uploading import _is_of_service

    monkeypatch.delenv("MODELSCOPE_ENDPOINT", raising=False)
    assert not _is_of_service(url)
    assert _is_of_service("https://lfs.modelscope.cn/x")


def test_an_adapter_without_large_files_asks_for_no_storage(service, source, token, write, read):
    files = {"config.json": b"{}", "notes.txt": b"text"}
    source.upload(HANDLE, write(files), False, "message")
    assert not any("/batch" in request.target for request in service.requests)
    assert read(HANDLE, files) == files


def test_a_storage_that_refuses_a_file_is_told(service, source, token, write):
    service.storage.faults = [faults.status(403, paths="/large/*", methods=("PUT",))]
    with pytest.raises(PresetAccessError, match="HTTP 403"):
        source.upload(HANDLE, write(FILES), False, "message")


@pytest.mark.parametrize("url", ["http://169.254.169.254/x", "ftp://127.0.0.1/x", "http://[", 7, ""])
def test_nothing_is_sent_where_no_redirect_may_lead(service, source, token, write, url):
    def change(_, response):
        document = json.loads(bytes(response.content))
        for entry in document["Data"]["objects"]:
            entry["actions"] = {"upload": {"href": url}}
        return Response.json(document)

    service.faults = [faults.Fault("elsewhere", change, paths="*/batch", methods=("POST",))]
    with pytest.raises(PresetError):
        source.upload(HANDLE, write(FILES), False, "message")
    assert service.storage.requests == []


@pytest.mark.parametrize("paths", ["*/batch", "*/commit/*", "/api/v1/models"])
@pytest.mark.parametrize("status", [500, 429])
def test_a_service_that_fails_is_unavailable(service, source, token, write, paths, status):
    service.faults = [faults.status(status, paths=paths, methods=("POST",))]
    with pytest.raises(SourceUnavailableError, match=f"HTTP {status}"):
        source.upload(HANDLE, write(FILES), False, "message")


def test_an_interrupted_upload_publishes_nothing(service, source, token, write, read):
    service.commit("acme/new", {"README.md": b"# Model"})
    service.storage.faults = [faults.reset(paths="/large/*", methods=("PUT",))]
    with pytest.raises(SourceUnavailableError):
        source.upload(HANDLE, write(FILES), False, "message")
    assert {file.name for file in source.resolve_snapshot(HANDLE).files} == {"README.md"}
    service.storage.faults = []
    source.upload(HANDLE, write(FILES), False, "message")
    assert read(HANDLE) == FILES


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        ({"Success": False, "Code": 7, "Message": "secret"}, PresetError),
        ([], SourceUnavailableError),
        ({"Data": 7}, SourceUnavailableError),
        ({"Data": {"objects": [7]}}, SourceUnavailableError),
    ],
)
def test_an_answer_that_stores_nothing_is_an_error(service, source, token, write, answer, error):
    fault = faults.Fault("answer", lambda *_: Response.json(answer), paths="*/batch", methods=("POST",), answers=True)
    service.faults = [fault]
    with pytest.raises(error) as raised:
        source.upload(HANDLE, write(FILES), False, "message")
    assert "secret" not in str(raised.value)


def test_another_publisher_at_the_same_time_is_told(service, source, token, write):
    """Commits of the service name no parent, so the files are compared afterwards."""

    def publish(_, response):
        service.commit("acme/new", {"config.json": b"another"})
        return response

    service.faults = [faults.Fault("another", publish, paths="*/commit/*", methods=("POST",))]
    with pytest.raises(PresetExistsError, match="another process has published there at the same time"):
        source.upload(HANDLE, write(FILES), False, "message")
