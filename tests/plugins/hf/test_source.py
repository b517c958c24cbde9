"""The hf source: handles, requests to the hub, and files on the user's machine."""

import hashlib
import json
import logging
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from servers import faults
from servers.hub import HubServer
from vertebra import PresetHandle
from vertebra._cache import cached_source
from vertebra._configuration.settings import settings
from vertebra._formats.description import PresetDescription
from vertebra._presets.inspect import inspect_preset
from vertebra._resolve.open import open_folder
from vertebra.errors import (
    HandleError,
    IntegrityError,
    OfflineError,
    PluginError,
    PresetNotFoundError,
    SettingsError,
    SourceUnavailableError,
    VertebraError,
)
from vertebra.testing import opened
from vertebra_hf import hub as asking
from vertebra_hf.source import HfSource, repository_of

REPO = "acme/bert"
WEIGHTS = bytes(range(251)) * 200
FILES = {"config.json": b"{}", "model.safetensors": WEIGHTS, "deep/er/model.safetensors": WEIGHTS[::-1]}
HANDLE = PresetHandle("hf", REPO)
TOKEN = "hf_goodgoodgoodgood"


def paths(server):
    return [request.path for request in server.requests]


# === Handles ===


@pytest.mark.parametrize(
    ("path", "location"),
    [
        ("acme/bert", ("acme/bert", "")),
        ("acme/bert-2.5_x", ("acme/bert-2.5_x", "")),
        ("acme/bert/presets/small one", ("acme/bert", "presets/small one/")),
        ("gpt2", ("gpt2", "")),
    ],
)
def test_a_handle_names_a_repository_and_a_folder(path, location):
    assert repository_of(PresetHandle("hf", path)) == location


@pytest.mark.parametrize(
    "path", ["acme/a b", "acme/a#b", "acme/a?b", "/acme/bert", "a--b/c", "acme/a..b", "acme/é", "."]
)
def test_names_that_no_repository_has_are_refused_without_asking(path):
    with pytest.raises(HandleError):
        HfSource().resolve_snapshot(PresetHandle("hf", path))


@pytest.mark.parametrize("kind", ["datasets", "spaces"])
def test_only_models_hold_presets(kind):
    with pytest.raises(HandleError, match=f"not in {kind}"):
        repository_of(PresetHandle("hf", f"{kind}/acme/words"))


@pytest.mark.parametrize(("revision", "pinned"), [(None, False), ("main", False), ("a" * 40, True), ("A" * 40, False)])
def test_a_commit_is_pinned(revision, pinned):
    assert HfSource().is_pinned(PresetHandle("hf", REPO, revision)) is pinned


@pytest.mark.parametrize("revision", ["main", "v1.0", "refs/pr/1", "feature/a b"])
def test_branches_and_tags_are_looked_up(hub, source, revision):
    sha = hub.commit(REPO, FILES, branch="main" if revision == "v1.0" else revision)
    hub.tag(REPO, "v1.0", sha)
    hub.commit(REPO, {"config.json": b"later"}, branch="other")
    assert opened(source).resolve(PresetHandle("hf", REPO, revision)) == PresetHandle("hf", REPO, sha)


def test_a_legacy_name_follows_the_hub_to_the_present_one(hub, source):
    sha = hub.commit("google-bert/bert", FILES)
    for old in ("/api/models/bert", f"/bert/resolve/{sha}/config.json"):
        new = hub.url + old.replace("/bert", "/google-bert/bert")
        hub.faults.append(faults.redirect(new + "?blobs=true", paths=old))
    pinned = opened(source).resolve(PresetHandle("hf", "bert"))
    assert pinned == PresetHandle("hf", "bert", sha)
    assert opened(source).fetch(pinned, "config.json").read_bytes() == b"{}"


# === Requests ===


