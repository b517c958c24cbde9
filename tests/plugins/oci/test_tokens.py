"""Tokens of a registry, which the user's credentials are exchanged for."""

import base64
import json
import time

import pytest

from servers import faults
from servers.http import LoopbackServer
from servers.messages import Content, Response
from servers.proxy import FaultProxy
from vertebra import PresetHandle
from vertebra.errors import PresetAccessError, RedirectRefusedError, SettingsError, SourceUnavailableError
from vertebra.http import redirects
from vertebra.testing import opened

FILES = {"config.json": b'{"layers": 2}'}


@pytest.fixture
def guarded(private):
    """A registry that wants tokens, behind a proxy."""
    with FaultProxy(private) as proxy:
        proxy.registry = f"127.0.0.1:{proxy.port}"
        yield proxy


@pytest.fixture
def publish(guarded, tokens, log_in, source, write, repository, nobody):
    """Publishes files, as the user, in a repository that begins with a text; nobody is logged in then."""

    def publish(beginning=""):
        log_in(guarded.registry, "acme", tokens.users["acme"])
        handle = PresetHandle("oci", f"{guarded.registry}/{beginning}{repository}")
        source.upload(handle, write(FILES), False, "message")
        (nobody / "config.json").unlink()
        return handle

    return publish


@pytest.fixture
def other_source(cache):
    """A source without tokens."""
    from vertebra_oci.source import OciSource

    return OciSource()


def test_public_repositories_need_no_login(publish, other_source):
    pinned = opened(other_source).resolve(publish("public/"))
    assert opened(other_source).fetch(pinned, "config.json").read_bytes() == FILES["config.json"]


def test_a_failing_helper_matters_only_where_credentials_are_needed(publish, guarded, other_source, nobody, helper):
    public, private = publish("public/"), publish()
    helper("exit 1")
    (nobody / "config.json").write_text(json.dumps({"credsStore": "tests"}))
    assert opened(other_source).resolve(public).revision
    with pytest.raises(SettingsError, match="its credential helper docker-credential-tests returned no credentials"):
        opened(other_source).resolve(private)


def test_a_private_repository_without_a_login_is_an_error_that_says_so(publish, guarded, other_source):
    problem = (
        r"does not let you read acme/bert[\d-]+ \(HTTP 401; no credentials were found\). Log in with: docker login"
    )
    with pytest.raises(PresetAccessError, match=problem):
        opened(other_source).resolve(publish())


def test_an_upload_without_a_login_is_an_error_that_says_so(publish, other_source, write):
    handle = publish("public/")
    with pytest.raises(PresetAccessError, match="does not let you write to public/acme"):
        other_source.upload(PresetHandle("oci", f"{handle.path}:v2"), write({"config.json": b"[]"}), False, "message")


def test_a_wrong_password_is_an_error_that_names_its_file(publish, guarded, other_source, log_in, nobody):
    handle = publish()
    log_in(guarded.registry, "acme", "other-secret")
    with pytest.raises(PresetAccessError, match="the credentials come from ") as raised:
        opened(other_source).resolve(handle)
    assert str(nobody / "config.json") in str(raised.value)
    assert "other-secret" not in str(raised.value)


def test_an_identity_token_is_exchanged(publish, guarded, tokens, other_source, nobody):
    handle = publish()
    fields = {"identitytoken": tokens.users["acme"]}
    (nobody / "config.json").write_text(json.dumps({"auths": {guarded.registry: fields}}))
    assert opened(other_source).resolve(handle).revision


def test_a_token_is_used_until_it_expires(publish, tokens, other_source, monkeypatch):
    handle = publish("public/")
    tokens.clear()
    for _ in range(3):
        other_source.resolve_snapshot(handle)
    assert len(tokens.requests) == 1
    later = time.monotonic() + 3_600
    monkeypatch.setattr(time, "monotonic", lambda: later)
    other_source.resolve_snapshot(handle)
    assert len(tokens.requests) == 2


@pytest.mark.parametrize("seconds", [10**400, "NaN", "Infinity", -1])
def test_a_lifetime_of_a_token_may_be_any_number(publish, guarded, other_source, seconds):
    handle = publish("public/")
    answer = f'{{"token": "none", "expires_in": {seconds}}}'.encode()
    with Answering(Response(200, {"Content-Type": "application/json"}, Content.of(answer))) as service:
        guarded.faults = [challenge(f'Bearer realm="{service.url}/token"')]
        with pytest.raises(PresetAccessError, match="HTTP 401"):
            other_source.resolve_snapshot(handle)


