"""ModelScope for models, as modelscope-hub 0.5 speaks to it; large files come from a storage of another origin.

    with ModelScopeServer(tokens={"ms-token"}) as service:
        commit = service.commit("acme/bert", {"config.json": b"{}", "model.safetensors": b"..."})
        HubApi(endpoint=service.url).download_repo("acme/bert", "model", revision=commit)

As the real service, it answers a revision that it lacks with status 200 and no list, gives the first digits of the
newest commit alone, and lists at most `LONGEST` entries.
"""

import base64
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from servers.blobs import BlobStore, is_large
from servers.faults import Fault, FaultPlan
from servers.http import LoopbackServer, route
from servers.hub import LargeFileServer
from servers.messages import Refused, Request, Response
from servers.repositories import Commit, Repository

API = "/api/v1"
NAME = "(?P<name>[^/]+/[^/]+)"
BRANCH = "master"
LONGEST = 3_000
PRIVATE = 1
MISSING = 10_010_205_001
"""The code of a repository that does not exist."""


class Storage(LargeFileServer):
    """Refuses requests with credentials: its URLs hold all the rights that they need."""

    def respond(self, request: Request, body: BinaryIO) -> Response:
        if request.method in ("GET", "HEAD") and {"authorization", "cookie"} & request.headers.keys():
            raise Refused(Response.json({"error": "credentials of another service"}, 400))
        return super().respond(request, body)