def test_a_look_up_is_one_request_and_tells_hashes(hub, source):
    sha = hub.commit(REPO, FILES)
    found = source.resolve_snapshot(HANDLE)
    assert found.handle == PresetHandle("hf", REPO, sha)
    assert {file.name: (file.size, file.digest) for file in found.files} == {
        "config.json": (2, "git:" + hashlib.sha1(b"blob 2\0{}").hexdigest()),
        "model.safetensors": (len(WEIGHTS), "sha256:" + hashlib.sha256(WEIGHTS).hexdigest()),
        "deep/er/model.safetensors": (len(WEIGHTS), "sha256:" + hashlib.sha256(WEIGHTS[::-1]).hexdigest()),
    }
    assert [request.target for request in hub.requests] == ["/api/models/acme/bert?blobs=true"]


def test_a_folder_has_its_own_files_only(hub, source):
    hub.commit(REPO, FILES)
    assert [file.name for file in source.resolve_snapshot(PresetHandle("hf", f"{REPO}/deep")).files] == [
        "er/model.safetensors"
    ]
    with pytest.raises(PresetNotFoundError, match="no folder 'deep/e' in the repository") as raised:
        source.resolve_snapshot(PresetHandle("hf", f"{REPO}/deep/e"))
    assert raised.value.suggestions == ["deep/er"]


def test_the_hub_is_asked_once_for_all_parts_of_a_file(hub, fetch):
    hub.commit(REPO, FILES)
    assert fetch(f"hf://{REPO}") == WEIGHTS
    assert sum("/resolve/" in path for path in paths(hub)) == 1
    assert [request.headers["range"] for request in hub.storage.requests[:1]] == ["bytes=0-9999"]
    assert len(hub.storage.requests) == 6


def test_an_address_that_has_expired_is_asked_for_again(hub, fetch):
    hub.commit(REPO, FILES)
    hub.faults = [faults.status(403, ranged=True, files="*.safetensors", times=None)]
    struck = []
    effect = hub.faults[0].effect

    def expire(request, response):
        struck.append(request.target)
        return effect(request, response) if len(struck) == 3 else response

    object.__setattr__(hub.faults[0], "effect", expire)
    object.__setattr__(hub.faults[0], "answers", False)
    assert fetch(f"hf://{REPO}") == WEIGHTS
    assert sum("/resolve/" in path for path in paths(hub)) == 2


def test_storage_that_refuses_what_the_hub_has_just_signed_is_unavailable(hub, fetch):
    hub.commit(REPO, FILES)
    hub.faults = [faults.status(403, files="*.safetensors")]
    with pytest.raises(SourceUnavailableError, match=f"localhost:{hub.storage.port} responded with HTTP 403"):
        fetch(f"hf://{REPO}")


def test_a_hub_that_answers_for_another_commit_is_refused(hub, source):
    hub.commit(REPO, FILES)
    other = PresetHandle("hf", REPO, "0" * 40)
    hub.faults = [faults.redirect(f"{hub.url}/api/models/{REPO}?blobs=true", paths=f"*/revision/{'0' * 40}")]
    with pytest.raises(IntegrityError, match="commit"):
        opened(source).files(other)


@pytest.mark.parametrize(
    "fault", [faults.html_page(paths="/api/*"), faults.cut(0.5, paths="/api/*"), faults.reset(paths="/api/*")], ids=str
)
def test_a_listing_that_is_none_is_unavailable(hub, source, fault):
    hub.commit(REPO, FILES)
    hub.faults = [fault]
    with pytest.raises(SourceUnavailableError):
        source.resolve_snapshot(HANDLE)


@pytest.mark.parametrize(
    "body",
    [
        "[]",
        "{}",
        '{"sha": "SHA"}',
        '{"sha": "SHA", "siblings": [{"rfilename": "x"}]}',
        '{"sha": "SHA", "siblings": [{"rfilename": "x", "size": null, "blobId": "y"}]}',
        '{"sha": "SHA", "siblings": [3]}',
        "[" * 100_000,
    ],
)
def test_a_listing_that_is_unsound_is_unavailable(hub, source, body):
    hub.commit(REPO, FILES)
    hub.faults = [faults.other_content(body.replace("SHA", "0" * 40).encode(), paths="/api/*")]
    with pytest.raises(SourceUnavailableError):
        source.resolve_snapshot(HANDLE)


