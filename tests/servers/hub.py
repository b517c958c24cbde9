"""A Hugging Face Hub for models, as huggingface_hub 2.4 speaks to it without Xet.

    with HubServer(tokens={"hf_good"}) as hub:
        sha = hub.commit("acme/bert", {"config.json": b"{}", "model.safetensors": Path("large.safetensors")})
        HfApi(endpoint=hub.url).hf_hub_download("acme/bert", "config.json", revision=sha)

In a process of its own: `python -m servers.hub FOLDER` prints its URL and serves the folder as one repository, until
its standard input ends.
"""

import argparse
import base64
import hashlib
import json
import sys
import threading
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import quote

from servers.blobs import BlobStore, is_large
from servers.faults import Fault
from servers.http import LoopbackServer, route
from servers.messages import Refused, Request, Response
from servers.repositories import Commit, Repository, oid, sibling

REPOSITORY = "(?P<name>[^/]+(?:/[^/]+)?)"
MODEL = f"/api/models/{REPOSITORY}"
REVISION = "(?P<revision>[^/]+)"
GIT_ATTRIBUTES = b"*.h5 filter=lfs diff=lfs merge=lfs -text\n*.safetensors filter=lfs diff=lfs merge=lfs -text\n"


class LargeFileServer(LoopbackServer):
    """Sends and receives large files by their sha256; who has the URL needs no token."""

    def __init__(self, blobs: BlobStore, host: str = "127.0.0.1", faults: Iterable[Fault] = ()) -> None:
        super().__init__(host, faults)
        self.blobs = blobs

    def large_file_url(self, sha256: str, path: str) -> str:
        return f"{self.url}/large/{sha256}/{quote(path)}?X-Amz-Expires=3600&X-Amz-Signature={sha256[:16]}"

    @route("GET", "/large/(?P<sha256>[0-9a-f]{64})/(?P<path>.+)")
    def download(self, request: Request, body: BinaryIO, sha256: str, path: str) -> Response:
        blob = self.blobs.find(sha256)
        if blob is None:
            raise Refused(Response.json({"error": "no such key"}, 404))
        # The storage knows nothing of git: its tag is another one than the hub's.
        return Response.of_file(path, blob.content, {"ETag": f'"{hashlib.md5(sha256.encode()).hexdigest()}"'})

    @route("PUT", "/large/(?P<sha256>[0-9a-f]{64})/(?P<path>.+)")
    def upload(self, request: Request, body: BinaryIO, sha256: str, path: str) -> Response:
        blob = self.blobs.receive(body)
        if blob.sha256 != sha256:
            raise Refused(Response.json({"error": "content does not have the hash that was announced"}, 400))
        return Response(200, {"ETag": f'"{sha256}"'})


