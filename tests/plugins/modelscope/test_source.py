"""Repositories, revisions and lists of files, and the texts that mean them."""

import json

import pytest

from servers import faults
from servers.messages import Response
from vertebra import PresetHandle
from vertebra.errors import (
    HandleError,
    PresetAccessError,
    PresetError,
    PresetNotFoundError,
    SettingsError,
    SourceUnavailableError,
)
from vertebra.testing import opened
from vertebra_modelscope.source import ModelScopeSource

FILES = {"config.json": b'{"layers": 2}', "model.safetensors": bytes(range(200)) * 20, "assets/a.txt": b"one"}
HANDLE = PresetHandle("modelscope", "acme/bert")


def at(revision):
    return PresetHandle("modelscope", "acme/bert", revision)


def test_branches_tags_and_commits(service, source):
    first = service.commit("acme/bert", FILES)
    service.tag("acme/bert", "v1.0")
    second = service.commit("acme/bert", {"config.json": b"[]"})
    third = service.commit("acme/bert", {"config.json": b"{}"}, "next")
    revisions = {"master": second, "v1.0": first, "next": third, first: first, None: second}
    assert {name: opened(source).resolve(at(name)).revision for name in revisions} == revisions


def test_the_newest_commit_is_found_whatever_it_changed(service, source):
    """Files name the commits that changed them last, and the newest commit is named by its first digits."""
    service.commit("acme/bert", FILES)
    newest = service.commit("acme/bert", {"README.md": b"# Model"})
    snapshot = source.resolve_snapshot(HANDLE)
    assert snapshot.handle.revision == newest
    assert {file.name for file in snapshot.files} == {*FILES, "README.md"}


def test_a_commit_that_the_service_does_not_name_is_an_error(service, source):
    service.commit("acme/bert", {**FILES, "old.txt": b""})
    removed = service.commit("acme/bert", {"old.txt": None})
    with pytest.raises(
        PresetNotFoundError, match=r"does not name its newest commit.*modelscope://acme/bert@<40 digits>"
    ):
        source.resolve_snapshot(HANDLE)
    assert {file.name for file in source.resolve_snapshot(at(removed)).files} == FILES.keys()


def test_a_missing_revision_is_named_with_the_nearest(service, source):
    service.commit("acme/bert", FILES)
    service.tag("acme/bert", "v1.0")
    with pytest.raises(PresetNotFoundError, match=r"it has no revision 'v1.1'.*modelscope://acme/bert@v1\.0"):
        source.resolve_snapshot(at("v1.1"))


def test_the_list_of_another_commit_is_refused(service, source):
    commit = service.commit("acme/bert", FILES)
    answer = {"Data": {"Files": [], "LatestCommitter": {"ShortId": "0" * 8}}}
    service.faults = [faults.Fault("other", lambda *_: Response.json(answer), paths="*/files", answers=True)]
    with pytest.raises(PresetNotFoundError, match="the service sent the files of another commit, 00000000"):
        source.resolve_snapshot(at(commit))


@pytest.mark.parametrize(
    "data",
    [[], 7, None, {"Files": 7}, {"Files": [7]}, {"Files": [{}]}, {"Files": [{"Path": 7, "Size": 1}]}]
    + [{"Files": [{"Path": "a", "Size": size}]} for size in (-1, "1", None, True)],
)
def test_a_malformed_list_is_an_error(service, source, data):
    answer = Response.json({"Data": data})
    service.faults = [faults.Fault("malformed", lambda *_: answer, paths="*/files", answers=True)]
    with pytest.raises(SourceUnavailableError, match="its file list is malformed"):
        source.resolve_snapshot(at("0" * 40))


@pytest.mark.parametrize("latest", [[], "abc", 7, {"Id": 7, "ShortId": 7}])
def test_a_malformed_commit_is_as_none(service, source, latest):
    service.commit("acme/bert", FILES)
    answer = Response.json({"Data": {"Files": [{"Path": "a", "Size": 1}], "LatestCommitter": latest}})
    service.faults = [faults.Fault("malformed", lambda *_: answer, paths="*/files", answers=True)]
    assert [file.name for file in source.resolve_snapshot(at("0" * 40)).files] == ["a"]
    with pytest.raises(PresetNotFoundError, match="does not name its newest commit"):
        source.resolve_snapshot(HANDLE)


def test_a_list_that_may_be_incomplete_is_refused(service, source):
    service.commit("acme/bert", {f"{number}.txt": b"" for number in range(3_001)})
    with pytest.raises(PresetError, match="lists only the first 3,000 of its files and folders"):
        source.resolve_snapshot(HANDLE)


def test_a_hash_of_another_form_is_no_digest(service, source):
    entries = [{"Path": "a", "Type": "blob", "Size": 1, "Sha256": text} for text in ("", "abc", None, 7)]
    answer = Response.json({"Data": {"Files": entries}})
    service.faults = [faults.Fault("hashes", lambda *_: answer, paths="*/files", answers=True)]
    assert {file.digest for file in source.resolve_snapshot(at("0" * 40)).files} == {None}


