"""Kaggle for models, as kagglehub 1.0.2 and kagglesdk 0.1.38 speak to it; files come from a storage of another origin.

    with KaggleServer(users={"acme": "secret"}) as kaggle:
        version = kaggle.publish("acme/bert/keras/base", {"config.json": b"{}", "weights.h5": Path("large.h5")})
        kaggle_client.connect(kaggle, monkeypatch, tmp_path, user="acme")
        kagglehub.model_download("acme/bert/keras/base")

`requests` of the server are calls, those of its `storage` are transfers of files.
"""

import base64
import json
import secrets
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import quote

from servers.blobs import BlobStore
from servers.faults import Fault
from servers.http import LoopbackServer, route
from servers.kaggle_models import Model, ModelFile, Version, instance_name, pack, unpack
from servers.messages import Content, Refused, Request, Response

MODELS = "/api/v1/models.ModelApiService"
BLOBS = "/api/v1/blobs.BlobApiService"
PAGE_SIZE = 20
ARCHIVE = "archive.zip"  # what clients make of many files, and Kaggle takes apart


@dataclass
class Upload:
    """A file that is being uploaded; what has been received is its beginning."""

    name: str
    size: int
    received: Content

    @property
    def complete(self) -> bool:
        return len(self.received) == self.size


class KaggleStorage(LoopbackServer):
    """Sends and receives files by URLs that hold all the rights they need; a request with a token is refused.

    Args:
        blobs: where uploads are kept.
        faults: what goes wrong; faults for `files` strike by the path of a file in its version.
    """

    def __init__(self, blobs: BlobStore, faults: Iterable[Fault] = ()) -> None:
        super().__init__("localhost", faults)
        self.blobs = blobs
        self._objects: dict[str, tuple[str, ModelFile]] = {}
        self._uploads: dict[str, Upload] = {}

    def link(self, name: str, file: ModelFile) -> str:
        """Returns a URL from which a file can be fetched until links expire."""
        signature = secrets.token_hex(16)
        self._objects[signature] = (name, file)
        return f"{self.url}/models/{signature}/{quote(name)}?X-Goog-Expires=3600"

    def expire_links(self) -> None:
        """Makes the links that were given so far invalid."""
        self._objects.clear()

    @route("GET", "/models/(?P<signature>[0-9a-f]+)/.+")
    def download(self, request: Request, body: BinaryIO, signature: str) -> Response:
        self._refuse_tokens(request)
        if signature not in self._objects:
            raise Refused(storage_error(400, "ExpiredToken", "Invalid argument."))
        name, file = self._objects[signature]
        return Response.of_file(name, file.content, file.headers)

    def open_upload(self, name: str, size: int) -> tuple[str, str]:
        """Returns the token that names an upload from now on, and the URL to send the file to."""
        token = secrets.token_hex(16)
        self._uploads[token] = Upload(name, size, Content())
        return token, f"{self.url}/uploads/{token}"

    @route("PUT", "/uploads/(?P<token>[0-9a-f]+)")
    def receive(self, request: Request, body: BinaryIO, token: str) -> Response:
        self._refuse_tokens(request)
        upload = self._uploads[token]
        if not request.headers.get("content-range", "").startswith("bytes */"):
            upload.received += self.blobs.receive(body).content
        if upload.complete:
            return Response.json({"name": upload.name})
        have = len(upload.received)
        return Response(308, {"Range": f"bytes=0-{have - 1}"} if have else {})

    def uploaded(self, token: str) -> tuple[str, ModelFile]:
        """Returns the name and content of a file that was uploaded."""
        upload = self._uploads.get(token)
        if upload is None or not upload.complete:
            raise refusal(400, f"No file was uploaded for the token {token!r}")
        return upload.name, ModelFile(upload.received)

    def _refuse_tokens(self, request: Request) -> None:
        if "authorization" in request.headers:
            raise Refused(storage_error(400, "InvalidArgument", "Only one way to authenticate is allowed."))


