"""Credentials, from the files and programs of other tools."""

import base64
import json

import pytest

from vertebra.errors import SettingsError
from vertebra_oci.login import login_of

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


def test_a_store_that_is_not_installed_matters_only_if_no_other_file_has_the_registry(nobody):
    (nobody / "config.json").write_text(json.dumps({"credsStore": "of-another-machine"}))
    with pytest.raises(SettingsError, match="docker-credential-of-another-machine is not installed"):
        login_of(HOST)
    podman = nobody.parent / ".config" / "containers" / "auth.json"
    podman.parent.mkdir(parents=True)
    podman.write_text(json.dumps({"auths": {HOST: entry()}}))
    assert found() == ("acme", "no-secret")


def test_the_nearest_part_of_a_registry_counts(nobody):
    users = {HOST: "all", f"{HOST}/acme": "acme", f"{HOST}/acme/bert": "bert"}
    (nobody / "config.json").write_text(json.dumps({"auths": {key: entry(user) for key, user in users.items()}}))
    repositories = ("acme/bert", "acme/bert-large", "acme", "other/bert")
    assert [login_of(HOST, name).user for name in repositories] == ["bert", "acme", "acme", "all"]
