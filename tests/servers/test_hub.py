"""The hub, as the real huggingface_hub sees it."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from servers import faults
from servers.hub import HubServer

# The client gives files to its HTTP library in a way that this one has given up.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")

REPO = "acme/bert"
CONFIG = b'{"layers": 2}'
WEIGHTS = bytes(range(256)) * 1000
FILES = {"config.json": CONFIG, "model.safetensors": WEIGHTS, "tokenizer/vocab.txt": b"a\nb\n", "empty.txt": b""}


@pytest.fixture
def hub():
    with HubServer(tokens={"hf_good"}, read_only={"hf_reader"}) as hub:
        hub.commit(REPO, FILES)
        yield hub


@pytest.fixture
def separate_hub():
    """A hub that redirects to another origin for large files."""
    with HubServer(tokens={"hf_good"}, separate_storage=True) as hub:
        hub.commit(REPO, FILES)
        yield hub


@pytest.fixture
def client(monkeypatch):
    """The real client, without Xet, bars and pauses: a function from a hub and a token to its HfApi."""
    monkeypatch.setenv("HF_HUB_DISABLE_XET", "1")
    monkeypatch.setenv("HF_HUB_DISABLE_TELEMETRY", "1")
    huggingface_hub = pytest.importorskip("huggingface_hub")
    from huggingface_hub import constants, file_download
    from huggingface_hub.utils import _http, close_session, disable_progress_bars

    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)  # it may have been imported before
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 1000)  # it keeps what it has only after a whole piece
    for module in (file_download, _http):
        monkeypatch.setattr(module, "time", SimpleNamespace(sleep=lambda seconds: None))
    disable_progress_bars()
    yield lambda hub, token=False: huggingface_hub.HfApi(endpoint=hub.url, token=token)
    close_session()


@pytest.fixture
def download(client, tmp_path):
    """Downloads a file into a new cache; returns its bytes."""

    def download(hub, file="model.safetensors", revision=None, token=False):
        cache = tmp_path / f"cache{len(list(tmp_path.iterdir()))}"
        return Path(client(hub, token).hf_hub_download(REPO, file, revision=revision, cache_dir=cache)).read_bytes()

    return download


def contents(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in Path(folder).rglob("*") if path.is_file()
    }


# === Reading ===


@pytest.mark.parametrize("file", FILES)
def test_a_file_is_downloaded(hub, download, file):
    assert download(hub, file) == FILES[file]
    assert [request.method for request in hub.requests] == (["HEAD", "GET"] if FILES[file] else ["HEAD"])


def test_a_snapshot_is_downloaded(hub, client, tmp_path):
    folder = client(hub).snapshot_download(REPO, cache_dir=tmp_path)
    assert contents(folder) == FILES


def test_a_snapshot_comes_through_another_origin(separate_hub, client, tmp_path):
    folder = client(separate_hub).snapshot_download(REPO, cache_dir=tmp_path)
    assert contents(folder) == FILES
    assert [request.path.rpartition("/")[2] for request in separate_hub.storage.requests] == ["model.safetensors"]


def test_large_files_come_from_disk(hub, download, tmp_path):
    (tmp_path / "weights").write_bytes(WEIGHTS[::-1])
    hub.commit(REPO, {"model.safetensors": tmp_path / "weights"})
    assert download(hub) == WEIGHTS[::-1]


def test_a_revision_is_a_commit_a_branch_or_a_tag(hub, download):
    first = hub.commit(REPO, {})
    hub.tag(REPO, "v1.0")
    second = hub.commit(REPO, {"config.json": b"second"})
    hub.commit(REPO, {"config.json": b"other"}, branch="refs/pr/1")
    assert first != second
    assert download(hub, "config.json") == download(hub, "config.json", second) == b"second"
    assert download(hub, "config.json", first) == download(hub, "config.json", "v1.0") == CONFIG
    assert download(hub, "config.json", "refs/pr/1") == b"other"


def test_what_is_there_is_told_with_hashes(hub, client):
    listed = {file.path: file for file in client(hub).list_repo_tree(REPO, recursive=True)}
    assert sorted(listed) == sorted([*FILES, "tokenizer"])
    assert listed["model.safetensors"].lfs.sha256 == hashlib.sha256(WEIGHTS).hexdigest()
    assert (listed["config.json"].size, listed["config.json"].lfs) == (len(CONFIG), None)
    git = hashlib.sha1(b"blob 0\0").hexdigest()
    assert listed["empty.txt"].blob_id == git == "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"
    siblings = {file.rfilename: file for file in client(hub).model_info(REPO, files_metadata=True).siblings}
    assert {path: (file.size, file.blob_id, file.lfs) for path, file in siblings.items()} == {
        path: (listed[path].size, listed[path].blob_id, listed[path].lfs) for path in FILES
    }
    assert siblings["model.safetensors"].lfs.sha256 == hashlib.sha256(WEIGHTS).hexdigest()


def test_a_folder_is_listed(hub, client):
    assert [file.path for file in client(hub).list_repo_tree(REPO, "tokenizer")] == ["tokenizer/vocab.txt"]
    assert {file.path for file in client(hub).list_repo_tree(REPO)} == {*FILES, "tokenizer"} - {"tokenizer/vocab.txt"}
    assert client(hub).model_info(REPO).siblings[0].size is None


def test_a_file_is_streamed_from_an_offset(separate_hub, client):
    from huggingface_hub import hf_hub_url
    from huggingface_hub.utils import build_hf_headers, get_session, hf_raise_for_status

    url = hf_hub_url(REPO, "model.safetensors", endpoint=separate_hub.url)
    headers = {**build_hf_headers(token="hf_good"), "Range": "bytes=1000-", "Accept-Encoding": "identity"}
    with get_session().stream("GET", url, headers=headers) as response:
        hf_raise_for_status(response)
        assert response.status_code == 206
        assert b"".join(response.iter_raw()) == WEIGHTS[1000:]
    assert separate_hub.requests[0].headers["authorization"] == "Bearer hf_good"
    [redirected] = separate_hub.storage.requests
    assert "authorization" not in redirected.headers
    assert (redirected.headers["range"], redirected.host) == ("bytes=1000-", f"localhost:{separate_hub.storage.port}")


# === What is refused ===


def test_what_is_missing_is_told_apart(hub, download, client):
    from huggingface_hub import errors

    with pytest.raises(errors.RemoteEntryNotFoundError) as raised:
        download(hub, "missing.json")
    assert raised.value.response.headers["X-Repo-Commit"] == client(hub).model_info(REPO).sha
    with pytest.raises(errors.RevisionNotFoundError):
        download(hub, "config.json", "missing")
    with pytest.raises(errors.EntryNotFoundError):
        list(client(hub).list_repo_tree(REPO, "missing"))
    hub.delete(REPO)
    with pytest.raises(errors.RepositoryNotFoundError):
        download(hub)


def test_a_private_repository_needs_a_token(hub, download):
    from huggingface_hub.errors import RepositoryNotFoundError

    hub.private(REPO)
    with pytest.raises(RepositoryNotFoundError):
        download(hub)
    assert download(hub, token="hf_good") == WEIGHTS


def test_a_gated_repository_needs_a_granted_token(hub, download, client):
    from huggingface_hub.errors import GatedRepoError

    hub.gated(REPO, granted={"hf_good"})
    assert client(hub).model_info(REPO).gated == "manual"
    for token, status in [(False, 401), ("hf_reader", 403)]:
        with pytest.raises(GatedRepoError) as raised:
            download(hub, token=token)
        assert raised.value.response.status_code == status
    assert download(hub, token="hf_good") == WEIGHTS


def test_a_bad_token_is_refused_even_where_none_is_needed(hub, download, client):
    from huggingface_hub.errors import HfHubHTTPError

    for ask in (lambda: download(hub, token="hf_bad"), lambda: client(hub, "hf_bad").model_info(REPO)):
        with pytest.raises(HfHubHTTPError, match="Invalid credentials in Authorization header") as raised:
            ask()
        assert raised.value.response.status_code == 401


def test_a_token_says_who_one_is(hub, client):
    from huggingface_hub.errors import HfHubHTTPError

    assert client(hub, "hf_good").whoami()["name"] == "tester"
    with pytest.raises(HfHubHTTPError):
        client(hub, "hf_bad").whoami()


# === Writing ===


@pytest.fixture
def folder(tmp_path):
    """A folder to upload, with large and small files, and one that is in the repository already."""
    folder = tmp_path / "upload"
    for path, content in {**FILES, "README.md": b"# New\n", "deep/er/model.h5": WEIGHTS[::-1]}.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
    return folder


@pytest.mark.parametrize("storage", ["memory", "disk", "separate"])
def test_a_folder_that_is_uploaded_comes_back(client, folder, tmp_path, storage):
    (tmp_path / "blobs").mkdir()
    blobs = tmp_path / "blobs" if storage == "disk" else None
    with HubServer(tokens={"hf_good"}, folder=blobs, separate_storage=storage == "separate") as hub:
        api = client(hub, "hf_good")
        assert api.create_repo("acme/new", private=True).repo_id == "acme/new"
        commit = api.upload_folder(repo_id="acme/new", folder_path=folder)
        assert api.model_info("acme/new").sha == commit.oid
        assert hub.files("acme/new") == {**contents(folder), ".gitattributes": hub.files("acme/new")[".gitattributes"]}
        back = api.snapshot_download("acme/new", cache_dir=tmp_path / "cache", ignore_patterns=".gitattributes")
        assert contents(back) == contents(folder)


def test_an_upload_sends_what_is_new_and_only_the_hub_gets_the_token(separate_hub, client, folder):
    commit = client(separate_hub, "hf_good").upload_folder(repo_id=REPO, folder_path=folder)
    [sent] = [request for request in separate_hub.storage.requests if request.method == "PUT"]
    assert sent.body_size == len(WEIGHTS)
    assert "authorization" not in sent.headers
    assert separate_hub.files(REPO, commit.oid) == contents(folder)


def test_an_upload_may_remove_files(hub, client, folder):
    api = client(hub, "hf_good")
    (folder / "tokenizer" / "vocab.txt").unlink()
    api.upload_folder(repo_id=REPO, folder_path=folder, delete_patterns="*")
    assert hub.files(REPO) == contents(folder)
    api.delete_folder("deep", REPO)
    assert "deep/er/model.h5" not in hub.files(REPO)


def test_an_upload_of_nothing_new_is_no_commit(hub, client, folder):
    api = client(hub, "hf_good")
    first = api.upload_folder(repo_id=REPO, folder_path=folder)
    assert api.upload_folder(repo_id=REPO, folder_path=folder).oid == first.oid


def test_a_commit_on_another_parent_is_refused(hub, client, folder):
    from huggingface_hub.errors import HfHubHTTPError

    parent = client(hub).model_info(REPO).sha
    hub.commit(REPO, {"config.json": b"meanwhile"})
    with pytest.raises(HfHubHTTPError, match="A commit has happened since"):
        client(hub, "hf_good").upload_folder(repo_id=REPO, folder_path=folder, parent_commit=parent)


def test_a_repository_is_made_once(hub, client):
    from huggingface_hub.errors import HfHubHTTPError

    with pytest.raises(HfHubHTTPError, match="already created"):
        client(hub, "hf_good").create_repo(REPO)
    assert client(hub, "hf_good").create_repo(REPO, exist_ok=True).repo_id == REPO


@pytest.mark.parametrize(("token", "status"), [(False, 401), ("hf_reader", 403)])
def test_writing_needs_the_right_to(hub, client, folder, token, status):
    from huggingface_hub.errors import HfHubHTTPError

    for write in (
        lambda: client(hub, token).create_repo("acme/new"),
        lambda: client(hub, token).upload_folder(repo_id=REPO, folder_path=folder / "tokenizer"),
    ):
        with pytest.raises(HfHubHTTPError) as raised:
            write()
        assert raised.value.response.status_code == status
    assert hub.files(REPO) == FILES


# === Faults that the client sees ===


def test_the_client_does_not_notice_a_wrong_bit(hub, download):
    hub.faults = [faults.flip_bit(1000, files="*.safetensors")]
    assert download(hub) == WEIGHTS[:1000] + bytes([WEIGHTS[1000] ^ 1]) + WEIGHTS[1001:]
    assert download(hub, "config.json") == CONFIG


@pytest.mark.parametrize("after", [0.5, -1])
def test_the_client_resumes_what_was_cut(hub, download, after):
    hub.faults = [faults.cut(after, times=2)]
    assert download(hub) == WEIGHTS
    assert ["range" in request.headers for request in hub.requests] == [False, False, True, True]


def test_faults_strike_large_files_where_they_come_from(separate_hub, download):
    separate_hub.faults = [faults.cut(0.5, times=1)]
    assert download(separate_hub) == WEIGHTS
    assert ["range" in request.headers for request in separate_hub.storage.requests] == [False, True]


@pytest.mark.parametrize(
    "fault", [faults.status(429, 1, times=2), faults.status(408, times=1), faults.redirect_hops(5)], ids=str
)
def test_the_client_survives(hub, download, fault):
    hub.faults = [fault]
    assert download(hub) == WEIGHTS


@pytest.mark.parametrize("fault", [faults.html_page(), faults.other_content(b"short")], ids=str)
def test_the_client_notices_another_size(hub, download, fault):
    hub.faults = [fault]
    with pytest.raises(OSError, match="Consistency check failed"):
        download(hub)


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (faults.status(503), "HfHubHTTPError"),
        (faults.redirect_loop(), "TooManyRedirects"),
        (faults.range_refused(), "HfHubHTTPError"),
        (faults.reset(), "ReadError"),
        (faults.cut(0), "RemoteProtocolError"),
    ],
    ids=str,
)
def test_the_client_gives_up(hub, download, fault, error):
    hub.faults = [faults.cut(0.5, times=1), fault] if fault.ranged else [fault]
    with pytest.raises(Exception, match=r"\S") as raised:
        download(hub)
    assert raised.type.__name__ == error


def test_redirects_to_another_server_lose_the_token(hub, download):
    with HubServer() as other:
        other.commit(REPO, FILES)
        hub.faults = [faults.redirect_origin(other.url)]
        assert download(hub, token="hf_good") == WEIGHTS
    assert [("authorization" in request.headers) for request in [*hub.requests, *other.requests]] == [True, True, False]


def test_a_listing_fails(hub, client):
    from huggingface_hub.errors import HfHubHTTPError

    hub.faults = [faults.status(500, paths="/api/models/*", times=1)]
    with pytest.raises(HfHubHTTPError):
        client(hub).model_info(REPO)
    assert client(hub).model_info(REPO).id == REPO


# === In a process of its own ===


def test_a_folder_is_served_by_a_process(client, tmp_path, folder):
    command = [sys.executable, "-m", "servers.hub", folder, "--repo", REPO]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, env=environment, **pipes) as process:
        url = process.stdout.readline().strip()
        back = client(SimpleNamespace(url=url)).snapshot_download(REPO, cache_dir=tmp_path / "cache")
        assert contents(back) == contents(folder)
        process.stdin.close()
        assert process.wait(10) == 0
