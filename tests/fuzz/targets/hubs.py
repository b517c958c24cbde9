"""What services answer: file lists, manifests and pages of objects, read by the sources with their real clients.

A server on the loopback interface sends each input to the client as a service would.
"""

import contextlib
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from fuzz.mutations import of_json, of_lines
from fuzz.target import Read, Target, changed_settings
from servers.http import LoopbackServer
from servers.messages import Content, Request, Response

COMMIT = "0123456789abcdef0123456789abcdef01234567"
SHA = "0123456789abcdef" * 4
OF_SERVICES = ("HF_", "KAGGLE", "AWS_", "AZURE_", "GOOGLE_", "MODELSCOPE_", "DOCKER_", "OCI_", "REGISTRY_")
MOST_REQUESTS = 50
"""For one input."""


class Service(LoopbackServer):
    """Sends the same bytes in response to each request, but 404 for objects if it is asked for a list of them.

    A list whose every page says that another one follows ends by an error.
    """

    data = b""
    asked = 0
    kind = "application/json"
    encoding = "identity"
    lists_only = False

    def respond(self, request: Request, body: BinaryIO) -> Response:
        self.asked += 1
        if self.asked > MOST_REQUESTS:
            return Response(400, {"Content-Type": self.kind})
        if self.lists_only and "list-type" not in request.query:
            error = b"<?xml version='1.0'?><Error><Code>NoSuchKey</Code></Error>"
            return Response(404, {"Content-Type": "application/xml"}, Content.of(error))
        return Response(200, {"Content-Type": self.kind, "Content-Encoding": self.encoding}, Content.of(self.data))


Connect = Callable[[Service, Any], tuple[Any, str]]
"""Has the clients of this process use a service, and returns the source and a handle."""


def asking(connect: Connect, kind: str = "application/json", lists_only: bool = False):
    """Returns what opens a target: the source looks up a handle, and the input is the answer."""

    @contextlib.contextmanager
    def opened(folder: Path) -> Iterator[Read]:
        from vertebra import PresetHandle
        from vertebra._cache.store import Store
        from vertebra._cache.transfer.returned import snapshot_of
        from vertebra._resolve.filenames import unsafe_names

        variables = {"HOME": str(folder), "VERTEBRA_CACHE": str(folder / "cache")}
        with changed_settings(**variables) as patch, Service() as service:
            for name in [
                name for name in os.environ if name.startswith(OF_SERVICES) or name.upper().endswith("_PROXY")
            ]:
                patch.delenv(name)
            service.kind, service.lists_only = kind, lists_only
            source, text = connect(service, patch)
            handle, store = PresetHandle.parse(text), Store(folder / "cache")

            def read(data: bytes) -> None:
                service.data, service.asked = data, 0
                service.clear()
                snapshot = snapshot_of(source, handle)
                unsafe_names([file.name for file in snapshot.files])
                store.put_file_list(snapshot.handle, snapshot.files)

            yield read

    return opened


def to_hf(service: Service, patch: Any) -> tuple[Any, str]:
    from huggingface_hub import constants

    from vertebra_hf.source import HfSource

    patch.setenv("HF_ENDPOINT", service.url)
    patch.setattr(constants, "HF_TOKEN_PATH", f"{os.environ['HOME']}/token")
    return HfSource(), "hf://org/name"


def to_kaggle(service: Service, patch: Any) -> tuple[Any, str]:
    from servers import kaggle_client
    from vertebra_kaggle.source import KaggleSource

    kaggle_client.connect(service, patch, Path(os.environ["HOME"]))
    return KaggleSource(), "kaggle://acme/bert/keras/small"


def to_kaggle_version(service: Service, patch: Any) -> tuple[Any, str]:
    return to_kaggle(service, patch)[0], "kaggle://acme/bert/keras/small/1"


def to_s3(service: Service, patch: Any) -> tuple[Any, str]:
    from vertebra_s3.source import S3Source

    for name, value in {
        "AWS_ENDPOINT_URL_S3": service.url,
        "AWS_ACCESS_KEY_ID": "a",
        "AWS_SECRET_ACCESS_KEY": "b",
    }.items():
        patch.setenv(name, value)
    patch.setenv("SSL_CERT_DIR", os.environ["HOME"])  # else the client reads all certificates of the system
    return S3Source(), "s3://models/preset"


def to_oci(service: Service, patch: Any) -> tuple[Any, str]:
    from vertebra_oci.source import OciSource

    return OciSource(), f"oci://127.0.0.1:{service.port}/a/model:v1"


def to_modelscope(service: Service, patch: Any) -> tuple[Any, str]:
    from vertebra_modelscope.source import ModelScopeSource

    patch.setenv("MODELSCOPE_ENDPOINT", service.url)
    return ModelScopeSource(), "modelscope://owner/name"


# === Sound answers ===


def encoded(*documents: Any) -> Callable[[], list[bytes]]:
    return lambda: [json.dumps(document).encode() for document in documents]