class KaggleServer(LoopbackServer):
    """Kaggle's API for models.

    Args:
        users: the secret of each user: their token, or the key that goes with their name.
        folder: where uploads are kept; in memory if it is not given.
        faults: what goes wrong, here (faults with `paths`) and in the storage (faults for `files`).
    """

    def __init__(
        self, users: Mapping[str, str] | None = None, folder: Path | None = None, faults: Iterable[Fault] = ()
    ) -> None:
        super().__init__(faults=faults)
        self.users = dict(users or {})
        self.storage = KaggleStorage(BlobStore(folder), self.faults)
        self._models: dict[str, Model] = {}
        self._changing = threading.Lock()

    def start(self) -> None:
        super().start()
        self.storage.start()

    def close(self) -> None:
        super().close()
        self.storage.close()
        self.errors += self.storage.errors

    # === What tests say ===

    def publish(self, handle: str, files: Mapping[str, bytes | Path]) -> int:
        """Adds a version of "owner/model/framework/variation" and returns its number; the model is made if need be.

        A file that is given by its path is sent from there, and must stay as it is.
        """
        owner, name, framework, variation = handle.split("/")
        version = {path: ModelFile.of(source) for path, source in files.items()}
        with self._changing:
            instances = self._models.setdefault(f"{owner}/{name}", Model()).instances
            versions = instances.setdefault(instance_name(framework, variation), [])
            versions.append(version)
            return len(versions)

    def private(self, model: str, private: bool = True) -> None:
        """Keeps "owner/model" for its owner."""
        self._models[model].private = private

    def terms(self, model: str, accepted: Iterable[str] = ()) -> None:
        """Keeps the files of "owner/model" for users who have accepted its terms."""
        self._models[model].accepted = set(accepted)

    def delete(self, model: str) -> None:
        """Removes "owner/model"."""
        with self._changing:
            del self._models[model]

    def files(self, handle: str, version: int | None = None) -> dict[str, bytes]:
        """Returns all files of a version, the newest if none is given, by path."""
        owner, name, framework, variation = handle.split("/")
        versions = self._models[f"{owner}/{name}"].instances[instance_name(framework, variation)]
        return {path: bytes(file.content) for path, file in versions[(version or 0) - 1].items()}

    # === Reading ===

    @route("POST", f"{MODELS}/GetModel")
    def get_model(self, request: Request, body: BinaryIO) -> Response:
        asked = json.load(body)
        model = self._visible(request, asked)
        return Response.json({**described(asked), "slug": asked["modelSlug"], "isPrivate": model.private})

    @route("POST", f"{MODELS}/GetModelInstance")
    def get_model_instance(self, request: Request, body: BinaryIO) -> Response:
        asked = json.load(body)
        newest = len(self._versions(self._visible(request, asked), asked))
        instance = {"slug": asked["instanceSlug"], "framework": asked["framework"], "versionNumber": newest}
        return Response.json({"id": 1, "versionId": newest, **instance})

    @route("POST", f"{MODELS}/ListModelInstanceVersionFiles")
    def list_files(self, request: Request, body: BinaryIO) -> Response:
        asked = json.load(body)
        version = self._version(self._visible(request, asked), asked)
        start = int(asked.get("pageToken") or 0)
        stop = start + asked.get("pageSize", PAGE_SIZE)
        listing = [{"name": path, "size": file.size} for path, file in sorted(version.items())]
        return Response.json({"files": listing[start:stop], "nextPageToken": str(stop) if stop < len(listing) else ""})

    @route("POST", f"{MODELS}/DownloadModelInstanceVersion")
    def download(self, request: Request, body: BinaryIO) -> Response:
        asked = json.load(body)
        model = self._visible(request, asked)
        if model.accepted is not None and self._user(request) not in model.accepted:
            raise refusal(403, "User has not accepted the terms of this model")
        version, path = self._version(model, asked), asked.get("path")
        if path is None:
            return Response.redirect(self.storage.link("archive.tar", pack(version)))
        if path not in version:
            raise refusal(404, "Not found")
        return Response.redirect(self.storage.link(path, version[path]))

    # === Writing, in the order in which an upload uses it ===

    @route("POST", f"{MODELS}/CreateModel")
    def create_model(self, request: Request, body: BinaryIO) -> Response:
        asked = json.load(body)
        self._require_owner(request, asked["ownerSlug"])
        name = f"{asked['ownerSlug']}/{asked['slug']}"
        with self._changing:
            if name in self._models:
                return conflict(f"Model {name} exists already")
            self._models[name] = Model(private=asked.get("isPrivate", False))
        return Response.json({"id": 1, "ref": name, "url": f"{self.url}/models/{name}"})

    @route("POST", f"{BLOBS}/StartBlobUpload")
    def start_upload(self, request: Request, body: BinaryIO) -> Response:
        self._require_user(request)
        asked = json.load(body)
        token, url = self.storage.open_upload(asked["name"], asked.get("contentLength", 0))
        return Response.json({"token": token, "createUrl": url})

    @route("POST", f"{MODELS}/CreateModelInstance")
    def create_instance(self, request: Request, body: BinaryIO) -> Response:
        asked = json.load(body)
        return self._add_version(request, {**asked, **asked["body"]}, first=True)

    @route("POST", f"{MODELS}/CreateModelInstanceVersion")
    def create_version(self, request: Request, body: BinaryIO) -> Response:
        asked = json.load(body)
        return self._add_version(request, {**asked, **asked["body"]}, first=False)

    def _add_version(self, request: Request, asked: Mapping[str, Any], first: bool) -> Response:
        """Adds a version to an instance, which must not exist if it is the first one."""
        self._require_owner(request, asked["ownerSlug"])
        model = self._visible(request, asked)
        name = instance_name(asked["framework"], asked["instanceSlug"])
        version = self._uploaded(asked)
        with self._changing:
            if first and name in model.instances:
                return conflict(f"The variation {name} exists already")
            if not first and name not in model.instances:
                raise refusal(404, "Not found")
            model.instances.setdefault(name, []).append(version)
        return Response.json(described(asked))

    def _uploaded(self, folder: Mapping[str, Any], prefix: str = "") -> dict[str, ModelFile]:
        """Returns the files that an upload names by tokens, folder by folder."""
        files: dict[str, ModelFile] = {}
        for named in folder.get("files", []):
            name, file = self.storage.uploaded(named["token"])
            files |= unpack(file) if prefix + name == ARCHIVE else {prefix + name: file}
        for inner in folder.get("directories", []):
            files |= self._uploaded(inner, f"{prefix}{inner['name']}/")
        return files

    # === What there is, and who may have it ===

    def _visible(self, request: Request, asked: Mapping[str, Any]) -> Model:
        """Returns a model that the request may know of."""
        user = self._user(request)
        model = self._models.get(f"{asked['ownerSlug']}/{asked['modelSlug']}")
        if model is None:
            raise refusal(404, "Not found")
        if model.private and user != asked["ownerSlug"]:
            raise refusal(403, "Permission 'models.get' was denied")
        return model

    def _versions(self, model: Model, asked: Mapping[str, Any]) -> list[Version]:
        versions = model.instances.get(instance_name(asked["framework"], asked["instanceSlug"]))
        if not versions:
            raise refusal(404, "Not found")
        return versions

    def _version(self, model: Model, asked: Mapping[str, Any]) -> Version:
        versions = self._versions(model, asked)
        number = asked.get("versionNumber", len(versions))
        if not 1 <= number <= len(versions):
            raise refusal(404, "Not found")
        return versions[number - 1]

    def _user(self, request: Request) -> str | None:
        """Returns who sent a request. Credentials that are wrong are an error, even where none are needed."""
        scheme, _, credentials = request.headers.get("authorization", "").partition(" ")
        if not scheme:
            return None
        if scheme == "Basic":
            known = {base64.b64encode(f"{user}:{key}".encode()).decode(): user for user, key in self.users.items()}
        else:
            known = {token: user for user, token in self.users.items()}
        if credentials not in known:
            raise refusal(401, "Unauthenticated")
        return known[credentials]

    def _require_user(self, request: Request) -> str:
        user = self._user(request)
        if user is None:
            raise refusal(401, "Unauthenticated")
        return user

    def _require_owner(self, request: Request, owner: str) -> None:
        if self._require_user(request) != owner:
            raise refusal(403, "Permission 'models.create' was denied")


def described(asked: Mapping[str, Any]) -> dict[str, Any]:
    return {"id": 1, "ref": f"{asked['ownerSlug']}/{asked['modelSlug']}"}


def conflict(message: str) -> Response:
    """Returns the refusal of what exists already, which has status 200."""
    return Response.json({"error": message, "errorCode": 409})


def refusal(status: int, message: str) -> Refused:
    return Refused(Response.json({"code": status, "message": message}, status))


def storage_error(status: int, code: str, message: str) -> Response:
    text = f"<?xml version='1.0' encoding='UTF-8'?><Error><Code>{code}</Code><Message>{message}</Message></Error>"
    return Response(status, {"Content-Type": "application/xml; charset=UTF-8"}, Content.of(text.encode()))
