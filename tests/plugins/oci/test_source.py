"""Artifacts that other tools have written, and documents that are none."""

import hashlib
import json

import pytest

from servers import faults
from servers.oci_registry import INDEX, MANIFEST, digest_of
from servers.proxy import FaultProxy
from vertebra import PresetHandle
from vertebra.errors import (
    IntegrityError,
    PresetError,
    PresetNotFoundError,
    RedirectRefusedError,
    SourceUnavailableError,
)
from vertebra.testing import opened

FILES = {"config.json": b'{"layers": 2}', "model.safetensors": bytes(range(200)) * 20}
MODEL = "application/vnd.cncf.model.manifest.v1+json"
PATH, TITLE = "org.cncf.model.filepath", "org.opencontainers.image.title"
RAW = "application/vnd.cncf.model.weight.v1.raw"


@pytest.fixture
def put(registry, repository):
    """Puts an artifact with layers `(media type, annotations, content)` under a tag; returns its digest."""

    def put(layers, tag="v1", **fields):
        listed = [
            {"mediaType": media, "annotations": annotations, **registry.put_blob(repository, content)}
            for media, annotations, content in layers
        ]
        config = {"mediaType": "application/vnd.cncf.model.config.v1+json", **registry.put_blob(repository, b"{}")}
        head = {"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": listed}
        return registry.put_manifest(repository, tag, {**head, **fields})

    return put


@pytest.fixture
def put_files(put):
    """Puts files as modctl does."""
    return lambda files, tag="v1": put(
        [(RAW, {PATH: name}, content) for name, content in files.items()], tag, artifactType=MODEL
    )


@pytest.fixture
def tagged(destination):
    return PresetHandle("oci", f"{destination.path}:v1")


def test_files_of_modctl(put_files, tagged, read):
    put_files(FILES)
    assert read(tagged) == FILES


@pytest.mark.parametrize("text", [":v1", "@v1", ":v1@{digest}", "@{digest}"])
def test_all_spellings_name_the_same_artifact(put_files, destination, source, text):
    digest = put_files(FILES)
    handle = PresetHandle.parse(f"{destination}{text.format(digest=digest)}")
    pinned = opened(source).resolve(handle)
    assert (pinned.revision, source.unpinned(pinned)) == (digest, source.unpinned(destination))
    assert {file.name for file in opened(source).files(pinned)} == FILES.keys()


def test_without_a_tag_it_is_latest(put_files, destination, source):
    put_files({"config.json": b"{}"}, "v1")
    digest = put_files(FILES, "latest")
    assert opened(source).resolve(destination).revision == digest


def test_a_missing_tag_is_named_with_the_nearest(put_files, destination, source):
    put_files(FILES, "v1.0")
    with pytest.raises(PresetNotFoundError, match=r"there is no 127\.0\.0\.1:\d+/acme/bert-[\d-]+:v1\.1") as raised:
        opened(source).resolve(PresetHandle("oci", f"{destination.path}:v1.1"))
    assert f"{destination}:v1.0" in str(raised.value)


def test_ranges_come_from_the_storage_that_the_registry_names(put_files, proxy, registry, tagged, source):
    """The registry is asked once for a blob, and all ranges come from the URL to which it redirects."""
    content = bytes(range(250)) * 400  # ten ranges
    put_files({"config.json": b"{}", "model.safetensors": content})
    pinned = opened(source).resolve(tagged)
    with FaultProxy(registry) as storage:
        proxy.faults = [faults.redirect_origin(storage.url, paths="*/blobs/*")]
        assert opened(source).fetch(pinned, "model.safetensors").read_bytes() == content
        proxy.faults = []
    asked = [request for request in proxy.requests if "/blobs/" in request.target]
    assert (len(asked), len(storage.requests) > 5) == (1, True)


# === Layers ===


def test_layers_without_a_name_and_packed_documents_are_left_out(put, tagged, read):
    named = [(RAW, {PATH: name}, content) for name, content in FILES.items()]
    packed = "application/vnd.cncf.model.{}.v1.tar"
    left_out = [(packed.format(kind), {PATH: f"{kind}.txt"}, b"archive") for kind in ("doc", "code", "dataset")]
    put([*named, *left_out, ("application/vnd.oci.image.layer.v1.tar", {}, b"no name")])
    assert read(tagged) == FILES