def test_a_listing_of_too_many_values_is_not_parsed(hub, source):
    """V11: a listing of 60 MB of empty objects took 1.6 GB."""
    hub.commit(REPO, FILES)
    body = b'{"siblings": [%s0]}' % (b"{}," * 800_000)
    hub.faults = [faults.other_content(body, paths="/api/*")]
    with pytest.raises(SourceUnavailableError, match="at most 1500000 are allowed"):
        source.resolve_snapshot(HANDLE)


LISTED = '{"sha": "SHA", "siblings": [{"rfilename": "model.safetensors", "size": SIZE, "blobId": "%s"}]}' % ("0" * 40)


@pytest.mark.parametrize("size", ["-5", "1e16", "1e400", "10000000000000000", "9" * 19, "9" * 31, "9" * 5000])
def test_a_listed_size_that_no_file_has_is_unavailable(hub, source, size):
    """V9: sizes of a listing are added up, and files of that length are made: they are checked first."""
    hub.commit(REPO, FILES)
    body = LISTED.replace("SHA", "0" * 40).replace("SIZE", size)
    hub.faults = [faults.other_content(body.encode(), paths="/api/*")]
    for read in (lambda: opened(source).resolve(HANDLE), lambda: inspect_preset(f"hf://{REPO}")):
        with pytest.raises(SourceUnavailableError):
            read()


def test_a_listed_size_that_the_disk_has_not_is_an_error_of_the_cache(hub, source):
    """V9: the header of a weights file is kept in a sparse file of its length, which the file system may refuse."""
    hub.commit(REPO, FILES)
    facts = json.loads(LISTED.replace("SHA", "0" * 40).replace("SIZE", str(2**50)))
    facts["siblings"].append({"rfilename": "config.json", "size": 2, "blobId": hashlib.sha1(b"blob 2\0{}").hexdigest()})
    hub.faults = [faults.other_content(json.dumps(facts).encode(), paths="/api/*")]
    with pytest.raises(VertebraError) as caught:
        inspect_preset(f"hf://{REPO}")
    assert not isinstance(caught.value, PluginError)


def test_a_listed_name_that_is_no_text_is_left_out(hub, source):
    """V9: a lone surrogate, which JSON can hold, cannot be a name."""
    hub.commit(REPO, FILES)
    body = LISTED.replace("SHA", "0" * 40).replace("SIZE", "1").replace("model.safetensors", "\\ud800")
    hub.faults = [faults.other_content(body.encode(), paths="/api/*")]
    folder = open_folder(f"hf://{REPO}")
    assert (folder.names, len(folder.left_out)) == (set(), 1)


# === The user's machine ===


def test_what_the_client_has_cached_is_not_downloaded(hub, client, source):
    sha = hub.commit(REPO, FILES)
    theirs = Path(client.hf_hub_download(REPO, "model.safetensors", endpoint=hub.url))
    pinned = opened(source).resolve(HANDLE)
    hub.clear(), hub.storage.clear()
    assert opened(source).fetch(pinned, "model.safetensors").read_bytes() == WEIGHTS
    assert pinned.revision == sha
    assert hub.requests == hub.storage.requests == []
    theirs.resolve().write_bytes(b"changed")
    assert opened(source).fetch(pinned, "model.safetensors").read_bytes() == WEIGHTS


def test_what_the_client_has_cached_wrongly_is_downloaded(hub, client, fetch):
    hub.commit(REPO, FILES)
    theirs = Path(client.hf_hub_download(REPO, "model.safetensors", endpoint=hub.url)).resolve()
    theirs.write_bytes(b"\0" + WEIGHTS[1:])
    assert fetch(f"hf://{REPO}") == WEIGHTS


@pytest.mark.parametrize("revision", [None, "main", "v1", "commit"])
def test_offline_what_the_client_has_cached_is_enough(hub, client, source, monkeypatch, revision):
    sha = hub.commit(REPO, FILES | {"small/config.json": b"{}"})
    hub.tag(REPO, "v1", sha)
    wanted = sha if revision == "commit" else revision
    for name in ("config.json", "small/config.json"):
        client.hf_hub_download(REPO, name, endpoint=hub.url, revision=wanted)
    hub.clear()
    monkeypatch.setenv("VERTEBRA_OFFLINE", "1")
    settings.cache_clear()
    pinned = opened(source).resolve(replace(HANDLE, revision=wanted))
    assert pinned.revision == sha
    assert {file.name for file in opened(source).files(pinned)} == {"config.json", "small/config.json"}
    assert opened(source).fetch(pinned, "config.json").read_bytes() == FILES["config.json"]
    inside = opened(source).resolve(PresetHandle("hf", f"{REPO}/small", wanted))
    assert [file.name for file in opened(source).files(inside)] == ["config.json"]
    with pytest.raises(OfflineError):
        opened(source).resolve(replace(HANDLE, revision="other"))
    assert hub.requests == []