HF = {
    "id": "org/name",
    "sha": COMMIT,
    "siblings": [
        {"rfilename": "config.json", "size": 12, "blobId": COMMIT},
        {"rfilename": "model.safetensors", "size": 40, "blobId": COMMIT, "lfs": {"sha256": SHA, "size": 40}},
    ],
}
KAGGLE = {
    "files": [{"name": "config.json", "size": 12}, {"name": "a/model.weights.h5", "size": 4}],
    "nextPageToken": "",
}
KAGGLE_INSTANCE = {**KAGGLE, "id": 1, "versionId": 2, "slug": "small", "framework": "keras", "versionNumber": 2}
MODELSCOPE_FILES = [
    {"Path": "config.json", "Size": 12, "Sha256": SHA, "Type": "blob", "Revision": COMMIT},
    {"Path": "folder", "Size": 0, "Type": "tree", "Revision": COMMIT},
]
MODELSCOPE = {
    "Code": 200,
    "Data": {"Files": MODELSCOPE_FILES, "LatestCommitter": {"Id": COMMIT, "ShortId": COMMIT[:8]}},
}
ANNOTATIONS = {"org.cncf.model.filepath": "config.json", "org.opencontainers.image.title": "config.json"}
RAW = "application/vnd.cncf.model.weight.v1.raw"
LAYERS = [{"mediaType": RAW, "digest": f"sha256:{SHA}", "size": 12, "annotations": ANNOTATIONS}]
MANIFEST = {
    "schemaVersion": 2,
    "mediaType": "application/vnd.oci.image.manifest.v1+json",
    "artifactType": "application/vnd.cncf.model.manifest.v1+json",
    "config": {"mediaType": "application/vnd.cncf.model.config.v1+json", "digest": f"sha256:{SHA}", "size": 2},
    "layers": LAYERS,
}


def s3_pointers() -> list[bytes]:
    from vertebra import PresetFile
    from vertebra_s3.layout import manifest, pointer

    files = [
        PresetFile("config.json", 12, None, f"sha256:{SHA}"),
        PresetFile("model.safetensors", 0, None, f"sha256:{SHA}"),
    ]
    return [pointer(manifest(files)), pointer(manifest(files[:1]))]


def s3_pages() -> list[bytes]:
    contents = "".join(
        f"<Contents><Key>preset/{name}</Key><LastModified>2026-01-02T03:04:05.000Z</LastModified><ETag>&quot;{COMMIT}"
        f"&quot;</ETag><Size>12</Size><StorageClass>STANDARD</StorageClass></Contents>\n"
        for name in ("config.json", "model.safetensors", "folder/a.txt")
    )
    head = (
        "<?xml version='1.0' encoding='UTF-8'?>\n<ListBucketResult xmlns='http://s3.amazonaws.com/doc/2006-03-01/'>\n"
    )
    facts = "<Name>models</Name>\n<Prefix>preset/</Prefix>\n<KeyCount>3</KeyCount>\n<IsTruncated>false</IsTruncated>\n"
    return [f"{head}{facts}{contents}</ListBucketResult>".encode()]


WORDS = (
    *(
        "sha",
        "siblings",
        "rfilename",
        "size",
        "blobId",
        "lfs",
        "sha256",
        "../x",
        "/etc/passwd",
        COMMIT,
        SHA,
        "config.json",
    ),
    *(
        "files",
        "name",
        "nextPageToken",
        "versionNumber",
        "code",
        "message",
        "Files",
        "Path",
        "Size",
        "Sha256",
        "Type",
        "tree",
    ),
    *(
        "LatestCommitter",
        "Id",
        "ShortId",
        "Revision",
        "Data",
        "schemaVersion",
        "layers",
        "manifests",
        "mediaType",
        "digest",
    ),
    *(
        "annotations",
        "org.cncf.model.filepath",
        "artifactType",
        "sha256:",
        "format",
        "revision",
        "errors",
        "error",
        "1e400",
    ),
)
XML_WORDS = (
    *(
        "<Key>",
        "</Key>",
        "<Size>-1</Size>",
        "<Size>99999999999999999999</Size>",
        "<IsTruncated>true</IsTruncated>",
        "&#0;",
    ),
    *(
        "<!DOCTYPE a [<!ENTITY b SYSTEM 'file:///etc/passwd'>]>",
        "&b;",
        "<CommonPrefixes><Prefix>a/</Prefix></CommonPrefixes>",
    ),
    *("<Contents>", "</Contents>", "<NextContinuationToken>a</NextContinuationToken>", "<![CDATA[", "../", "<ETag/>"),
)


def target(name: str, connect: Connect, seeds: Callable[[], list[bytes]], client: str) -> Target:
    return Target(name, asking(connect), seeds, of_json, WORDS, (client,), asks=True)


TARGETS = [
    target("hf-listing", to_hf, encoded(HF), "huggingface_hub"),
    target("kaggle-version", to_kaggle, encoded(KAGGLE_INSTANCE), "kagglehub"),
    target("kaggle-listing", to_kaggle_version, encoded(KAGGLE), "kagglehub"),
    target("s3-pointer", to_s3, s3_pointers, "obstore"),
    target("oci-manifest", to_oci, encoded(MANIFEST), "urllib3"),
    target("modelscope-listing", to_modelscope, encoded(MODELSCOPE), "urllib3"),
    Target(
        "s3-listing",
        asking(to_s3, "application/xml", lists_only=True),
        s3_pages,
        of_lines,
        XML_WORDS,
        ("obstore",),
        asks=True,
    ),
]
