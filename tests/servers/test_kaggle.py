"""The real clients of Kaggle against the server: what they read, what they write, and who they are."""

import contextlib

import pytest
import requests

from servers import faults
from servers.kaggle import KaggleServer
from servers.kaggle_client import connect

kagglehub = pytest.importorskip("kagglehub", reason="kagglehub is not installed")

from kagglehub import clients, exceptions  # noqa: E402  after the check that it is there
from kagglehub.handle import parse_model_handle  # noqa: E402
from kagglesdk.models.types import model_api_service as types  # noqa: E402

HANDLE = "acme/bert/pyTorch/base-en"
WEIGHTS = bytes(range(256)) * 500
FILES = {"config.json": b'{"a": 1}', "empty.txt": b"", "assets/tokenizer/vocabulary.txt": b"[UNK]\n", "w.bin": WEIGHTS}


@pytest.fixture
def kaggle(monkeypatch, tmp_path):
    with KaggleServer(users={"acme": "secret", "other": "different"}) as server:
        connect(server, monkeypatch, tmp_path)
        yield server


@pytest.fixture
def sign_in(kaggle, monkeypatch):
    """Makes the clients use the token of a user."""
    return lambda user: monkeypatch.setenv("KAGGLE_API_TOKEN", kaggle.users[user])


@contextlib.contextmanager
def api():
    with clients.build_kaggle_client() as client:
        yield client.models.model_api_client


def asked(request_type, handle=HANDLE, **fields):
    """Returns a request about an instance, or a version of one."""
    parsed = parse_model_handle(handle)
    request = request_type()
    request.owner_slug, request.model_slug = parsed.owner, parsed.model
    request.framework, request.instance_slug = parsed.framework_enum(), parsed.variation
    if parsed.version:
        request.version_number = parsed.version
    for name, value in fields.items():
        setattr(request, name, value)
    return request


def newest():
    with api() as models:
        return models.get_model_instance(asked(types.ApiGetModelInstanceRequest)).version_number


def link(path, version=1):
    """Returns the link to a file on the storage, as the API gives it."""
    with api() as models:
        request = asked(types.ApiDownloadModelInstanceVersionRequest, f"{HANDLE}/{version}", path=path)
        with models.download_model_instance_version(request) as response:
            return response.url


def folder_of(tmp_path, files):
    folder = tmp_path / "model"
    for path, content in files.items():
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    return folder


