"""A real registry on the loopback interface, for the tests of the plugin."""

import base64
import itertools
import json
import os

import pytest

from servers import oci_registry
from servers.proxy import FaultProxy
from vertebra import PresetHandle

_counter = itertools.count()


@pytest.fixture(scope="package")
def registry():
    """One registry for all tests of the plugin, which anyone may read and write."""
    if reason := oci_registry.OciRegistry.missing():
        pytest.skip(reason)
    with oci_registry.OciRegistry() as registry:
        yield registry


@pytest.fixture(scope="package")
def tokens():
    """The service of tokens of `private`, with a user."""
    with oci_registry.TokenService({"acme": "no-secret-at-all"}) as tokens:
        yield tokens


@pytest.fixture(scope="package")
def private(tokens):
    """A registry that wants tokens."""
    if reason := oci_registry.OciRegistry.missing():
        pytest.skip(reason)
    with oci_registry.OciRegistry(tokens) as registry:
        yield registry


@pytest.fixture(autouse=True)
def nobody(tmp_path, monkeypatch):
    """The settings of a user without any; returns the folder of docker's."""
    for name in ("DOCKER_AUTH_CONFIG", "REGISTRY_AUTH_FILE", "DOCKER_CONFIG", "XDG_RUNTIME_DIR", "OCI_PLAIN_HTTP"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home" / ".docker").mkdir(parents=True)
    return tmp_path / "home" / ".docker"


@pytest.fixture
def log_in(nobody):
    """Writes credentials as docker does."""

    def log_in(registry, user, password):
        auth = base64.b64encode(f"{user}:{password}".encode()).decode()
        (nobody / "config.json").write_text(json.dumps({"auths": {registry: {"auth": auth}}}))

    return log_in


@pytest.fixture
def helper(nobody, tmp_path, monkeypatch):
    """Installs the credential helper `tests`, a shell script with these commands."""

    def helper(commands):
        program = tmp_path / "docker-credential-tests"
        program.write_text(f"#!/bin/sh\n{commands}\n")
        program.chmod(0o755)
        monkeypatch.setenv("PATH", str(tmp_path), prepend=":")

    return helper


@pytest.fixture
def proxy(registry):
    """The registry behind a proxy, which counts requests and has faults."""
    with FaultProxy(registry) as proxy:
        proxy.registry = f"127.0.0.1:{proxy.port}"
        yield proxy


@pytest.fixture
def repository():
    """The name of an unused repository."""
    return f"acme/bert-{os.getpid()}-{next(_counter)}"


@pytest.fixture
def destination(proxy, repository):
    """A handle with an unused repository, by way of the proxy."""
    return PresetHandle("oci", f"{proxy.registry}/{repository}")


@pytest.fixture
def source(cache):
    from vertebra_oci.source import OciSource

    return OciSource()
