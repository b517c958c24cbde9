"""Who may not have a preset is told why, and what to do (NW-07)."""

import json

import pytest

from servers import faults
from vertebra import PresetHandle
from vertebra.errors import (
    PresetAccessError,
    PresetError,
    PresetNotFoundError,
    SettingsError,
    SourceUnavailableError,
)
from vertebra.testing import opened

VARIATION = "acme/bert/keras/small"
HANDLE = PresetHandle("kaggle", VARIATION)
FILES = {"config.json": b"{}", "model.safetensors": bytes(range(251)) * 200}
EXPIRED = "KGAT_expiredexpired"
LIST = {"paths": "*/GetModelInstance", "methods": ("POST",)}


@pytest.fixture
def kaggle(kaggle):
    kaggle.publish(VARIATION, FILES)
    return kaggle


def test_refused_credentials_do_not_keep_anybody_from_what_is_public(kaggle, fetch, log_in, caplog):
    log_in(EXPIRED)
    assert fetch(f"kaggle://{VARIATION}") == FILES["model.safetensors"]
    sent = ["authorization" in request.headers for request in kaggle.requests]
    assert sent == [True, False, False, False]  # they are tried once, and not with every question
    assert caplog.text.count("The Kaggle credentials were refused") == 1
    assert EXPIRED not in caplog.text


def test_other_credentials_are_tried(kaggle, source, fetch, log_in):
    kaggle.private("acme/bert")
    log_in(EXPIRED)
    with pytest.raises(PresetAccessError, match=r"your credentials were refused .*KAGGLE_API_TOKEN") as raised:
        source.resolve_snapshot(HANDLE)
    assert EXPIRED not in str(raised.value)
    log_in(kaggle.users["acme"])
    assert fetch(f"kaggle://{VARIATION}", "config.json") == b"{}"


@pytest.mark.parametrize("storage", ["token", "token file", "name and key", "access_token", "kaggle.json", "login"])
def test_credentials_are_found_where_the_client_finds_them(kaggle, client, fetch, monkeypatch, tmp_path, storage):
    kaggle.private("acme/bert")
    key, folder = kaggle.users["acme"], tmp_path / "home" / ".kaggle"
    folder.mkdir(parents=True, exist_ok=True)
    if storage == "token":
        monkeypatch.setenv("KAGGLE_API_TOKEN", key)
    elif storage == "token file":
        (tmp_path / "token").write_text(key)
        monkeypatch.setenv("KAGGLE_API_TOKEN", str(tmp_path / "token"))
    elif storage == "name and key":
        monkeypatch.setenv("KAGGLE_USERNAME", "acme")
        monkeypatch.setenv("KAGGLE_KEY", key)
    elif storage == "access_token":
        (folder / "access_token").write_text(key)
    elif storage == "kaggle.json":
        (folder / "kaggle.json").write_text(json.dumps({"username": "acme", "key": key}))
    else:
        monkeypatch.setattr(client.config, "_kaggle_credentials", None)
        client.config.set_kaggle_api_token(key)
    assert fetch(f"kaggle://{VARIATION}") == FILES["model.safetensors"]


@pytest.mark.parametrize("text", ["{", "{}", '{"username": "acme"}'])
def test_a_file_of_credentials_that_is_unsound_is_named(kaggle, source, tmp_path, text):
    (tmp_path / "home" / ".kaggle").mkdir(parents=True)
    (tmp_path / "home" / ".kaggle" / "kaggle.json").write_text(text)
    with pytest.raises(SettingsError, match=r"kaggle\.json"):
        source.resolve_snapshot(HANDLE)


