"""Who may not have a preset is told why, and what to do (NW-07)."""

import pytest

from servers import faults
from vertebra import PresetHandle
from vertebra.errors import PresetAccessError, PresetNotFoundError, SettingsError, SourceUnavailableError
from vertebra.testing import opened

REPO = "acme/bert"
HANDLE = PresetHandle("hf", REPO)
FILES = {"config.json": b"{}", "model.safetensors": bytes(range(251)) * 200}
TOKEN = "hf_goodgoodgoodgood"


@pytest.fixture
def hub(hub):
    hub.commit(REPO, FILES)
    return hub


@pytest.fixture
def log_in(monkeypatch):
    return lambda token: monkeypatch.setenv("HF_TOKEN", token)


def test_a_refused_token_does_not_keep_anybody_from_what_is_public(hub, fetch, log_in, caplog):
    log_in("hf_expired")
    assert fetch(f"hf://{REPO}") == FILES["model.safetensors"]
    sent = ["authorization" in request.headers for request in hub.requests]
    assert sent == [True, False, False]  # it is tried once, and not with every file
    assert caplog.text.count("The Hugging Face token was refused") == 1
    assert "hf_expired" not in caplog.text


def test_another_token_is_tried(hub, source, fetch, log_in):
    hub.private(REPO)
    log_in("hf_expired")
    with pytest.raises(PresetAccessError, match=r"the token was refused .*hf auth login"):
        source.resolve_snapshot(HANDLE)
    log_in(TOKEN)
    assert fetch(f"hf://{REPO}", "config.json") == b"{}"


@pytest.mark.parametrize("origin", ["environment", "file"])
def test_a_token_opens_what_is_private(hub, client, fetch, log_in, origin, tmp_path):
    hub.private(REPO)
    if origin == "file":
        (tmp_path / "home").mkdir(exist_ok=True)
        (tmp_path / "home" / "token").write_text(f"{TOKEN}\n")
    else:
        log_in(TOKEN)
    assert fetch(f"hf://{REPO}") == FILES["model.safetensors"]


@pytest.mark.parametrize(
    ("token", "words"),
    [(None, ["does not exist, or is private", "hf auth login"]), (TOKEN, ["private and your account has no access"])],
)
def test_a_missing_repository(hub, source, log_in, token, words):
    if token:
        log_in(token)
    with pytest.raises(PresetNotFoundError) as raised:
        source.resolve_snapshot(PresetHandle("hf", "acme/missing"))
    assert all(word in str(raised.value) for word in words)


def test_a_missing_revision(hub, source):
    with pytest.raises(PresetNotFoundError, match="has no revision 'v9'"):
        source.resolve_snapshot(PresetHandle("hf", REPO, "v9"))


def test_a_revision_in_the_middle_is_explained(hub, source):
    with pytest.raises(PresetNotFoundError, match="revision comes last"):
        source.resolve_snapshot(PresetHandle.parse(f"hf://{REPO}@main/deep"))


@pytest.mark.parametrize(
    ("token", "words"),
    [
        (None, "gated, and you are not logged in"),
        ("hf_reader", "gated, and your account was not granted access"),
        ("hf_expired", "gated, and your token was refused"),
    ],
)
def test_a_gated_repository(hub, source, log_in, token, words):
    hub.gated(REPO, granted={TOKEN})
    if token:
        log_in(token)
    pinned = opened(source).resolve(HANDLE)  # its list is public
    with pytest.raises(PresetAccessError, match=words) as raised:
        opened(source).fetch(pinned, "model.safetensors")
    assert f"Ask for access at {hub.url}/{REPO}" in str(raised.value)
    assert ("hf auth login" in str(raised.value)) is (token != "hf_reader")
    log_in(TOKEN)
    assert opened(source).fetch(pinned, "model.safetensors").read_bytes() == FILES["model.safetensors"]


@pytest.mark.parametrize(
    ("fault", "error", "words"),
    [
        (faults.status(403, paths="/api/*"), PresetAccessError, "may not read"),
        (faults.status(404, paths="/api/*"), PresetNotFoundError, "does not exist"),
        (faults.status(503, 7, paths="/api/*"), SourceUnavailableError, "HTTP 503"),
        (faults.status(429, paths="/api/*"), SourceUnavailableError, "HTTP 429"),
    ],
    ids=str,
)
def test_what_others_than_the_hub_answer(hub, source, fault, error, words):
    hub.faults = [fault]
    with pytest.raises(error, match=words) as raised:
        source.resolve_snapshot(HANDLE)
    if "503" in words:
        assert raised.value.retry_after == 7


def test_the_hubs_own_way_to_ask_for_a_break():
    from vertebra_hf.error_mapping import refusal

    headers = {"ratelimit": '"api";r=0;t=55', "ratelimit-policy": '"fixed window";"api";q=500;w=300'}
    assert refusal(HANDLE, REPO, "https://hub", 429, headers, "none").retry_after == 55


def test_a_repository_that_was_disabled():
    from vertebra_hf.error_mapping import refusal

    headers = {"x-error-message": "Access to this resource is disabled."}
    error = refusal(HANDLE, REPO, "https://hub", 403, headers, "accepted")
    assert isinstance(error, PresetAccessError)
    assert "disabled" in str(error)


# === Tokens that cannot be sent ===

UNSENDABLE = [f"{TOKEN}é", f'"{TOKEN}"', f"'{TOKEN}'", f"Bearer {TOKEN}", f"{TOKEN} x"]


@pytest.mark.parametrize("variable", ["HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "the file"])
@pytest.mark.parametrize("token", UNSENDABLE, ids=ascii)
def test_a_token_that_cannot_be_sent_is_named_and_not_shown(hub, source, monkeypatch, tmp_path, token, variable):
    hub.commit(REPO, FILES)
    if variable == "the file":
        (tmp_path / "home").mkdir()
        (tmp_path / "home" / "token").write_text(token, encoding="utf-8")
        variable = str(tmp_path / "home" / "token")
    else:
        monkeypatch.setenv(variable, token)
    with pytest.raises(SettingsError) as caught:
        source.resolve_snapshot(HANDLE)
    assert caught.value.origin == variable
    assert TOKEN not in str(caught.value)
    assert hub.requests == []


def test_a_file_of_a_token_that_is_no_text_is_named(hub, source, tmp_path):
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "token").write_bytes(b"\xff\xfe" + TOKEN.encode("utf-16-le"))
    with pytest.raises(SettingsError, match="it is not a text file") as caught:
        source.resolve_snapshot(HANDLE)
    assert caught.value.origin == str(tmp_path / "home" / "token")


def test_line_breaks_around_a_token_are_no_part_of_it(hub, client, fetch, log_in):
    log_in(f" {TOKEN}\r\n")
    hub.commit(REPO, FILES)
    hub.private(REPO)
    assert fetch(f"hf://{REPO}", "config.json") == FILES["config.json"]
