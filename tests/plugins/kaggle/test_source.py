"""The kaggle source: handles, requests to Kaggle and its storage, and redirects."""

import hashlib
import itertools
import logging
import shutil
import subprocess
import sys

import pytest

from servers import faults
from servers.hub import HubServer
from servers.messages import Response
from vertebra import PresetHandle
from vertebra.errors import (
    HandleError,
    IntegrityError,
    PresetNotFoundError,
    RedirectRefusedError,
    SettingsError,
    SourceUnavailableError,
)
from vertebra.testing import opened
from vertebra_kaggle.source import KaggleSource, _md5
from vertebra_kaggle.variations import Variation, variation_of, version_of

VARIATION = "acme/bert/keras/small"
HANDLE = PresetHandle("kaggle", VARIATION)
WEIGHTS = bytes(range(251)) * 200
FILES = {"config.json": b"{}", "model.safetensors": WEIGHTS, "assets/words.txt": b"one\n"}
CALL = {"methods": ("POST",)}


def calls(kaggle):
    return [request.path.rpartition("/")[2] for request in kaggle.requests]


# === Handles ===


@pytest.mark.parametrize(
    ("path", "version"),
    [(VARIATION, None), (f"{VARIATION}/3", 3), ("keras/gemma/pyTorch/2b-it.v1_x/12", 12)],
)
def test_a_handle_names_a_variation_and_a_version(path, version):
    handle = PresetHandle("kaggle", path)
    assert variation_of(handle) == Variation(*path.split("/")[:4])
    assert version_of(handle) == version
    assert KaggleSource().is_pinned(handle) is (version is not None)


@pytest.mark.parametrize(
    "path",
    [
        *("acme", "acme/bert", "acme/bert/keras", f"{VARIATION}/1/2", f"/{VARIATION}"),
        *("acme/b rt/keras/small", "acme/bért/keras/small", "acme/-bert/keras/small", "acme/bert/keras/a@b"),
        *(f"{VARIATION}/{version}" for version in ("0", "01", "-1", "v3", "1.0", "٣", "latest", "9" * 10)),
    ],
)
def test_what_kaggle_cannot_have_is_refused_without_asking(path):
    handle = PresetHandle("kaggle", path)
    assert not KaggleSource().is_pinned(handle)
    with pytest.raises(HandleError):
        KaggleSource().resolve_snapshot(handle)


def test_a_revision_is_told_its_place(source):
    with pytest.raises(
        PresetNotFoundError, match="write a version at the end of the path: kaggle://acme/bert/keras/small/1"
    ):
        source.resolve_snapshot(PresetHandle("kaggle", VARIATION, "3"))


@pytest.mark.parametrize(
    ("framework", "hint"), [("PyTorch", "did you mean 'pyTorch'"), ("Keras", "did you mean 'keras'"), ("zig", "known:")]
)
def test_frameworks_have_kaggles_own_spelling(kaggle, source, framework, hint):
    with pytest.raises(HandleError, match=hint) as raised:
        source.resolve_snapshot(PresetHandle("kaggle", f"acme/bert/{framework}/small"))
    assert all(name in str(raised.value) for name in ("jax", "keras", "pyTorch", "transformers", "tensorFlow2"))
    assert "unspecified" not in str(raised.value)
    assert kaggle.requests == []


@pytest.mark.parametrize("framework", ["keras", "pyTorch", "jax", "transformers", "tensorFlow2", "gemmaCpp", "other"])
def test_every_framework_is_kaggles(kaggle, source, framework):
    handle = f"acme/bert/{framework}/small"
    kaggle.publish(handle, FILES)
    assert opened(source).resolve(PresetHandle("kaggle", handle)) == PresetHandle("kaggle", f"{handle}/1")


# === Requests ===


def test_a_look_up_asks_for_the_newest_version_and_its_files(kaggle, source):
    kaggle.publish(VARIATION, {"config.json": b"old"})
    kaggle.publish(VARIATION, FILES)
    found = source.resolve_snapshot(HANDLE)
    assert found.handle == PresetHandle("kaggle", f"{VARIATION}/2")
    assert {file.name: (file.size, file.digest) for file in found.files} == {
        name: (len(content), None) for name, content in FILES.items()
    }
    assert calls(kaggle) == ["GetModelInstance", "ListModelInstanceVersionFiles"]
    kaggle.clear()
    assert [file.size for file in source.resolve_snapshot(PresetHandle("kaggle", f"{VARIATION}/1")).files] == [3]
    assert calls(kaggle) == ["ListModelInstanceVersionFiles"]


