"""Uploads to a real registry."""

import json

import pytest

from servers import faults
from servers.oci_registry import digest_of
from vertebra import PresetHandle
from vertebra.errors import HandleError, IntegrityError, PresetExistsError, RedirectRefusedError, SourceUnavailableError

FILES = {"config.json": b'{"layers": 2}', "model.safetensors": bytes(range(200)) * 20, "README.md": b"# Model"}
FILES |= {"assets/vocabulary.txt": b"one", "empty.txt": b""}


def sent_blobs(proxy):
    return [request.query["digest"] for request in proxy.requests if "digest" in request.query]


@pytest.fixture
def manifest(registry, repository):
    """Returns the manifest of a tag."""
    return lambda tag="latest": json.loads(registry.request("GET", f"/v2/{repository}/manifests/{tag}"))


def test_the_artifact_is_a_modelpack(source, destination, write, manifest, registry, repository):
    source.upload(destination, write(FILES), False, "message")
    document = manifest()
    assert document["artifactType"] == "application/vnd.cncf.model.manifest.v1+json"
    assert document["config"]["mediaType"] == "application/vnd.cncf.model.config.v1+json"
    kinds = {layer["annotations"]["org.cncf.model.filepath"]: layer["mediaType"] for layer in document["layers"]}
    assert {name: media.removeprefix("application/vnd.cncf.model.") for name, media in kinds.items()} == {
        "config.json": "weight.config.v1.raw",
        "model.safetensors": "weight.v1.raw",
        "README.md": "doc.v1.raw",
        "assets/vocabulary.txt": "weight.config.v1.raw",
        "empty.txt": "weight.config.v1.raw",
    }
    config = json.loads(registry.request("GET", f"/v2/{repository}/blobs/{document['config']['digest']}"))
    digests = [layer["digest"] for layer in document["layers"]]
    assert config["modelfs"] == {"type": "layers", "diffIds": digests}
    assert config.keys() == {"descriptor", "config", "modelfs"}  # the schema allows no others


def test_equal_files_are_published_once(source, destination, write, proxy):
    first = source.upload(destination, write(FILES), False, "one")
    proxy.clear()
    assert source.upload(destination, write(FILES), False, "two") == first
    assert {request.method for request in proxy.requests} == {"GET"}


def test_a_second_tag_sends_no_blob_again(source, destination, write, proxy, read):
    source.upload(destination, write(FILES), False, "message")
    proxy.clear()
    tagged = PresetHandle("oci", f"{destination.path}:v2")
    source.upload(tagged, write(FILES), False, "message")
    assert (sent_blobs(proxy), read(tagged)) == ([], FILES)


def test_an_interrupted_upload_goes_on(source, destination, write, proxy, read, registry, repository):
    proxy.faults = [faults.reset(paths="*/manifests/*", methods=("PUT",))]
    with pytest.raises(SourceUnavailableError):
        source.upload(destination, write(FILES), False, "message")
    with pytest.raises(RuntimeError, match="404"):  # nothing is published
        registry.request("GET", f"/v2/{repository}/manifests/latest")
    proxy.faults = []
    proxy.clear()
    source.upload(destination, write(FILES), False, "message")
    assert (sent_blobs(proxy), read(destination)) == ([], FILES)


@pytest.mark.parametrize("status", [500, 503, 429])
def test_a_registry_that_fails_is_unavailable(source, destination, write, proxy, status):
    proxy.faults = [faults.status(status, paths="*/blobs/uploads/*", methods=("PUT", "POST"))]
    with pytest.raises(SourceUnavailableError, match=f"HTTP {status}"):
        source.upload(destination, write(FILES), False, "message")


def test_another_artifact_keeps_its_tag(source, destination, write, read):
    first = source.upload(destination, write(FILES), False, "one")
    with pytest.raises(PresetExistsError, match="the tag 'latest' is of another artifact"):
        source.upload(destination, write({"config.json": b"[]"}), False, "two")
    source.upload(destination, write({"config.json": b"[]"}), True, "two")
    assert read(destination) == {"config.json": b"[]"}
    assert read(first) == FILES


def test_a_registry_that_changes_manifests_is_told(source, destination, write, proxy):
    def change(_, response):
        return response.with_headers(**{"Docker-Content-Digest": digest_of(b"changed")})

    proxy.faults = [faults.Fault("changed", change, paths="*/manifests/*", methods=("PUT",))]
    with pytest.raises(IntegrityError, match="Use a registry that does not change manifests"):
        source.upload(destination, write(FILES), False, "message")


def test_a_digest_is_no_target(source, destination, write, proxy):
    with pytest.raises(HandleError, match="digests are computed from the files"):
        source.upload(PresetHandle("oci", destination.path, digest_of(b"")), write(FILES), False, "message")
    assert proxy.requests == []


def test_the_upload_is_sent_where_the_registry_says_without_credentials_of_another(source, destination, write, proxy):
    """A registry may name another host for uploads; it gets the blob, and no credentials."""
    with type(proxy)(proxy.gateway) as other:
        moved = faults.Fault(
            "another host",
            lambda _, response: response.with_headers(
                Location=response.headers["Location"].replace(f":{proxy.port}", f":{other.port}")
            ),
            paths="*/blobs/uploads/",
            methods=("POST",),
        )
        proxy.faults = [moved]
        source.upload(destination, write(FILES), False, "message")
    assert len(sent_blobs(other)) == len(FILES) + 1
    assert not any("authorization" in request.headers for request in other.requests)


@pytest.mark.parametrize("target", ["http://169.254.169.254/x", "ftp://127.0.0.1/x", "http://["])
def test_nothing_is_sent_where_no_redirect_may_lead(source, destination, write, proxy, target):
    def change(_, response):
        return response.with_headers(Location=target)

    proxy.faults = [faults.Fault("elsewhere", change, paths="*/blobs/uploads/", methods=("POST",))]
    with pytest.raises(RedirectRefusedError):
        source.upload(destination, write(FILES), False, "message")