def test_an_archive_with_its_own_name_is_a_file(put, tagged, read):
    archive = ("application/vnd.oci.image.layer.v1.tar+gzip", {TITLE: "runs.tar.gz"}, b"archive")
    put([archive, *((RAW, {TITLE: name}, content) for name, content in FILES.items())])
    assert read(tagged) == FILES | {"runs.tar.gz": b"archive"}


@pytest.mark.parametrize(
    ("media", "annotations"),
    [
        ("application/vnd.cncf.model.weight.v1.tar", {PATH: "model.safetensors"}),
        ("application/vnd.cncf.model.weight.config.v1.tar+zstd", {PATH: "config.json"}),
        ("application/vnd.oci.image.layer.v1.tar+gzip", {TITLE: "assets"}),
        ("application/vnd.oci.image.layer.v1.tar", {TITLE: "assets", "io.deis.oras.content.unpack": "true"}),
    ],
)
def test_packed_weights_are_refused(put, tagged, source, media, annotations):
    put([(media, annotations, b"archive")])
    with pytest.raises(PresetError, match=r"is packed as an archive\. Build it with raw layers"):
        opened(source).resolve(tagged)


def test_an_image_of_a_container_is_no_model(put, tagged, source):
    put([("application/vnd.oci.image.layer.v1.tar+gzip", {}, b"archive")])
    with pytest.raises(PresetNotFoundError, match="none of its layers has the name of a file"):
        opened(source).resolve(tagged)


def test_names_that_lead_out_of_the_folder_are_left_out(put, tagged, monkeypatch):
    import vertebra

    names = ["../../etc/passwd", "/etc/passwd", "a\\b", "sub/../../x", "C:x"]
    put([(RAW, {PATH: name}, name.encode()) for name in names] + [(RAW, {PATH: "config.json"}, b"{}")])
    assert list(vertebra.files(str(tagged))) == ["config.json"]


def test_a_layer_may_have_a_digest_of_sha512(registry, repository, put_files, proxy, tagged, source):
    put_files(FILES)
    content = b"SHA-512"
    stated = hashlib.sha512(content).hexdigest()
    registry.put_blob(repository, content, f"sha512:{stated}")
    manifest = json.loads(registry.request("GET", f"/v2/{repository}/manifests/v1"))
    layer = {"mediaType": RAW, "digest": f"sha512:{stated}", "size": len(content), "annotations": {PATH: "notes.txt"}}
    registry.put_manifest(repository, "v1", {**manifest, "layers": [*manifest["layers"], layer]})
    pinned = opened(source).resolve(tagged)
    proxy.faults = [faults.flip_bit(files=f"*{stated}")]
    with pytest.raises(IntegrityError, match="its sha512 is"):
        opened(source).fetch(pinned, "notes.txt")
    proxy.faults = []
    assert opened(source).fetch(pinned, "notes.txt").read_bytes() == content


@pytest.mark.parametrize(
    "change",
    [
        {"layers": None},
        {"layers": [None]},
        {"layers": [{"mediaType": RAW}]},
        {"layers": [{"mediaType": RAW, "digest": "sha512:0", "size": 1, "annotations": {PATH: "a"}}]},
        {"layers": [{"mediaType": RAW, "digest": f"sha256:{'0' * 64}", "size": -1, "annotations": {PATH: "a"}}]},
        {"layers": [{"mediaType": RAW, "digest": f"sha256:{'0' * 64}", "size": 1, "annotations": {PATH: 7}}]},
        {"layers": [{"mediaType": RAW, "digest": f"sha256:{'0' * 64}", "size": 1, "annotations": 7}]},
        {"schemaVersion": 1},
    ],
)
def test_malformed_manifests_are_refused(proxy, destination, source, change):
    document = {"schemaVersion": 2, "mediaType": MANIFEST, "layers": [], **change}
    answer = json.dumps(document).encode()
    digest = faults.Fault("digest", lambda _, r: r.with_headers(Docker_Content_Digest=digest_of(answer)))
    proxy.faults = [faults.other_content(answer), digest]
    with pytest.raises(PresetError, match="its manifest is malformed: "):
        source.resolve_snapshot(PresetHandle("oci", f"{put_something(proxy.gateway, destination)}:v1"))


def put_something(registry, destination):
    repository = destination.path.partition("/")[2]
    config = {"mediaType": "application/vnd.unknown", **registry.put_blob(repository, b"{}")}
    document = {"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": []}
    registry.put_manifest(repository, "v1", document)
    return destination.path