class ModelScopeServer(LoopbackServer):
    """The service.

    Args:
        tokens: those that it accepts; any other is refused. Anyone may read, but for private repositories.
        faults: what goes wrong, here and in the storage.
    """

    def __init__(self, tokens: Iterable[str] = (), faults: Iterable[Fault] = ()) -> None:
        super().__init__(faults=FaultPlan(faults))
        self.tokens = set(tokens)
        self.blobs = BlobStore()
        self.storage = Storage(self.blobs, "localhost", self.faults)
        self._repositories: dict[str, Repository] = {}
        self._changed_in: dict[str, dict[str, str]] = {}
        """For each commit, the one that last changed each of its files."""

    def start(self) -> None:
        super().start()
        self.storage.start()

    def close(self) -> None:
        super().close()
        self.storage.close()
        self.errors += self.storage.errors

    # === What tests say ===

    def commit(self, name: str, files: Mapping[str, bytes | Path | None], branch: str = BRANCH) -> str:
        """Adds files to a branch and removes those that are None; returns the commit."""
        repository = self._repositories.setdefault(name, Repository(name))
        blobs = {path: None if source is None else self.blobs.add(source) for path, source in files.items()}
        before = repository.commits.get(repository.branches.get(branch, ""), Commit("", {}))
        commit = repository.commit(blobs, branch)
        old = self._changed_in.get(before.sha, {})
        self._changed_in[commit.sha] = {
            path: old[path] if before.files.get(path) == blob else commit.sha for path, blob in commit.files.items()
        }
        return commit.sha

    def tag(self, name: str, tag: str, revision: str = BRANCH) -> None:
        repository = self._repositories[name]
        repository.tags[tag] = repository.find(revision).sha

    def private(self, name: str) -> bool:
        return self._repositories[name].private

    # === Reading ===

    @route("GET", f"{API}/models/{NAME}")
    def info(self, request: Request, body: BinaryIO, name: str) -> Response:
        owner, _, short = name.partition("/")
        repository = self._find(request, name)
        return envelope({"Id": 1, "Path": owner, "Name": short, "Visibility": 1 if repository.private else 5})

    @route("GET", f"{API}/models/{NAME}/revisions")
    def revisions(self, request: Request, body: BinaryIO, name: str) -> Response:
        repository = self._find(request, name)
        kinds = {"Branches": repository.branches, "Tags": repository.tags}
        described = {kind: [{"Revision": text, "CreatedAt": 1} for text in names] for kind, names in kinds.items()}
        return envelope({"RevisionMap": described})

    @route("GET", f"{API}/models/{NAME}/repo/files")
    def listing(self, request: Request, body: BinaryIO, name: str) -> Response:
        commit = self._find(request, name).find(request.query.get("Revision", BRANCH))
        if commit is None:
            return envelope({"Files": None, "IsVisual": 0, "LatestCommitter": None})
        root = request.query.get("Root", "").strip("/")
        entries = commit.listing(root, request.query.get("Recursive", "").lower() == "true")
        files = [self._entry(commit, entry["path"]) for entry in entries]
        latest = {"Id": "", "ShortId": commit.sha[:8]}
        return envelope({"Files": files[:LONGEST], "IsVisual": 0, "LatestCommitter": latest})

    @route("GET", f"{API}/models/{NAME}/repo")
    def file(self, request: Request, body: BinaryIO, name: str) -> Response:
        commit, path = self._find(request, name).find(request.query.get("Revision", BRANCH)), request.query["FilePath"]
        blob = commit and commit.files.get(path)
        if not blob:
            raise Refused(envelope(None, 404, MISSING))
        if is_large(path, blob.size):
            return Response.redirect(self.storage.large_file_url(blob.sha256, path))
        return Response.of_file(path, blob.content, {"ETag": f'"{blob.git_oid}"'})

    def _entry(self, commit: Commit, path: str) -> dict[str, Any]:
        named = {"Name": path.rpartition("/")[2], "Path": path}
        blob = commit.files.get(path)
        if blob is None:
            return {**named, "Type": "tree", "Size": 0, "Sha256": "", "IsLFS": False}
        revision = self._changed_in[commit.sha][path]
        facts = {"Sha256": blob.sha256, "IsLFS": is_large(path, blob.size), "Revision": revision}
        return {**named, "Type": "blob", "Size": blob.size, **facts}

    def _find(self, request: Request, name: str, writing: bool = False) -> Repository:
        known = self._is_known(request, writing)
        repository = self._repositories.get(name)
        if repository is None or (repository.private and not known):
            raise Refused(envelope(None, 404, MISSING))
        return repository

    def _is_known(self, request: Request, needed: bool) -> bool:
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        if (token and token not in self.tokens) or (needed and not token):
            raise Refused(envelope(None, 401, 10_010_203_001))
        return bool(token)

    # === Writing ===

    @route("POST", f"{API}/models")
    def create(self, request: Request, body: BinaryIO) -> Response:
        self._is_known(request, True)
        wanted = json.loads(body.read())
        name = f"{wanted['Path']}/{wanted['Name']}"
        if name in self._repositories:
            raise Refused(envelope(None, 400, 10_010_205_010))
        self._repositories[name] = Repository(name, private=wanted["Visibility"] == PRIVATE)
        self.commit(name, {".gitattributes": b"*.safetensors filter=lfs\n", "configuration.json": b"{}"})
        return envelope({"Id": 1, **wanted})

    @route("POST", f"{API}/repos/models/{NAME}/info/lfs/objects/batch")
    def batch(self, request: Request, body: BinaryIO, name: str) -> Response:
        self._find(request, name, writing=True)
        objects = []
        for entry in json.loads(body.read())["objects"]:
            missing = self.blobs.find(entry["oid"]) is None
            href = self.storage.large_file_url(entry["oid"], "upload")
            objects.append({**entry, "actions": {"upload": {"href": href}} if missing else {}})
        return envelope({"objects": objects})

    @route("POST", f"{API}/repos/models/{NAME}/commit/(?P<branch>.+)")
    def receive_commit(self, request: Request, body: BinaryIO, name: str, branch: str) -> Response:
        repository = self._find(request, name, writing=True)
        if branch not in repository.branches:
            raise Refused(envelope(None, 404, MISSING))
        changes = {action["path"]: self._content(action) for action in json.loads(body.read())["actions"]}
        return envelope({"Revision": self.commit(name, changes, branch)})

    def _content(self, action: Mapping[str, Any]) -> bytes | None:
        if action["action"] == "delete":
            return None
        if action["type"] == "normal":
            return base64.b64decode(action["content"])
        blob = self.blobs.find(action["sha256"])
        if blob is None or blob.size != action["size"]:
            raise Refused(envelope(None, 400, 10_010_205_011))
        return bytes(blob.content)


def envelope(data: Any, status: int = 200, code: int = 200) -> Response:
    """Returns an answer as the service wraps it."""
    message = "success" if status == 200 else "refused on purpose"
    document = {"Code": code, "Data": data, "Message": message, "RequestId": "tests", "Success": status == 200}
    return Response.json(document, status)