def test_all_pages_of_a_list_are_read(kaggle, source):
    files = {f"shards/{number:03}.bin": bytes(number % 7) for number in range(450)}
    kaggle.publish(VARIATION, files)
    assert {file.name: file.size for file in source.resolve_snapshot(HANDLE).files} == {
        name: len(content) for name, content in files.items()
    }
    assert calls(kaggle).count("ListModelInstanceVersionFiles") == 3


def test_a_list_without_end_is_left(kaggle, source, monkeypatch):
    monkeypatch.setattr("vertebra_kaggle.api._MOST_PAGES", 3)
    kaggle.publish(VARIATION, FILES)
    pages = itertools.count()
    page = lambda request, body: Response.json({"files": [], "nextPageToken": f"page {next(pages)}"})  # noqa: E731
    monkeypatch.setattr(kaggle, "list_files", page)
    with pytest.raises(SourceUnavailableError, match="an endless file list"):
        source.resolve_snapshot(HANDLE)
    assert calls(kaggle).count("ListModelInstanceVersionFiles") == 3


def test_a_list_that_repeats_its_page_is_left_at_once(kaggle, source):
    kaggle.publish(VARIATION, FILES)
    body = b'{"files": [], "nextPageToken": "0"}'
    kaggle.faults = [faults.other_content(body, paths="*/ListModelInstanceVersionFiles", **CALL)]
    with pytest.raises(SourceUnavailableError, match="an endless file list"):
        source.resolve_snapshot(HANDLE)
    assert calls(kaggle).count("ListModelInstanceVersionFiles") == 2


def test_a_page_token_that_is_no_text_is_unavailable(kaggle, source):
    kaggle.publish(VARIATION, FILES)
    body = b'{"files": [], "nextPageToken": 7}'
    kaggle.faults = [faults.other_content(body, paths="*/ListModelInstanceVersionFiles", **CALL)]
    with pytest.raises(SourceUnavailableError, match="does not respond as Kaggle does"):
        opened(source).resolve(HANDLE)


def test_kaggle_is_asked_once_for_all_parts_of_a_file(kaggle, fetch):
    kaggle.publish(VARIATION, FILES)
    assert fetch(f"kaggle://{VARIATION}") == WEIGHTS
    assert calls(kaggle).count("DownloadModelInstanceVersion") == 1
    ranges = sorted(request.headers["range"] for request in kaggle.storage.requests)
    assert (ranges[0], len(ranges)) == ("bytes=0-9999", 6)


@pytest.mark.parametrize("streams", [1, 4])
def test_a_link_that_has_expired_is_asked_for_again(kaggle, source, streams, monkeypatch):
    monkeypatch.setattr(type(source), "streams", streams)
    kaggle.publish(VARIATION, FILES)
    pinned = opened(source).resolve(HANDLE)
    (file,) = [file for file in opened(source).files(pinned) if file.name == "model.safetensors"]
    with source.read(pinned, file, 0, 100):
        kaggle.storage.expire_links()
    assert opened(source).fetch(pinned, file.name).read_bytes() == WEIGHTS
    assert calls(kaggle).count("DownloadModelInstanceVersion") == 2


def test_where_nobody_answers_any_longer_another_link_is_asked_for(kaggle, source):
    kaggle.publish(VARIATION, FILES)
    pinned = opened(source).resolve(HANDLE)
    source._signed_urls._urls[pinned, "model.safetensors"] = "http://localhost:9/models/0/model.safetensors"
    assert opened(source).fetch(pinned, "model.safetensors").read_bytes() == WEIGHTS


def test_storage_that_refuses_what_kaggle_has_just_given_is_unavailable(kaggle, fetch):
    kaggle.publish(VARIATION, FILES)
    kaggle.faults = [faults.status(403, files="*.safetensors")]
    with pytest.raises(SourceUnavailableError, match=f"localhost:{kaggle.storage.port} responded with HTTP 403"):
        fetch(f"kaggle://{VARIATION}")