class HubServer(LargeFileServer):
    """A hub.

    Args:
        tokens: those that it accepts; any other is refused, even where none is needed, as the real hub does.
        read_only: those of them that may not write.
        folder: where uploads are kept; in memory if it is not given.
        separate_storage: whether large files come from another origin, `storage`, to which the hub redirects.
        faults: what goes wrong, here and in the storage. Without separate storage each download of a file is one
            request; with it, `files` faults strike large files there, where the content comes from.
    """

    def __init__(
        self,
        tokens: Iterable[str] = (),
        read_only: Iterable[str] = (),
        folder: Path | None = None,
        separate_storage: bool = False,
        faults: Iterable[Fault] = (),
    ) -> None:
        super().__init__(BlobStore(folder), faults=faults)
        self.tokens = {*tokens, *read_only}
        self.read_only = set(read_only)
        self.user = "tester"
        self.storage = LargeFileServer(self.blobs, "localhost", self.faults) if separate_storage else self
        self._repositories: dict[str, Repository] = {}
        self._changing = threading.Lock()

    def start(self) -> None:
        super().start()
        if self.storage is not self:
            self.storage.start()

    def close(self) -> None:
        super().close()
        if self.storage is not self:
            self.storage.close()
            self.errors += self.storage.errors

    # === What tests say ===

    def commit(self, repo: str, files: Mapping[str, bytes | Path | None], branch: str = "main") -> str:
        """Adds files to a branch and removes those that are None; returns the commit's 40 hexadecimal digits.

        The repository is made if need be. A file that is given by its path is sent from there, and must stay as it is.
        """
        blobs = {path: None if source is None else self.blobs.add(source) for path, source in files.items()}
        with self._changing:
            repository = self._repositories.setdefault(repo, Repository(repo))
            return repository.commit(blobs, branch).sha

    def tag(self, repo: str, tag: str, revision: str = "main") -> None:
        """Names a commit; a tag of that name moves."""
        self._repositories[repo].tags[tag] = self._repositories[repo].find(revision).sha

    def private(self, repo: str, private: bool = True) -> None:
        """Hides a repository from those without a token."""
        self._repositories[repo].private = private

    def gated(self, repo: str, granted: Iterable[str] = ()) -> None:
        """Keeps the files of a repository, though not their list, for some tokens."""
        self._repositories[repo].gated = True
        self._repositories[repo].granted = set(granted)

    def delete(self, repo: str) -> None:
        """Removes a repository."""
        with self._changing:
            del self._repositories[repo]

    def files(self, repo: str, revision: str = "main") -> dict[str, bytes]:
        """Returns all files of a repository, by path."""
        return {path: bytes(blob.content) for path, blob in self._repositories[repo].find(revision).files.items()}

    # === Reading ===

    @route("GET", MODEL)
    @route("GET", f"{MODEL}/revision/{REVISION}")
    def model_info(self, request: Request, body: BinaryIO, name: str, revision: str = "main") -> Response:
        repository = self._readable(request, name)
        commit = self._commit(repository, revision)
        with_blobs = request.query.get("blobs", "").lower() in ("true", "1")
        info = {
            "id": name,
            "modelId": name,
            "author": name.partition("/")[0],
            "sha": commit.sha,
            "lastModified": "2026-01-01T00:00:00.000Z",
            "createdAt": "2026-01-01T00:00:00.000Z",
            "private": repository.private,
            "gated": "manual" if repository.gated else False,
            "disabled": False,
            "downloads": 0,
            "likes": 0,
            "tags": [],
            "siblings": [sibling(path, blob, with_blobs) for path, blob in sorted(commit.files.items())],
        }
        return Response.json(info)

    @route("GET", f"{MODEL}/tree/{REVISION}(?:/(?P<folder>.+))?")
    def tree(self, request: Request, body: BinaryIO, name: str, revision: str, folder: str = "") -> Response:
        commit = self._commit(self._readable(request, name), revision)
        listing = commit.listing(folder, request.query.get("recursive", "").lower() in ("true", "1"))
        if folder and not listing:
            raise refusal(404, "EntryNotFound", f"{folder} does not exist on {revision!r}")
        return Response.json(listing)

    @route("GET", f"/{REPOSITORY}/resolve/{REVISION}/(?P<path>.+)")
    def resolve(self, request: Request, body: BinaryIO, name: str, revision: str, path: str) -> Response:
        repository = self._downloadable(request, name)
        commit = self._commit(repository, revision)
        blob = commit.files.get(path)
        if blob is None:
            raise refusal(404, "EntryNotFound", "Entry not found", {"X-Repo-Commit": commit.sha})
        if not is_large(path, blob.size):
            headers = {"X-Repo-Commit": commit.sha, "ETag": f'"{blob.git_oid}"'}
            return Response.of_file(path, blob.content, headers)
        headers = {
            "X-Repo-Commit": commit.sha,
            "X-Linked-Size": str(blob.size),
            "X-Linked-ETag": f'"{blob.sha256}"',
            "ETag": f'"{blob.sha256}"',
        }
        if self.storage is self:
            return Response.of_file(path, blob.content, headers)
        return Response.redirect(self.storage.large_file_url(blob.sha256, path), headers=headers)

    @route("GET", "/api/whoami-v2")
    def whoami(self, request: Request, body: BinaryIO) -> Response:
        token = self._token(request)
        if token is None:
            raise refusal(401, None, "Invalid username or password.")
        role = "read" if token in self.read_only else "write"
        access = {"type": "access_token", "accessToken": {"displayName": "test", "role": role}}
        return Response.json({"type": "user", "name": self.user, "orgs": [], "auth": access})

    # === Writing, in the order in which an upload uses it ===

    @route("POST", "/api/repos/create")
    def create(self, request: Request, body: BinaryIO) -> Response:
        self._require_write(request)
        asked = json.load(body)
        name = f"{asked.get('organization') or self.user}/{asked['name']}"
        url = {"url": f"{self.url}/{name}", "name": name}
        if name in self._repositories:
            return Response.json({"error": "You already created this model repo", **url}, 409)
        self.commit(name, {".gitattributes": GIT_ATTRIBUTES})
        self.private(name, asked.get("visibility") == "private")
        return Response.json({**url, "id": name})

    @route("POST", "/api/validate-yaml")
    def validate_yaml(self, request: Request, body: BinaryIO) -> Response:
        return Response.json({"errors": [], "warnings": []})

    @route("POST", f"{MODEL}/preupload/{REVISION}")
    def preupload(self, request: Request, body: BinaryIO, name: str, revision: str) -> Response:
        commit = self._commit(self._writable(request, name), revision)
        return Response.json({"files": [self._upload_mode(commit, file) for file in json.load(body)["files"]]})

    def _upload_mode(self, commit: Commit, file: Mapping[str, Any]) -> dict[str, Any]:
        """Says how to upload a file, and the hash of what is there, by which a client knows that it need not."""
        path, blob = file["path"], commit.files.get(file["path"])
        mode = {"path": path, "uploadMode": "lfs" if is_large(path, file["size"]) else "regular", "shouldIgnore": False}
        if blob is not None:
            mode["oid"] = blob.sha256 if is_large(path, blob.size) else oid(path, blob)
        return mode

    @route("POST", f"/{REPOSITORY}\\.git/info/lfs/objects/batch")
    def announce(self, request: Request, body: BinaryIO, name: str) -> Response:
        self._writable(request, name)
        objects = [self._upload_actions(name, wanted) for wanted in json.load(body)["objects"]]
        return Response.json({"transfer": "basic", "objects": objects})

    def _upload_actions(self, name: str, wanted: Mapping[str, Any]) -> dict[str, Any]:
        """Says where to upload a large file; nowhere if it is here already."""
        announced = {"oid": wanted["oid"], "size": wanted["size"]}
        if self.blobs.find(wanted["oid"]) is not None:
            return announced
        upload = {"href": self.storage.large_file_url(wanted["oid"], "upload")}
        verify = {"href": f"{self.url}/{name}.git/info/lfs/objects/verify"}
        return {**announced, "authenticated": True, "actions": {"upload": upload, "verify": verify}}

    @route("POST", f"/{REPOSITORY}\\.git/info/lfs/objects/verify")
    def verify(self, request: Request, body: BinaryIO, name: str) -> Response:
        self._writable(request, name)
        self._uploaded(json.load(body))
        return Response.json({})

    @route("POST", f"{MODEL}/commit/{REVISION}")
    def add_commit(self, request: Request, body: BinaryIO, name: str, revision: str) -> Response:
        repository = self._writable(request, name)
        lines = [json.loads(line) for line in body]
        with self._changing:
            parent = self._commit(repository, revision)
            changes: dict[str, Any] = {}
            for line in lines:
                changes |= self._changes(parent, line["key"], line["value"])
            commit = repository.commit(changes, revision)
        url = f"{self.url}/{name}/commit/{commit.sha}"
        return Response.json({"success": True, "commitOid": commit.sha, "commitUrl": url, "hookOutput": ""})

    def _changes(self, parent: Commit, kind: str, value: Mapping[str, Any]) -> dict[str, Any]:
        """Returns what a line of an upload changes: a blob, or None for one that is removed, by path."""
        if kind == "header":
            if value.get("parentCommit", parent.sha) != parent.sha:
                raise refusal(412, None, "A commit has happened since. Please refresh and try again.")
            return {}
        path = value["path"]
        if kind == "file":
            return {path: self.blobs.add(base64.b64decode(value["content"]))}
        if kind == "lfsFile":
            return {path: self._uploaded(value)}
        removed = [known for known in parent.files if known == path or known.startswith(f"{path.rstrip('/')}/")]
        if not removed:
            raise refusal(404, "EntryNotFound", "A file with this name doesn't exist")
        return dict.fromkeys(removed)

    def _uploaded(self, described: Mapping[str, Any]) -> Any:
        blob = self.blobs.find(described["oid"])
        if blob is None or blob.size != described.get("size", blob.size):
            raise refusal(400, None, f"The object {described['oid']} was not uploaded, or with another size")
        return blob

    # === Who may do what ===

    def _token(self, request: Request) -> str | None:
        """Returns the token of a request. One that is not accepted is an error, even where none is needed."""
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if not scheme:
            return None
        if token not in self.tokens:
            raise refusal(401, None, "Invalid credentials in Authorization header")
        return token

    def _readable(self, request: Request, name: str) -> Repository:
        """Returns a repository that the request may know of."""
        token = self._token(request)
        repository = self._repositories.get(name)
        if repository is None or (repository.private and token is None):
            # Who has no token is not told which of the two it is.
            raise refusal(401 if token is None else 404, "RepoNotFound", "Repository not found")
        return repository

    def _downloadable(self, request: Request, name: str) -> Repository:
        """Returns a repository whose files the request may have."""
        repository, token = self._readable(request, name), self._token(request)
        if repository.gated and token not in repository.granted:
            reason = f"Access to model {name} is restricted and you are not in the authorized list."
            raise refusal(401 if token is None else 403, "GatedRepo", reason)
        return repository

    def _writable(self, request: Request, name: str) -> Repository:
        self._require_write(request)
        return self._readable(request, name)

    def _require_write(self, request: Request) -> None:
        token = self._token(request)
        if token is None:
            raise refusal(401, None, "Invalid username or password.")
        if token in self.read_only:
            raise refusal(403, None, "Forbidden: the token has no right to write")

    def _commit(self, repository: Repository, revision: str) -> Commit:
        commit = repository.find(revision)
        if commit is None:
            raise refusal(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        return commit


def refusal(status: int, code: str | None, message: str, headers: Mapping[str, str] | None = None) -> Refused:
    """Returns an error as the hub words it: what clients look at are headers."""
    named = {"X-Error-Message": message, **({} if code is None else {"X-Error-Code": code}), **(headers or {})}
    return Refused(Response.json({"error": message}, status, named))


def main() -> None:
    parser = argparse.ArgumentParser(prog="servers.hub", description="Serve a folder as a repository of a hub.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--repo", default="bench/model")
    parser.add_argument("--separate-storage", action="store_true")
    arguments = parser.parse_args()
    with HubServer(separate_storage=arguments.separate_storage) as hub:
        files = [path for path in sorted(arguments.folder.rglob("*")) if path.is_file()]
        hub.commit(arguments.repo, {path.relative_to(arguments.folder).as_posix(): path for path in files})
        print(hub.url, flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