@pytest.fixture
def in_part(hub, client, source, monkeypatch):
    """A preset of which the client has one file; the plugin's source is the one in use."""
    sha = hub.commit(REPO, FILES)
    client.hf_hub_download(REPO, "config.json", endpoint=hub.url)
    return sha


@pytest.mark.parametrize("state", ["offline", "down"])
def test_what_the_client_has_in_part_is_not_taken_for_all(in_part, hub, cache, monkeypatch, tmp_path, state):
    from vertebra._presets.bundle import write_bundle
    from vertebra._presets.lock import lock_presets
    from vertebra.cli.pull import pull_preset

    def read_headers(folder):
        PresetDescription("native", folder, "BertBackbone", {}).open_headers()

    if state == "offline":
        monkeypatch.setenv("VERTEBRA_OFFLINE", "1")
        settings.cache_clear()
    else:
        hub.faults = [faults.status(503, paths="/api/*")]
    folder = open_folder(f"hf://{REPO}")
    assert (folder.handle.revision, folder.is_complete) == (in_part, False)
    assert folder.fetch("config.json").read_bytes() == FILES["config.json"]
    for act in (
        lambda: folder.fetch("model.safetensors"),
        lambda: pull_preset(f"hf://{REPO}"),
        lambda: read_headers(folder),
        lambda: lock_presets([f"hf://{REPO}"], tmp_path / "vertebra.lock", update=False),
        lambda: write_bundle([f"hf://{REPO}"], tmp_path / "bundle"),
    ):
        with pytest.raises(OfflineError, match="OFFLINE is set" if state == "offline" else "does not answer"):
            act()
    assert list(cache.glob("presets/*/preset.json")) == []
    assert pull_preset(f"hf://{REPO}", only=["config.json"])["bytes"] == 2


def test_what_is_known_in_part_is_no_answer(in_part, hub, tmp_path, source, cache):
    from vertebra._presets.lock import compare_lock, lock_presets

    pinned = f"hf://{REPO}@{in_part}"
    lock_presets([pinned], tmp_path / "vertebra.lock", update=False)
    shutil.rmtree(cache)
    cached_source._listed.clear()
    hub.faults = [faults.status(503, paths="/api/*")]
    assert [found.state for found in compare_lock(tmp_path / "vertebra.lock")] == ["unknown"]


def test_what_is_whole_again_is_known_whole(in_part, hub):
    hub.faults = [faults.status(503, paths="/api/*")]
    assert not open_folder(f"hf://{REPO}").is_complete
    hub.faults = []
    folder = open_folder(f"hf://{REPO}")
    assert folder.is_complete
    assert folder.fetch("model.safetensors").read_bytes() == WEIGHTS


def test_only_what_was_asked_for_is_asked(hub, source):
    """The client's own way to make headers asks the hub first who the user is."""
    hub.commit(REPO, FILES)
    source.resolve_snapshot(HANDLE)
    (request,) = hub.requests
    assert request.path.startswith("/api/models/")
    assert request.headers["user-agent"].startswith("vertebra/")


def test_making_the_source_imports_no_client():
    code = "import sys, vertebra_hf.source as s; s.HfSource(); print('huggingface_hub' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "False\n"


# === Where the hub is (NW-09) ===


@pytest.mark.parametrize("blank", ["", "  ", "\n"])
def test_a_blank_endpoint_is_none(monkeypatch, blank):
    monkeypatch.setenv("HF_ENDPOINT", blank)
    assert asking.endpoint() == "https://huggingface.co"