def test_a_login_page_is_no_manifest(put_files, proxy, tagged, source):
    put_files(FILES)
    proxy.faults = [faults.html_page(paths="*")]
    with pytest.raises(SourceUnavailableError, match="not JSON; a proxy or login page"):
        source.resolve_snapshot(tagged)


def test_another_manifest_than_the_pinned_one_is_refused(put_files, proxy, destination, source):
    digest = put_files(FILES)
    proxy.faults = [faults.flip_bit(40, files="*/manifests/*")]
    for handle in (f"{destination}@{digest}", f"{destination}:v1"):
        with pytest.raises(IntegrityError, match="its manifest"):
            source.resolve_snapshot(PresetHandle.parse(handle))


def test_a_redirect_from_https_is_not_followed_to_http(put_files, proxy, tagged, source):
    put_files(FILES)
    proxy.faults = [faults.redirect("ftp://127.0.0.1/x", paths="*")]
    with pytest.raises(RedirectRefusedError):
        source.resolve_snapshot(tagged)


# === Image indexes ===


@pytest.fixture
def put_index(registry, repository, put_files):
    """Puts an index under the tag `v1`; its manifests have the fields that are given, and one file each."""

    def put_index(*entries):
        manifests = []
        for number, fields in enumerate(entries):
            digest = put_files({"config.json": b"%d" % number}, f"part-{number}")
            size = len(registry.request("GET", f"/v2/{repository}/manifests/{digest}"))
            manifests.append({"mediaType": MANIFEST, "digest": digest, "size": size, **fields})
        registry.put_manifest(repository, "v1", {"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests})
        return [entry["digest"] for entry in manifests]

    return put_index


ATTESTATION = {"annotations": {"vnd.docker.reference.type": "attestation-manifest"}}


@pytest.mark.parametrize(
    ("entries", "model"), [([{}], 0), ([{"platform": {}}, {"artifactType": MODEL}], 1), ([ATTESTATION, {}], 1)]
)
def test_the_only_model_of_an_index_is_read(put_index, tagged, source, read, entries, model):
    digests = put_index(*entries)
    assert opened(source).resolve(tagged).revision == digests[model]
    assert read(tagged) == {"config.json": b"%d" % model}


def test_several_models_of_an_index_are_named(put_index, tagged, destination, source):
    digests = put_index({"artifactType": MODEL}, {"artifactType": MODEL})
    with pytest.raises(PresetNotFoundError, match="its image index lists 2 models") as raised:
        opened(source).resolve(tagged)
    assert all(f"{destination}@{digest}" in str(raised.value) for digest in digests)


def test_an_index_without_a_model_is_an_error(put_index, tagged, source):
    put_index(ATTESTATION)
    with pytest.raises(PresetNotFoundError, match="its image index lists no model"):
        opened(source).resolve(tagged)


def test_a_busy_registry_is_unavailable(put_files, proxy, tagged, source):
    put_files(FILES)
    proxy.faults = [faults.status(429, 7, paths="*")]
    with pytest.raises(SourceUnavailableError, match="HTTP 429") as raised:
        source.resolve_snapshot(tagged)
    assert raised.value.retry_after == 7


def test_an_index_by_its_digest_is_read(put_index, registry, repository, destination, read):
    put_index({})
    digest = digest_of(registry.request("GET", f"/v2/{repository}/manifests/v1"))
    assert read(PresetHandle("oci", destination.path, digest)) == {"config.json": b"0"}


# === The real client of another project ===


@pytest.fixture
def oras(registry):
    client = pytest.importorskip("oras.client", reason="oras is not installed")
    return client.OrasClient(hostname=registry.host, insecure=True)


def test_files_of_oras_are_read(oras, registry, repository, write, tagged, read, monkeypatch, tmp_path):
    write(FILES)
    folder = next(iter(write(FILES).values())).parent
    monkeypatch.chdir(folder)
    oras.push(target=f"{registry.host}/{repository}:v1", files=list(FILES))
    assert read(tagged) == FILES


def test_oras_reads_pushed_files(oras, registry, repository, source, tagged, write, tmp_path):
    source.upload(tagged, write(FILES), False, "message")
    (tmp_path / "pulled").mkdir()
    oras.pull(target=f"{registry.host}/{repository}:v1", outdir=str(tmp_path / "pulled"))
    assert {path.name: path.read_bytes() for path in (tmp_path / "pulled").iterdir()} == FILES