def test_a_token_that_the_client_cannot_read_is_named_and_not_shown(kaggle, source, monkeypatch):
    monkeypatch.setenv("KAGGLE_API_TOKEN", "secret" * 100)  # the client takes it for a path, which is too long
    with pytest.raises(SettingsError) as caught:
        source.resolve_snapshot(HANDLE)
    assert caught.value.origin == "KAGGLE_API_TOKEN"
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("storage", ["token", "access_token", "name", "key", "kaggle.json"])
@pytest.mark.parametrize("change", ["{}é", '"{}"', "Bearer {}", "{}\n{}"], ids=ascii)
def test_credentials_that_cannot_be_sent_are_named_and_not_shown(
    kaggle, source, monkeypatch, tmp_path, storage, change
):
    key, folder = kaggle.users["acme"], tmp_path / "home" / ".kaggle"
    folder.mkdir(parents=True, exist_ok=True)
    text = change.format(key, key)
    if storage == "token":
        monkeypatch.setenv("KAGGLE_API_TOKEN", text)
    elif storage == "access_token":
        (folder / "access_token").write_text(text, encoding="utf-8")
    elif storage == "kaggle.json":
        (folder / "kaggle.json").write_text(json.dumps({"username": "acme", "key": text}))
    else:
        monkeypatch.setenv("KAGGLE_USERNAME", text if storage == "name" else "acme")
        monkeypatch.setenv("KAGGLE_KEY", text if storage == "key" else key)
    with pytest.raises(SettingsError) as caught:
        source.resolve_snapshot(HANDLE)
    named = {"token": "KAGGLE_API_TOKEN", "name": "KAGGLE_USERNAME", "key": "KAGGLE_KEY"}
    assert caught.value.origin == named.get(storage, storage)
    assert key not in str(caught.value)
    assert kaggle.requests == []


@pytest.mark.parametrize(
    ("user", "words"),
    [(None, "does not exist, or is private .*get a token at"), ("other", "private and your account has no access")],
)
def test_a_private_model(kaggle, source, log_in, user, words):
    kaggle.private("acme/bert")
    if user:
        log_in(kaggle.users[user])
    with pytest.raises(PresetAccessError, match=words):
        source.resolve_snapshot(HANDLE)


@pytest.mark.parametrize("user", [None, "acme"])
@pytest.mark.parametrize("path", ["acme/gpt/keras/small", "acme/bert/pyTorch/small", "acme/bert/keras/large"])
def test_what_is_missing(kaggle, source, log_in, user, path):
    if user:
        log_in(kaggle.users[user])
    for handle in (PresetHandle("kaggle", path), PresetHandle("kaggle", f"{path}/1")):
        with pytest.raises(PresetNotFoundError, match="no such model") as raised:
            source.resolve_snapshot(handle)
        assert ("KAGGLE_API_TOKEN" in str(raised.value)) is (user is None)


def test_a_version_that_is_missing(source, kaggle):
    with pytest.raises(PresetNotFoundError, match="the newest version is 1"):
        source.resolve_snapshot(PresetHandle("kaggle", f"{VARIATION}/2"))


def test_a_file_that_is_listed_and_missing(kaggle, source):
    kaggle.faults = [faults.status(404, paths="*/DownloadModelInstanceVersion", methods=("POST",))]
    with pytest.raises(PresetNotFoundError, match="a file that it does not have"):
        opened(source).fetch(opened(source).resolve(HANDLE), "config.json")


@pytest.mark.parametrize(
    ("token", "words"),
    [
        (None, "must be accepted, and you are not logged in"),
        ("other", "your account has not accepted its terms"),
        (EXPIRED, "your credentials were refused"),
    ],
)
def test_terms_that_were_not_accepted(kaggle, source, log_in, token, words):
    kaggle.terms("acme/bert", accepted=["acme"])
    if token:
        log_in(kaggle.users.get(token, token))
    pinned = opened(source).resolve(HANDLE)  # its list is public
    with pytest.raises(PresetAccessError, match=words) as raised:
        opened(source).fetch(pinned, "model.safetensors")
    assert f"Accept them at {kaggle.url}/models/acme/bert" in str(raised.value)
    assert ("KAGGLE_API_TOKEN" in str(raised.value)) is (token != "other")
    log_in(kaggle.users["acme"])
    assert opened(source).fetch(pinned, "model.safetensors").read_bytes() == FILES["model.safetensors"]


@pytest.mark.parametrize(
    ("fault", "error", "words"),
    [
        (faults.status(503, 7, **LIST), SourceUnavailableError, "HTTP 503"),
        (faults.status(429, **LIST), SourceUnavailableError, "HTTP 429"),
        (faults.status(418, **LIST), PresetError, "HTTP 418"),
    ],
    ids=str,
)
def test_what_else_kaggle_answers(kaggle, source, fault, error, words):
    kaggle.faults = [fault]
    with pytest.raises(error, match=words) as raised:
        source.resolve_snapshot(HANDLE)
    if "503" in words:
        assert raised.value.retry_after == 7