@pytest.mark.parametrize("realm", ["ftp://127.0.0.1/token", "", "http://[", "http://169.254.169.254/token"])
def test_a_token_service_that_must_not_be_asked(guarded, log_in, other_source, repository, realm):
    log_in(guarded.registry, "acme", "no-secret-at-all")
    guarded.faults = [challenge(f'Bearer realm="{realm}",service="x"')]
    with pytest.raises((RedirectRefusedError, SourceUnavailableError, PresetAccessError)):
        other_source.resolve_snapshot(PresetHandle("oci", f"{guarded.registry}/{repository}"))


@pytest.mark.parametrize("host", ["93.184.216.34", "localhost:x@93.184.216.34", "93.184.216.34:5000"])
def test_credentials_go_to_a_token_service_without_encryption_only_if_the_user_says_so(
    guarded, log_in, other_source, repository, host
):
    """The registry of this machine, which is read without encryption, names one of another, which is not asked."""
    log_in(guarded.registry, "acme", "no-secret-at-all")
    guarded.faults = [challenge(f'Bearer realm="http://{host}/token"')]
    with pytest.raises(RedirectRefusedError, match=r"which is not encrypted.*set OCI_PLAIN_HTTP to its host"):
        other_source.resolve_snapshot(PresetHandle("oci", f"{guarded.registry}/{repository}"))


def test_no_credentials_are_sent_to_a_token_service_before_its_address_is_checked(
    guarded, log_in, other_source, repository, monkeypatch
):
    """The names say that the registry is public, and the connection shows that its service is in this network."""
    log_in(guarded.registry, "acme", "no-secret-at-all")
    public = redirects.addresses("93.184.216.34")
    monkeypatch.setattr(redirects, "addresses", lambda host, local_names=True: public)
    with Answering(Response.json({"token": "x"})) as service:
        guarded.faults = [challenge(f'Bearer realm="{service.url}/token"')]
        with pytest.raises(RedirectRefusedError, match=r"inside this network \(127\.0\.0\.1\)"):
            other_source.resolve_snapshot(PresetHandle("oci", f"{guarded.registry}/{repository}"))
        assert service.requests == []


@pytest.mark.parametrize("text", ["", "Negotiate", 'Digest realm="x"', 'Basic realm="x"'])
def test_a_challenge_that_cannot_be_answered_is_an_error(guarded, other_source, repository, text):
    guarded.faults = [challenge(text)]
    with pytest.raises(PresetAccessError, match="HTTP 401; no credentials were found"):
        other_source.resolve_snapshot(PresetHandle("oci", f"{guarded.registry}/{repository}"))


def test_a_basic_challenge_is_answered(guarded, log_in, other_source, repository):
    log_in(guarded.registry, "acme", "no-secret")
    guarded.faults = [challenge('Basic realm="x"')]
    with pytest.raises(PresetAccessError, match="HTTP 401; the credentials come from"):
        other_source.resolve_snapshot(PresetHandle("oci", f"{guarded.registry}/{repository}"))
    assert guarded.requests[-1].headers["authorization"] == f"Basic {base64.b64encode(b'acme:no-secret').decode()}"


@pytest.mark.parametrize("answer", [b"<html>", b"[]", b'{"token": 7}', b"{}"])
def test_a_service_without_tokens_is_an_error(guarded, other_source, repository, answer):
    with Answering(Response(200, {"Content-Type": "application/json"}, Content.of(answer))) as service:
        guarded.faults = [challenge(f'Bearer realm="{service.url}/token"')]
        with pytest.raises(SourceUnavailableError, match=r"sent (no token|no valid JSON|another document)"):
            other_source.resolve_snapshot(PresetHandle("oci", f"{guarded.registry}/{repository}"))


class Answering(LoopbackServer):
    """A service with one answer."""

    def __init__(self, answer):
        super().__init__()
        self.answer = answer

    def respond(self, request, body):
        return self.answer


def challenge(text):
    """A response that wants a login."""
    refused = Response.json({"errors": []}, 401, {"WWW-Authenticate": text} if text else {})
    return faults.Fault("challenge", lambda *_: refused, paths="*", answers=True)
