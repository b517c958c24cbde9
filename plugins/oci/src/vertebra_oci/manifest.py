"""Manifests: the files of a ModelPack artifact, or of one that `oras push` has written, as documents of a registry."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from vertebra import PresetFile, PresetHandle
from vertebra.errors import PresetError, PresetNotFoundError, SourceUnavailableError
from vertebra_oci.reference import is_digest, reference_of

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
MODEL = "application/vnd.cncf.model.manifest.v1+json"
"""The artifact type of ModelPack."""
CONFIG = "application/vnd.cncf.model.config.v1+json"
ACCEPTED = ", ".join(
    [
        MANIFEST,
        INDEX,
        "application/vnd.docker.distribution.manifest.v2+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
    ]
)
PATH, TITLE = "org.cncf.model.filepath", "org.opencontainers.image.title"
"""Annotations of a layer with the name of its file: ModelPack's, and that of oras and other tools."""
_MOST_NAMED = 5
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}")
"""Digests of layers."""
_UNPACK = "io.deis.oras.content.unpack"
"""The annotation with which oras marks a folder, which it packs."""
_COMPRESSED, _ARCHIVES = (".tar+gzip", ".tar+zstd"), (".tar", ".gz", ".tgz", ".zst")
_LAYER = "application/vnd.cncf.model."
_DOCUMENTATION = {"readme.md", "license", "licence", "license.txt", "license.md", "notice", "model_card.md"}
_OPTIONAL = tuple(f"{_LAYER}{kind}.v1." for kind in ("code", "dataset", "doc"))
_RAW = "Build it with raw layers, the default of modctl build, or push its files with oras or vertebra push"


def digest_of(data: bytes) -> str:
    """Returns the digest of a manifest or blob."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


# === Reading ===


def parsed(handle: PresetHandle, data: bytes) -> dict[str, Any]:
    """Returns a manifest or index.

    Raises:
        SourceUnavailableError: it is not JSON, such as a login page.
        PresetError: it is of no known version.
    """
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        problem = "its manifest is not JSON; a proxy or login page may be in the way"
        raise SourceUnavailableError(handle, problem) from None
    if not isinstance(document, dict) or document.get("schemaVersion") != 2:
        raise _malformed(handle, "it is no manifest of version 2")
    return document


def model_of(handle: PresetHandle, index: Mapping[str, Any]) -> str | None:
    """Returns the digest of the only model that an index lists, or None if the document is a manifest.

    Raises:
        PresetNotFoundError: the index lists several models, or none.
    """
    if "manifests" not in index:
        return None
    entries = index["manifests"] if isinstance(index["manifests"], list) else []
    known = [entry for entry in entries if isinstance(entry, dict) and is_digest(_text(entry.get("digest")))]
    models = [entry for entry in known if entry.get("artifactType") == MODEL]
    models = models or [entry for entry in known if not _is_attestation(entry)]
    if len(models) == 1:
        return str(models[0]["digest"])
    if not models:
        raise PresetNotFoundError(handle, "its image index lists no model")
    path = handle.path.removesuffix(f":{reference_of(handle).tag}")
    digests = [str(PresetHandle(handle.scheme, path, entry["digest"])) for entry in models[:_MOST_NAMED]]
    problem = f"its image index lists {len(models)} models"
    raise PresetNotFoundError(handle, problem, digests, "Name the digest of one")


def files_of(handle: PresetHandle, manifest: Mapping[str, Any]) -> list[PresetFile]:
    """Returns the files of a manifest. Packed code, data sets and documents are left out: no preset needs them.

    Raises:
        PresetError: weights or configs are packed, no layer has the name of a file, or the manifest is malformed.
    """
    layers = manifest.get("layers")
    if not isinstance(layers, list):
        raise _malformed(handle, "it lists no layers")
    files = [_file(handle, layer) for layer in layers]
    found = [file for file in files if file is not None]
    if not found:
        problem = "none of its layers has the name of a file, so it is no model but, for example, a container image"
        raise PresetNotFoundError(handle, problem)
    return found


def _file(handle: PresetHandle, layer: Any) -> PresetFile | None:
    try:
        media, digest, size = layer["mediaType"], layer["digest"], layer["size"]
        annotations = layer.get("annotations") or {}
        name = annotations.get(PATH) or annotations.get(TITLE)
    except (LookupError, TypeError, AttributeError):
        raise _malformed(handle, "a layer lacks its type, digest or size") from None
    if name is None:
        return None
    if not isinstance(name, str) or not isinstance(media, str) or type(size) is not int or size < 0:
        raise _malformed(handle, "a layer has a name, type or size of the wrong kind")
    if not _DIGEST.fullmatch(_text(digest) or ""):
        raise _malformed(handle, f"the layer {name!r} has a digest of an algorithm other than SHA-256 and SHA-512")
    if _is_packed(name, media, annotations):
        if media.startswith(_OPTIONAL):
            return None
        raise PresetError(f"Preset {str(handle)!r}: its layer {name!r} is packed as an archive. {_RAW}.")
    return PresetFile(name, size, None, digest)


def _is_packed(name: str, media: str, annotations: Mapping[str, Any]) -> bool:
    """Returns whether a layer is an archive of the file or folder that it names.

    The type `application/vnd.oci.image.layer.v1.tar` does not tell: oras's client for Python gives it to every file.
    """
    archive = media.endswith(_COMPRESSED) and not name.lower().endswith(_ARCHIVES)
    return archive or (media.startswith(_LAYER) and ".tar" in media) or annotations.get(_UNPACK) == "true"


def _is_attestation(entry: Mapping[str, Any]) -> bool:
    annotations = entry.get("annotations")
    return isinstance(annotations, dict) and "vnd.docker.reference.type" in annotations


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _malformed(handle: PresetHandle, problem: str) -> PresetError:
    return PresetError(f"Preset {str(handle)!r}: its manifest is malformed: {problem}. Push it again.")


# === Writing ===


def config(name: str, files: Iterable[PresetFile]) -> bytes:
    """Returns the config of a ModelPack artifact: its name, and the digests of its files."""
    model_fs = {"type": "layers", "diffIds": [file.digest for file in files]}
    return _document({"descriptor": {"name": name}, "config": {}, "modelfs": model_fs})


def manifest(config: bytes, files: Iterable[PresetFile], weights: tuple[str, ...]) -> bytes:
    """Returns the manifest of a ModelPack artifact; equal files have equal manifests.

    Args:
        config: The config of the artifact.
        files: The files, with their digests.
        weights: Endings of files with weights.
    """
    layers = [
        {
            "mediaType": _media_type(file.name, weights),
            "digest": file.digest,
            "size": file.size,
            "annotations": {PATH: file.name, TITLE: file.name},
        }
        for file in files
    ]
    described = {"mediaType": CONFIG, "digest": digest_of(config), "size": len(config)}
    head = {"schemaVersion": 2, "mediaType": MANIFEST, "artifactType": MODEL}
    return _document({**head, "config": described, "layers": layers})


def _media_type(name: str, weights: tuple[str, ...]) -> str:
    if name.lower().endswith(weights):
        return f"{_LAYER}weight.v1.raw"
    is_document = name.rpartition("/")[2].lower() in _DOCUMENTATION
    return f"{_LAYER}{'doc' if is_document else 'weight.config'}.v1.raw"


def _document(content: Mapping[str, Any]) -> bytes:
    return json.dumps(content, separators=(",", ":")).encode()
