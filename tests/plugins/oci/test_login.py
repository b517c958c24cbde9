"""Credentials, from the files and programs of other tools; and tokens of a registry."""

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
from vertebra_oci.login import login_of

FILES = {"config.json": b'{"layers": 2}'}
HOST = "registry.test:5000"


def entry(user="acme", password="no-secret"):
    return {"auth": base64.b64encode(f"{user}:{password}".encode()).decode()}


def found(registry=HOST):
    login = login_of(registry)
    return login and (login.user, login.secret)


# === Files ===


@pytest.mark.parametrize("key", [HOST, f"https://{HOST}", f"https://{HOST}/v1/"])
def test_docker_s_file(nobody, key):
    (nobody / "config.json").write_text(json.dumps({"auths": {"other.test": entry("other"), key: entry()}}))
    assert found() == ("acme", "no-secret")
    assert found("third.test") is None


def test_docker_hub_has_a_key_of_its_own(nobody):
    (nobody / "config.json").write_text(json.dumps({"auths": {"https://index.docker.io/v1/": entry()}}))
    assert found("docker.io") == ("acme", "no-secret")


@pytest.mark.parametrize(
    ("fields", "login"),
    [
        ({"username": "acme", "password": "other"}, ("acme", "other")),
        ({**entry(), "identitytoken": "refresh"}, ("", "refresh")),
        ({}, None),
    ],
)
def test_entries(nobody, fields, login):
    (nobody / "config.json").write_text(json.dumps({"auths": {HOST: fields}}))
    assert found() == login


def test_the_first_that_has_the_registry_counts(nobody, tmp_path, monkeypatch):
    files = {"DOCKER_CONFIG": "docker/config.json", "XDG_RUNTIME_DIR": "run/containers/auth.json"}
    order = ["variable", "REGISTRY_AUTH_FILE", "DOCKER_CONFIG", "XDG_RUNTIME_DIR", "podman"]
    paths = {name: tmp_path / text for name, text in files.items()} | {"REGISTRY_AUTH_FILE": tmp_path / "auth.json"}
    paths["podman"] = nobody.parent / ".config" / "containers" / "auth.json"
    for name in ("REGISTRY_AUTH_FILE", *files):
        monkeypatch.setenv(name, str(paths[name] if name not in files else tmp_path / files[name].partition("/")[0]))
    monkeypatch.setenv("DOCKER_AUTH_CONFIG", json.dumps({"auths": {HOST: entry("variable")}}))
    for name, path in paths.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"auths": {HOST: entry(name)}}))
    seen = []
    for name in order:
        seen.append(found()[0])
        if name == "variable":
            monkeypatch.delenv("DOCKER_AUTH_CONFIG")
        else:
            paths[name].write_text('{"auths": {"other.test": {}}}')
    assert (seen, found()) == (order, None)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("<html>", "it is not the JSON of docker login"),
        ("[]", "it is not the JSON of docker login"),
        ('{"auths": [1]}', "it is not the JSON of docker login"),
        (json.dumps({"auths": {HOST: {"auth": "é"}}}), "its credentials are malformed"),
        (json.dumps({"auths": {HOST: {"username": 7, "password": 7}}}), "its credentials are malformed"),
        (json.dumps({"auths": {HOST: entry()}, "credsStore": "../x"}), "is not the name of a program"),
        (json.dumps({"credHelpers": {HOST: "missing-helper"}}), "docker-credential-missing-helper is not installed"),
    ],
)
def test_malformed_files_are_named(nobody, text, problem):
    (nobody / "config.json").write_text(text)
    with pytest.raises(SettingsError, match=problem) as raised:
        login_of(HOST)
    assert str(nobody / "config.json") in str(raised.value)
    assert "no-secret" not in str(raised.value)


def test_a_file_that_is_no_text_is_named(nobody):
    (nobody / "config.json").write_bytes(bytes(range(256)))
    with pytest.raises(SettingsError, match=r"config\.json.*cannot be read"):
        login_of(HOST)


