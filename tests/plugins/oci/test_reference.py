"""Handles, and the texts that mean them."""

import pytest

from vertebra import PresetHandle
from vertebra.errors import HandleError, PresetNotFoundError
from vertebra_oci.reference import reference_of
from vertebra_oci.source import OciSource

DIGEST = f"sha256:{'a' * 64}"


@pytest.mark.parametrize(
    ("text", "base", "reference"),
    [
        ("ghcr.io/acme/bert", "https://ghcr.io", "ghcr.io/acme/bert:latest"),
        ("ghcr.io/acme/bert:v1.0", "https://ghcr.io", "ghcr.io/acme/bert:v1.0"),
        ("ghcr.io/acme/bert@v1.0", "https://ghcr.io", "ghcr.io/acme/bert:v1.0"),
        (f"ghcr.io/acme/bert@{DIGEST}", "https://ghcr.io", f"ghcr.io/acme/bert@{DIGEST}"),
        (f"ghcr.io/acme/bert:v1@{DIGEST}", "https://ghcr.io", f"ghcr.io/acme/bert@{DIGEST}"),
        ("docker.io/acme/bert", "https://registry-1.docker.io", "docker.io/acme/bert:latest"),
        ("localhost/bert", "http://localhost", "localhost/bert:latest"),
        ("127.0.0.1:5000/a/b/c:1", "http://127.0.0.1:5000", "127.0.0.1:5000/a/b/c:1"),
        ("registry.test:80/bert", "http://registry.test:80", "registry.test:80/bert:latest"),
        ("registry.test/bert", "https://registry.test", "registry.test/bert:latest"),
    ],
)
def test_references(monkeypatch, text, base, reference):
    monkeypatch.setenv("OCI_PLAIN_HTTP", "other.test, registry.test:80")
    parsed = reference_of(PresetHandle.parse(f"oci://{text}"))
    assert (parsed.base, str(parsed)) == (base, reference)


@pytest.mark.parametrize(
    "text",
    [
        *("acme/bert", "ghcr.io", "ghcr.io/Acme/bert", "ghcr.io/acme//bert", "ghcr.io/acme/bert:", "ghcr.io/a:b/c"),
        *("ghcr.io/acme/-bert", "ghcr.io/bert:é", "user:password/acme/bert", "ghcr.io:port/bert"),
    ],
)
def test_no_references(text):
    with pytest.raises(HandleError):
        reference_of(PresetHandle.parse(f"oci://{text}"))


@pytest.mark.parametrize("text", ["ghcr.io/bert:v1@v2", "ghcr.io/bert@sha256:abc", "ghcr.io/bert@a/b"])
def test_no_revisions(text):
    with pytest.raises(PresetNotFoundError, match="is not a digest, or one of two tags"):
        reference_of(PresetHandle.parse(f"oci://{text}"))


@pytest.mark.parametrize(
    ("text", "handle"),
    [
        ("docker://ghcr.io/acme/bert:v1", "oci://ghcr.io/acme/bert:v1"),
        ("oras://registry.example.org/acme/bert", "oci://registry.example.org/acme/bert"),
        (f"ghcr.io/acme/bert@{DIGEST}", f"oci://ghcr.io/acme/bert@{DIGEST}"),
        ("https://ghcr.io/acme/bert", "oci://ghcr.io/acme/bert"),
        ("https://hub.docker.com/r/acme/bert", "oci://docker.io/acme/bert"),
        ("localhost:5000/acme/bert:v1", "oci://localhost:5000/acme/bert:v1"),
        ("team.azurecr.io/bert", "oci://team.azurecr.io/bert"),
        ("1234.dkr.ecr.eu-west-1.amazonaws.com/bert:v1", "oci://1234.dkr.ecr.eu-west-1.amazonaws.com/bert:v1"),
        ("https://acme.s3.amazonaws.com/bert", None),
        ("acme/bert", None),
        ("https://huggingface.co/acme/bert", None),
        ("hf://ghcr.io/bert", None),
    ],
)
def test_suggestions(text, handle):
    assert OciSource().suggest(text) == handle