def contents(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def download(tmp_path, handle=HANDLE):
    folder = tmp_path / "downloaded"
    kagglehub.model_download(handle, output_dir=str(folder))
    return {path: content for path, content in contents(folder).items() if not path.startswith(".complete")}


# === Reading ===


def test_a_version_is_downloaded(kaggle, tmp_path):
    assert kaggle.publish(HANDLE, FILES) == 1
    assert kaggle.publish(HANDLE, {"config.json": b"{}"}) == 2
    assert download(tmp_path, f"{HANDLE}/1") == FILES


def test_many_files_are_downloaded_as_an_archive(kaggle, tmp_path):
    files = {f"part/{number}.bin": bytes([number]) for number in range(26)}
    kaggle.publish(HANDLE, files)
    assert download(tmp_path) == files
    assert len(kaggle.storage.requests) == 1


def test_the_newest_version(kaggle):
    kaggle.publish(HANDLE, FILES)
    assert newest() == 1
    kaggle.publish(HANDLE, FILES)
    assert newest() == 2


@pytest.mark.parametrize("page_size", [1, 3, 4, 100])
def test_files_are_listed_in_pages(kaggle, page_size):
    kaggle.publish(HANDLE, FILES)
    request = asked(types.ApiListModelInstanceVersionFilesRequest, f"{HANDLE}/1", page_size=page_size)
    listed = {}
    with api() as models:
        while True:
            page = models.list_model_instance_version_files(request)
            listed |= {file.name: file.size for file in page.files}
            if not page.next_page_token:
                break
            request.page_token = page.next_page_token
    assert listed == {path: len(content) for path, content in FILES.items()}
    assert len(kaggle.requests) == -(-len(FILES) // page_size)


def test_a_file_comes_from_another_origin_without_the_token(kaggle, sign_in):
    kaggle.publish(HANDLE, FILES)
    sign_in("acme")
    url = link("assets/tokenizer/vocabulary.txt")
    assert url.startswith(f"{kaggle.storage.url}/")
    assert kaggle.requests[-1].headers["authorization"] == "Bearer secret"
    assert "authorization" not in kaggle.storage.requests[-1].headers
    assert requests.get(url, timeout=5).content == FILES["assets/tokenizer/vocabulary.txt"]
    refused = requests.get(url, headers={"Authorization": "Bearer secret"}, timeout=5)
    assert refused.status_code == 400


def test_a_file_is_read_from_an_offset(kaggle):
    kaggle.publish(HANDLE, FILES)
    response = requests.get(link("w.bin"), headers={"Range": "bytes=1000-"}, stream=True, timeout=5)
    assert response.status_code == 206
    assert response.headers["Content-Range"] == f"bytes 1000-{len(WEIGHTS) - 1}/{len(WEIGHTS)}"
    assert b"".join(response.iter_content(10_000)) == WEIGHTS[1000:]


def test_links_expire(kaggle):
    kaggle.publish(HANDLE, FILES)
    url = link("config.json")
    kaggle.storage.expire_links()
    assert requests.get(url, timeout=5).status_code == 400
    assert requests.get(link("config.json"), timeout=5).status_code == 200


# === Writing ===


@pytest.mark.parametrize("count", [3, 51])
def test_what_is_uploaded_comes_back(kaggle, sign_in, tmp_path, count):
    """51 files are uploaded in one archive."""
    files = {**FILES, **{f"shards/{number}": bytes([number]) for number in range(count - len(FILES))}}
    sign_in("acme")
    kagglehub.model_upload(HANDLE, str(folder_of(tmp_path, files)), license_name="Apache 2.0")
    assert kaggle.files(HANDLE) == files
    assert download(tmp_path) == files


def test_another_upload_is_another_version(kaggle, sign_in, tmp_path):
    sign_in("acme")
    folder = folder_of(tmp_path, {"config.json": b"1"})
    kagglehub.model_upload(HANDLE, str(folder))
    (folder / "config.json").write_bytes(b"2")
    kagglehub.model_upload(HANDLE, str(folder))
    assert newest() == 2
    assert [kaggle.files(HANDLE, version)["config.json"] for version in (1, 2)] == [b"1", b"2"]


def test_an_upload_goes_on_after_its_connection_broke(kaggle, sign_in, tmp_path, monkeypatch):
    monkeypatch.setattr("time.sleep", lambda _: None)
    kaggle.faults = [faults.reset(paths="/uploads/*", methods=("PUT",), times=1)]
    sign_in("acme")
    kagglehub.model_upload(HANDLE, str(folder_of(tmp_path, {"w.bin": WEIGHTS})))
    assert kaggle.files(HANDLE) == {"w.bin": WEIGHTS}


def test_only_the_owner_uploads(kaggle, sign_in, tmp_path):
    sign_in("other")
    with pytest.raises(requests.HTTPError, match=r"Permission 'models\.create' was denied"):
        kagglehub.model_upload(HANDLE, str(folder_of(tmp_path, FILES)))


# === Who may have what ===


def status_of_download():
    try:
        link("config.json")
    except requests.HTTPError as error:
        return error.response.status_code, str(error)
    return 200, ""


def test_a_private_model_is_for_its_owner(kaggle, sign_in):
    kaggle.publish(HANDLE, FILES)
    kaggle.private("acme/bert")
    assert status_of_download() == (403, "Permission 'models.get' was denied")
    sign_in("other")
    assert status_of_download()[0] == 403
    sign_in("acme")
    assert status_of_download()[0] == 200


def test_a_name_and_its_key_are_as_good_as_a_token(kaggle, monkeypatch):
    kaggle.publish(HANDLE, FILES)
    kaggle.private("acme/bert")
    monkeypatch.setenv("KAGGLE_USERNAME", "acme")
    monkeypatch.setenv("KAGGLE_KEY", "secret")
    assert status_of_download()[0] == 200
    monkeypatch.setenv("KAGGLE_KEY", "wrong")
    assert status_of_download() == (401, "Unauthenticated")


def test_a_wrong_token_is_refused_even_for_a_public_model(kaggle, monkeypatch):
    kaggle.publish(HANDLE, FILES)
    monkeypatch.setenv("KAGGLE_API_TOKEN", "expired")
    assert status_of_download() == (401, "Unauthenticated")


def test_terms_must_be_accepted(kaggle, sign_in):
    kaggle.publish(HANDLE, FILES)
    kaggle.terms("acme/bert", accepted=["other"])
    assert newest() == 1
    assert status_of_download()[0] == 403
    sign_in("other")
    assert status_of_download()[0] == 200


@pytest.mark.parametrize("handle", ["acme/gpt", "acme/bert/keras/base-en", "acme/bert/pyTorch/large", f"{HANDLE}/2"])
def test_what_is_missing(kaggle, handle):
    kaggle.publish(HANDLE, FILES)
    handle = handle if handle.count("/") > 1 else f"{handle}/keras/base"
    with pytest.raises(exceptions.KaggleApiHTTPError, match="Resource not found") as error:
        kagglehub.model_download(handle)
    assert error.value.response.status_code == 404


def test_a_missing_file(kaggle):
    kaggle.publish(HANDLE, FILES)
    with pytest.raises(requests.HTTPError) as error:
        link("other.json")
    assert error.value.response.status_code == 404


# === Faults ===


def test_a_file_with_a_flipped_bit(kaggle, tmp_path):
    kaggle.publish(HANDLE, FILES)
    kaggle.faults = [faults.flip_bit(7, files="*.bin")]
    with pytest.raises(exceptions.DataCorruptionError):
        download(tmp_path)


def test_a_connection_that_breaks(kaggle):
    kaggle.publish(HANDLE, FILES)
    url = link("w.bin")
    kaggle.faults = [faults.cut(0.5, files="w.bin", times=1)]
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        requests.get(url, timeout=5)
    assert requests.get(url, timeout=5).content == WEIGHTS


def test_a_call_that_fails(kaggle):
    kaggle.publish(HANDLE, FILES)
    kaggle.faults = [faults.status(503, paths="*/GetModelInstance", methods=("POST",), times=1)]
    with pytest.raises(requests.HTTPError, match="503"):
        newest()
    assert newest() == 1