@pytest.mark.parametrize(
    "fault",
    [faults.html_page(paths="*", **CALL), faults.cut(0.5, paths="*", **CALL), faults.reset(paths="*", **CALL)],
    ids=str,
)
def test_an_answer_that_is_none_is_unavailable(kaggle, source, fault):
    kaggle.publish(VARIATION, FILES)
    kaggle.faults = [fault]
    with pytest.raises(SourceUnavailableError):
        source.resolve_snapshot(HANDLE)


@pytest.mark.parametrize(
    "body",
    [
        "[]",
        "{}",
        "3",
        '{"versionNumber": 0}',
        '{"versionNumber": -1}',
        '{"versionNumber": "2"}',
        '{"versionNumber": null}',
        '{"versionNumber": true}',
        '{"versionNumber": 1000000000}',
        '{"versionNumber": 1, "code": "x"}',
        "[" * 40_000,
    ],
)
def test_an_answer_that_is_unsound_is_unavailable(kaggle, source, body):
    kaggle.publish(VARIATION, FILES)
    kaggle.faults = [faults.other_content(body.encode(), paths="*/GetModelInstance", **CALL)]
    with pytest.raises(SourceUnavailableError, match="does not respond as Kaggle does"):
        source.resolve_snapshot(HANDLE)


@pytest.mark.parametrize("files", ["3", "[3]", '[{"name": 3}]', '[{"name": "x", "size": -1}]'])
def test_a_list_that_is_unsound_is_unavailable(kaggle, source, files):
    kaggle.publish(VARIATION, FILES)
    body = f'{{"files": {files}}}'.encode()
    kaggle.faults = [faults.other_content(body, paths="*/ListModelInstanceVersionFiles", **CALL)]
    with pytest.raises(SourceUnavailableError, match="does not respond as Kaggle does"):
        source.resolve_snapshot(HANDLE)


def test_a_download_that_leads_nowhere_is_unavailable(kaggle, fetch):
    kaggle.publish(VARIATION, FILES)
    kaggle.faults = [faults.html_page(paths="*/DownloadModelInstanceVersion", **CALL)]
    with pytest.raises(SourceUnavailableError, match="does not respond as Kaggle does"):
        fetch(f"kaggle://{VARIATION}")


def test_making_the_source_imports_no_client():
    code = (
        "import sys, vertebra_kaggle.source as s; s.KaggleSource()\nprint({'kagglehub', 'requests'} & {*sys.modules})"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "set()\n"


def test_kagglehub_itself_downloads_nothing(kaggle, fetch, tmp_path):
    kaggle.publish(VARIATION, FILES)
    fetch(f"kaggle://{VARIATION}")
    assert list((tmp_path / "home").rglob("*.safetensors")) == []


# === What a file hashes to ===


@pytest.mark.parametrize(
    ("hashes", "digest"),
    [
        ("md5=XrY7u+Ae7tCTyyK7j1rNww==", "md5:5eb63bbbe01eeed093cb22bb8f5acdc3"),
        ("crc32c=yZRlqg==, md5=XrY7u+Ae7tCTyyK7j1rNww==", "md5:5eb63bbbe01eeed093cb22bb8f5acdc3"),
        ("crc32c=yZRlqg==", None),
        ("md5=?", None),
        ("", None),
    ],
)
def test_the_storage_tells_what_a_file_hashes_to(hashes, digest):
    assert _md5(hashes) == digest
    assert digest is None or digest == f"md5:{hashlib.md5(b'hello world').hexdigest()}"


def test_a_file_that_changes_under_its_link_is_refused(kaggle, source):
    kaggle.publish(VARIATION, FILES)
    pinned = opened(source).resolve(HANDLE)
    kaggle.faults = [faults.other_content(files="*.safetensors")]
    with pytest.raises(IntegrityError, match="md5"):
        opened(source).fetch(pinned, "model.safetensors")


# === Where Kaggle is, and where it may lead (NW-08, NW-09) ===


@pytest.mark.parametrize("paths", ["*/GetModelInstance", "*/ListModelInstanceVersionFiles"])
@pytest.mark.parametrize("target", ["http://127.0.0.1:9/", "/login", "https://["])
def test_an_answer_that_leads_elsewhere_is_not_followed(kaggle, source, log_in, paths, target):
    log_in(kaggle.users["acme"])
    kaggle.publish(VARIATION, FILES)
    kaggle.faults = [faults.redirect(target, paths=paths, **CALL)]
    with pytest.raises(SourceUnavailableError, match="login page may be in the way"):
        source.resolve_snapshot(HANDLE)


DOWNLOAD = {"paths": "*/DownloadModelInstanceVersion", **CALL}
STORED = {"files": "config.json"}


@pytest.mark.parametrize("when", [DOWNLOAD, STORED], ids=["download", "stored"])
@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("file:///etc/passwd", "only http and https"),
        ("http://169.254.169.254/", "inside this network"),
        ("http://[::", "not a URL"),
    ],
)
def test_a_file_is_not_read_where_nobody_should_be_sent(kaggle, fetch, when, target, words):
    kaggle.publish(VARIATION, FILES)
    kaggle.faults = [faults.redirect(target, **when)]
    with pytest.raises(RedirectRefusedError, match=words):
        fetch(f"kaggle://{VARIATION}", "config.json")