def test_space_around_an_endpoint_is_none_of_it(hub, fetch, monkeypatch):
    hub.commit(REPO, FILES)
    monkeypatch.setenv("HF_ENDPOINT", f" {hub.url}/ ")
    assert fetch(f"hf://{REPO}", "config.json") == b"{}"


@pytest.mark.parametrize(
    "text", ["hub.example.org", "ftp://hub", "https://", "https://user:hf_secret@hub", "https://[::"]
)
def test_an_endpoint_that_is_no_address_is_named(source, monkeypatch, text):
    monkeypatch.setenv("HF_ENDPOINT", text)
    with pytest.raises(SettingsError, match="HF_ENDPOINT") as raised:
        source.resolve_snapshot(HANDLE)
    assert "hf_secret" not in str(raised.value)


def test_a_proxy_that_is_dead_is_named_without_its_password(hub, source, proxy):
    proxy(HTTP_PROXY="http://user:hf_secret@127.0.0.1:9")
    with pytest.raises(SourceUnavailableError, match="proxy that HTTPS_PROXY or another variable names") as raised:
        source.resolve_snapshot(HANDLE)
    assert "hf_secret" not in str(raised.value)


@pytest.mark.parametrize("address", ["nonsense://x", "http://[::", "http://host:port"])
def test_a_proxy_that_is_no_address_is_no_crash(hub, source, proxy, address):
    proxy(HTTP_PROXY=address)
    with pytest.raises(SourceUnavailableError):
        source.resolve_snapshot(HANDLE)


def test_no_proxy_is_heeded(hub, fetch, proxy):
    hub.commit(REPO, FILES)
    proxy(HTTP_PROXY="http://127.0.0.1:9", NO_PROXY="127.0.0.1,localhost")
    assert fetch(f"hf://{REPO}") == WEIGHTS


def test_nobody_listens(hub, source):
    hub.close()
    with pytest.raises(SourceUnavailableError, match=f"no complete response from {hub.url}"):
        source.resolve_snapshot(HANDLE)


def test_what_is_known_serves_when_the_hub_is_gone(hub, fetch, caplog):
    hub.commit(REPO, FILES)
    assert fetch(f"hf://{REPO}") == WEIGHTS
    hub.close()
    assert fetch(f"hf://{REPO}") == WEIGHTS
    assert "Using the cached revision" in caplog.text


def test_the_clients_own_offline_switch_is_heeded(hub, client, fetch, monkeypatch):
    hub.commit(REPO, FILES)
    assert fetch(f"hf://{REPO}", "config.json") == b"{}"
    monkeypatch.setattr(client.constants, "HF_HUB_OFFLINE", True)
    hub.clear()
    assert fetch(f"hf://{REPO}", "config.json") == b"{}"
    with pytest.raises(SourceUnavailableError, match="HF_HUB_OFFLINE"):
        fetch(f"hf://{REPO}")
    assert hub.requests == []


# === Messages and logs ===


def test_signatures_are_in_no_log(hub, fetch, caplog):
    caplog.set_level(logging.DEBUG)
    hub.commit(REPO, FILES)
    assert fetch(f"hf://{REPO}") == WEIGHTS
    assert f"{hub.storage.url}/large/" in caplog.text
    assert "X-Amz-Signature" not in caplog.text


def test_signatures_are_in_no_error(hub, fetch):
    hub.commit(REPO, FILES)
    hub.faults = [faults.cut(0, files="*.safetensors")]
    with pytest.raises(SourceUnavailableError, match=hub.storage.url) as raised:
        fetch(f"hf://{REPO}")
    assert "X-Amz" not in str(raised.value)


def test_the_token_goes_to_the_hub_only(hub, fetch, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    hub.commit(REPO, FILES)
    with HubServer(tokens={TOKEN}) as other:
        other.commit(REPO, FILES)
        hub.faults = [faults.redirect_origin(other.url, files="config.json")]
        assert fetch(f"hf://{REPO}") == WEIGHTS
        assert fetch(f"hf://{REPO}", "config.json") == b"{}"
    assert {request.headers.get("authorization") for request in hub.requests} == {f"Bearer {TOKEN}"}
    assert {request.headers.get("authorization") for request in hub.storage.requests + other.requests} == {None}