# === Settings ===


def test_private_repositories_need_the_token(service, source, write, token, monkeypatch):
    source.upload(HANDLE, write(FILES), False, "message")
    assert service.private("acme/bert")
    assert opened(source).resolve(HANDLE).revision
    monkeypatch.delenv("MODELSCOPE_API_TOKEN")
    with pytest.raises(PresetNotFoundError):
        source.resolve_snapshot(HANDLE)


def test_a_refused_token_is_an_error(service, source, monkeypatch):
    service.commit("acme/bert", FILES)
    monkeypatch.setenv("MODELSCOPE_API_TOKEN", "ms-expired")
    with pytest.raises(PresetAccessError) as raised:
        source.resolve_snapshot(HANDLE)
    assert "ms-expired" not in str(raised.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [("MODELSCOPE_API_TOKEN", '"ms-token"'), ("MODELSCOPE_API_TOKEN", "ms token")]
    + [("MODELSCOPE_ENDPOINT", url) for url in ("ftp://modelscope.cn", "https://user:pw@modelscope.cn", "http://[")],
)
def test_settings_that_cannot_be_used_are_named(service, source, monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=name) as raised:
        source.resolve_snapshot(HANDLE)
    assert value not in str(raised.value)


def test_an_endpoint_without_a_scheme_is_encrypted(monkeypatch):
    from vertebra_modelscope.service import endpoint

    monkeypatch.setenv("MODELSCOPE_ENDPOINT", "www.modelscope.ai/")
    assert endpoint() == "https://www.modelscope.ai"
    monkeypatch.setenv("MODELSCOPE_ENDPOINT", " ")
    assert endpoint() == "https://modelscope.cn"


# === Handles ===


@pytest.mark.parametrize("path", ["acme", "acme/bert/folder", "acme/be rt"])
def test_handles_of_no_repository(service, source, write, path):
    for action in (source.resolve_snapshot, lambda handle: source.upload(handle, write(FILES), False, "message")):
        with pytest.raises(HandleError, match="Write modelscope://owner/name"):
            action(PresetHandle("modelscope", path))
    assert service.requests == []


@pytest.mark.parametrize(
    ("text", "handle"),
    [
        ("https://modelscope.cn/models/acme/bert", "modelscope://acme/bert"),
        ("https://www.modelscope.cn/models/acme/bert/files", "modelscope://acme/bert"),
        ("modelscope.ai/models/acme/bert?x=1", "modelscope://acme/bert"),
        ("https://modelscope.cn/datasets/acme/bert", None),
        ("https://huggingface.co/acme/bert", None),
        ("acme/bert", None),
    ],
)
def test_suggestions(text, handle):
    assert ModelScopeSource().suggest(text) == handle


# === The real client ===


def test_the_client_downloads_the_same_files(service, source, client, cache):
    commit = service.commit("acme/bert", FILES)
    folder = client.download_repo("acme/bert", "model", revision=commit)
    downloaded = {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }
    files = opened(source).files(at(commit))
    paths = opened(source).fetch_all(at(commit), files)
    assert downloaded == {file.name: path.read_bytes() for file, path in zip(files, paths, strict=True)} == FILES


def test_files_of_the_client_are_read(source, client, write, cache):
    [folder, *_] = {path.parent for name, path in write(FILES).items() if name == "config.json"}
    client.upload_folder("acme/new", "model", folder_path=str(folder))
    pinned = opened(source).resolve(PresetHandle("modelscope", "acme/new"))
    assert {name: opened(source).fetch(pinned, name).read_bytes() for name in FILES} == FILES


def test_the_client_asks_for_the_same_documents(service, source, client, write):
    """For a download and for an upload, apart from questions about the network that it is in."""
    seen = []
    for act in (client_acts, source_acts):
        service.commit(f"acme/{act.__name__}", FILES)
        service.clear()
        act(client, source, write, service)
        requests = [request for request in service.requests if "internalAccelerationInfo" not in request.target]
        seen.append({target(request, act.__name__) for request in requests if request.method == "POST"})
    assert seen[0] == seen[1]


def client_acts(client, source, write, service):
    [folder] = {path.parent for path in write({"config.json": b"{}", "model.safetensors": b"client"}).values()}
    client.upload_folder("acme/client_acts_new", "model", folder_path=str(folder))


def source_acts(client, source, write, service):
    handle = PresetHandle("modelscope", "acme/source_acts_new")
    source.upload(handle, write({"config.json": b"{}", "model.safetensors": b"source"}), False, "message")


def target(request, name):
    return request.method, request.target.replace(name, "…"), json.dumps(sorted(request.headers.keys() & {"cookie"}))