@pytest.mark.parametrize(
    ("fault", "words"),
    [(faults.redirect_hops(30), "more than 10"), (faults.redirect_loop(), "a redirect loop")],
    ids=str,
)
def test_redirects_of_the_storage_have_an_end(kaggle, fetch, fault, words):
    kaggle.publish(VARIATION, FILES)
    kaggle.faults = [fault]
    with pytest.raises(RedirectRefusedError, match=words):
        fetch(f"kaggle://{VARIATION}", "config.json")
    assert kaggle.faults.struck(fault) <= 11


def test_some_redirects_of_the_storage_are_followed(kaggle, fetch):
    kaggle.publish(VARIATION, FILES)
    kaggle.faults = [faults.redirect_hops(5)]
    assert fetch(f"kaggle://{VARIATION}", "config.json") == b"{}"


@pytest.fixture
def public(kaggle, monkeypatch):
    """Has Kaggle count as on the internet, though it is on the loopback interface, and names lie about the storage."""
    import ipaddress

    from vertebra.http import redirects

    kaggle.publish(VARIATION, FILES)
    monkeypatch.setattr(redirects, "addresses", lambda *_, **__: [ipaddress.ip_address("93.184.216.34")])
    return kaggle


def test_who_answers_from_inside_the_users_network_is_not_read(public, fetch):
    with pytest.raises(RedirectRefusedError, match=r"inside this network \(127\.0\.0\.1\)"):
        fetch(f"kaggle://{VARIATION}", "config.json")


def test_that_holds_where_connections_are_closed_at_once(public, fetch):
    public.faults = [faults.chunked(files="*"), faults.cut(1, files="*")]
    with pytest.raises(RedirectRefusedError, match="inside this network"):
        fetch(f"kaggle://{VARIATION}", "config.json")


@pytest.mark.parametrize("name", ["", "prod", "nonsense"])
def test_an_environment_that_is_none_is_named(kaggle, source, monkeypatch, name):
    monkeypatch.setenv("KAGGLE_API_ENVIRONMENT", name)
    with pytest.raises(SettingsError, match="KAGGLE_API_ENVIRONMENT"):
        source.resolve_snapshot(HANDLE)


@pytest.mark.parametrize("address", ["http://user:secret@127.0.0.1:9", "http://user:secret@[::", "nonsense://secret"])
def test_a_proxy_that_is_dead_or_none_is_named_without_its_password(kaggle, source, monkeypatch, address):
    monkeypatch.setenv("HTTP_PROXY", address)
    with pytest.raises(SourceUnavailableError) as raised:
        source.resolve_snapshot(HANDLE)
    assert "secret" not in str(raised.value)


def test_nobody_listens(kaggle, source):
    kaggle.close()
    with pytest.raises(SourceUnavailableError, match=f"no complete response from {kaggle.url}.*Connection refused"):
        source.resolve_snapshot(HANDLE)


def test_what_is_known_serves_when_kaggle_is_gone(kaggle, fetch, caplog):
    kaggle.publish(VARIATION, FILES)
    assert fetch(f"kaggle://{VARIATION}") == WEIGHTS
    kaggle.close()
    assert fetch(f"kaggle://{VARIATION}") == WEIGHTS
    assert "Using the cached revision" in caplog.text


# === Messages, logs and headers ===