@pytest.mark.parametrize("setting", ["credHelpers", "credsStore"])
@pytest.mark.parametrize(("user", "login"), [("acme", ("acme", "secret")), ("<token>", ("", "secret"))])
def test_credential_helpers(nobody, helper, setting, user, login):
    answer = json.dumps({"ServerURL": HOST, "Username": user, "Secret": "secret"})
    helper(f'test "$1" = get && test "$(cat)" = {HOST} && echo \'{answer}\'')
    config = (
        {"credHelpers": {HOST: "tests"}} if setting == "credHelpers" else {"auths": {HOST: {}}, "credsStore": "tests"}
    )
    (nobody / "config.json").write_text(json.dumps(config))
    assert found() == login


def test_an_empty_name_of_a_helper_means_the_file(nobody):
    settings = {"credHelpers": {HOST: ""}, "credsStore": "none", "auths": {HOST: entry()}}
    (nobody / "config.json").write_text(json.dumps(settings))
    assert found() == ("acme", "no-secret")


@pytest.fixture
def helper(nobody, tmp_path, monkeypatch):
    """Installs the credential helper `tests`, a shell script with these commands."""

    def helper(commands):
        program = tmp_path / "docker-credential-tests"
        program.write_text(f"#!/bin/sh\n{commands}\n")
        program.chmod(0o755)
        monkeypatch.setenv("PATH", str(tmp_path), prepend=":")

    return helper


def test_a_helper_that_fails_is_named(nobody, helper):
    helper("exit 1")
    (nobody / "config.json").write_text(json.dumps({"credHelpers": {HOST: "tests"}}))
    with pytest.raises(SettingsError, match=r"docker-credential-tests returned no credentials of registry\.test:5000"):
        login_of(HOST)


def test_a_helper_without_credentials_leaves_the_registry_to_the_next_file(nobody, helper):
    helper("echo credentials not found in native keychain\nexit 1")
    (nobody / "config.json").write_text(json.dumps({"credHelpers": {HOST: "tests"}}))
    assert found() is None
    podman = nobody.parent / ".config" / "containers" / "auth.json"
    podman.parent.mkdir(parents=True)
    podman.write_text(json.dumps({"auths": {HOST: entry()}}))
    assert found() == ("acme", "no-secret")


@pytest.mark.parametrize(("registry", "key"), [(HOST, HOST), ("docker.io", "https://index.docker.io/v1/")])
def test_the_store_of_all_credentials_is_asked_for_registries_that_the_file_does_not_list(
    nobody, helper, registry, key
):
    """oras's login does not list them."""
    helper(f"""test "$(cat)" = {key} && echo '{{"Username": "acme", "Secret": "secret"}}'""")
    (nobody / "config.json").write_text(json.dumps({"credsStore": "tests"}))
    assert found(registry) == ("acme", "secret")


def test_the_nearest_part_of_a_registry_counts(nobody):
    users = {HOST: "all", f"{HOST}/acme": "acme", f"{HOST}/acme/bert": "bert"}
    (nobody / "config.json").write_text(json.dumps({"auths": {key: entry(user) for key, user in users.items()}}))
    repositories = ("acme/bert", "acme/bert-large", "acme", "other/bert")
    assert [login_of(HOST, name).user for name in repositories] == ["bert", "acme", "acme", "all"]


# === Tokens ===


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


@pytest.mark.parametrize("host", ["192.0.2.1", "localhost:x@192.0.2.1", "192.0.2.1:5000"])
def test_credentials_go_to_a_token_service_without_encryption_only_if_the_user_says_so(
    guarded, log_in, other_source, repository, host
):
    """The registry of this machine, which is read without encryption, names a service of another one."""
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
    assert guarded.requests[-1].headers["authorization"] == f"Basic {entry()['auth']}"


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