def test_links_are_in_no_log(kaggle, fetch, caplog):
    caplog.set_level(logging.DEBUG)
    kaggle.publish(VARIATION, FILES)
    assert fetch(f"kaggle://{VARIATION}") == WEIGHTS
    assert "/models/" in caplog.text
    assert "X-Goog-Expires" not in caplog.text


@pytest.mark.parametrize("fault", [faults.cut(0), faults.reset(), faults.status(500), faults.status(403)], ids=str)
def test_links_are_in_no_error(kaggle, fetch, fault):
    kaggle.publish(VARIATION, FILES)
    kaggle.faults = [fault]
    with pytest.raises(SourceUnavailableError) as raised:
        fetch(f"kaggle://{VARIATION}")
    assert not any(word in str(raised.value) for word in ("X-Goog", "/models/"))


def test_the_token_goes_to_kaggle_only(kaggle, fetch, log_in, tmp_path):
    log_in(kaggle.users["acme"])
    kaggle.publish(VARIATION, FILES)
    (tmp_path / "home").mkdir(exist_ok=True)
    (tmp_path / "home" / ".netrc").write_text("machine localhost login acme password secret\n")
    with HubServer() as other:  # another server, to which the storage redirects
        other.commit("acme/bert", FILES)
        assert fetch(f"kaggle://{VARIATION}") == WEIGHTS
        target = f"{other.url}/acme/bert/resolve/main/config.json"
        kaggle.faults = [faults.redirect(target.replace("127.0.0.1", "localhost"), files="config.json")]
        assert fetch(f"kaggle://{VARIATION}", "config.json") == b"{}"
    assert {request.headers.get("authorization") for request in kaggle.requests} == {f"Bearer {kaggle.users['acme']}"}
    elsewhere = kaggle.storage.requests + other.requests
    assert {request.headers.get("authorization") for request in elsewhere} == {None}
    assert {request.headers["accept-encoding"] for request in elsewhere} == {"identity"}


# === As users meet it ===


def test_a_lockfile_has_the_version_and_what_was_hashed(kaggle, cache, tmp_path):
    from vertebra._presets.lock import compare_lock, lock_presets
    from vertebra._resolve.lockfile import read_lockfile

    kaggle.publish(VARIATION, FILES)
    lockfile = tmp_path / "vertebra.lock"
    lock_presets([f"kaggle://{VARIATION}"], lockfile, update=False)
    (locked,) = read_lockfile(lockfile).presets.values()
    assert str(locked.handle) == f"kaggle://{VARIATION}/1"
    hashes = {file.name: file.digest for file in locked.files}
    assert hashes == {name: f"sha256:{hashlib.sha256(content).hexdigest()}" for name, content in FILES.items()}
    kaggle.storage.clear()
    assert [found.state for found in compare_lock(lockfile)] == ["unchanged"]
    kaggle.publish(VARIATION, FILES)
    assert [found.state for found in compare_lock(lockfile)] == ["moved"]
    assert kaggle.storage.requests == []


def test_a_revision_is_no_part_of_a_handle(source):
    from vertebra._resolve.open import open_folder

    with pytest.raises(HandleError, match="kaggle:// handles cannot have an '@revision'"):
        open_folder(f"kaggle://{VARIATION}@3")


def test_without_a_version_all_of_them_are_pruned(kaggle, fetch, cache, capsys):
    from vertebra.cli import main

    for _ in range(2):
        kaggle.publish(VARIATION, FILES)
        fetch(f"kaggle://{VARIATION}", "config.json")
    assert main(["cache", "prune", f"kaggle://{VARIATION}"]) == 0
    out = capsys.readouterr().out
    assert all(f"removed: kaggle://{VARIATION}/{version}" in out for version in (1, 2))


@pytest.mark.parametrize("variable", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", None])
def test_the_storage_is_read_with_the_certificates_of_the_client(kaggle, fetch, monkeypatch, tmp_path, variable):
    from requests.certs import where

    from vertebra_kaggle import storage

    kaggle.publish(VARIATION, FILES)
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    trusted = str(shutil.copy(where(), tmp_path)) if variable else where()
    if variable:
        monkeypatch.setenv(variable, trusted)
    used, real = [], storage.http.get

    def get(*arguments, **options):
        used.append(options["certificates"])
        return real(*arguments, **options)

    monkeypatch.setattr(storage.http, "get", get)
    fetch(f"kaggle://{VARIATION}", "config.json")
    assert set(used) == {trusted}
