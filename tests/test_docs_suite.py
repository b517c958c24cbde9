"""The plugins without Keras in the pages about plugins pass the suites, by the test classes of these pages."""

import functools
import hashlib
import http.server
import importlib
import json
import re
import shutil
import sys
import tempfile
import threading
import types
from pathlib import Path

import pytest

import vertebra
from pages import code, page
from vertebra import PresetHandle
from vertebra.errors import PresetError, PresetNotFoundError, SourceUnavailableError
from vertebra.testing import RemoteSourceSuite, opened
from vertebra.testing.sources import written

PAGE = page("how-to/write-a-plugin.md")
SOURCE = code("how-to/write-a-plugin.md")[0]
DOWNLOADING, UPLOADING = code("how-to/write-a-remote-source.md")
TEST = code("how-to/test-a-plugin.md")[0]

module = sys.modules.setdefault("vertebra_team", types.ModuleType("vertebra_team"))
exec(compile(SOURCE, "vertebra_team.py", "exec"), module.__dict__)
exec(compile(TEST, "test_team.py", "exec"))

FILES = re.findall(
    r"`([\w/]+)\.py`\n\n```python\n(.+?)```",
    PAGE + page("how-to/mirror.md"),
    flags=re.DOTALL,
)
OTHERS = ("acme_presets", "acme_names", "acme_mirror", "acme_allowed")
FOLDER = tempfile.TemporaryDirectory(prefix="vertebra_docs_")
for name, text in FILES:
    if name in OTHERS:
        Path(FOLDER.name, f"{name}.py").write_text(text, encoding="utf-8")
sys.path.insert(0, FOLDER.name)
SIGNING = ("vertebra_signing",) if shutil.which("openssl") else ()  # it makes keys with the command
for name in ("acme_presets", "acme_names", "acme_policies", *SIGNING):
    exec(compile(dict(FILES)[f"test_{name}"], f"test_{name}.py", "exec"))
sys.path.remove(FOLDER.name)


@pytest.fixture(scope="module", autouse=True)
def installed():
    """Adds the plugins of the page whose tests need them; policies are not added, because they would be asked."""
    sys.path.insert(0, FOLDER.name)
    for name in OTHERS[:2]:
        vertebra.add_plugin(importlib.import_module(name), name)
    yield
    for name in OTHERS[:2]:
        vertebra.remove_plugin(name)
    for name in OTHERS:
        del sys.modules[name]
    sys.path.remove(FOLDER.name)


def test_the_remote_source_is_short():
    assert len([line for line in DOWNLOADING.splitlines() if line.strip()]) <= 35


TOKEN = "acme-token-for-the-service-alone"


class TestRemoteSourceOfThePage(RemoteSourceSuite):
    """The remote source of the page, with a web server that ignores ranges."""

    client = "urllib3"

    @pytest.fixture
    def server(self, tmp_path):
        (tmp_path / "www").mkdir()
        handler = functools.partial(Handler, directory=tmp_path / "www")
        with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
            server.location, server.tokens = None, []
            thread = threading.Thread(target=server.serve_forever, args=(0.01,))
            thread.start()
            yield server
            server.shutdown()
            thread.join()

    @pytest.fixture
    def source(self, server):
        module = types.ModuleType("vertebra_acme")
        exec(compile(DOWNLOADING, "vertebra_acme.py", "exec"), module.__dict__)
        module.SERVER = f"http://127.0.0.1:{server.server_port}"
        downloading = module.AcmeSource
        exec(compile(UPLOADING, "vertebra_acme.py", "exec"), module.__dict__)
        return type("AcmeSource", (module.AcmeSource, downloading), {})()

    @pytest.fixture
    def publish(self, server, tmp_path):
        def publish(files):
            folder = tmp_path / "www" / "bert"
            digests = {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
            revision = hashlib.sha256(repr(digests).encode()).hexdigest()[:8]
            written(folder / revision, files)
            listed = [{"name": name, "size": len(files[name]), "sha256": digests[name]} for name in files]
            for name in (revision, "newest"):
                (folder / f"{name}.json").write_text(json.dumps({"revision": revision, "files": listed}))
            return PresetHandle("acme", "bert")

        return publish

    @pytest.fixture
    def missing_handle(self):
        return PresetHandle("acme", "missing")

    @pytest.fixture
    def new_handle(self):
        return PresetHandle("acme", "new")

    @pytest.fixture
    def secret(self, monkeypatch):
        monkeypatch.setenv("ACME_TOKEN", TOKEN)
        return TOKEN

    @pytest.fixture
    def requests(self, server):
        return lambda: len(server.tokens)

    @pytest.fixture
    def redirect(self, server):
        return functools.partial(setattr, server, "location")

    def test_the_token_goes_to_the_service(self, source, publish, server, secret):
        opened(source).resolve(publish({"config.json": b"{}"}))
        assert server.tokens == [f"Bearer {TOKEN}"]

    def test_a_refused_connection_says_so(self, source, publish, server, monkeypatch):
        handle = publish({"config.json": b"{}"})
        server.shutdown()
        server.server_close()
        with pytest.raises(SourceUnavailableError, match=r"ConnectionRefusedError: .*refused"):
            opened(source).resolve(handle)

    def test_a_path_is_no_query(self, source, server, secret):
        with pytest.raises(PresetNotFoundError):
            opened(source).resolve(PresetHandle("acme", "bert?admin=1#x"))

    def test_a_redirected_upload_is_refused(self, source, server, secret, new_handle):
        server.location = "http://127.0.0.1:1/"
        with pytest.raises(PresetError, match="302"):
            source._put(new_handle, "new/x", b"")

    def test_a_bad_index_is_said_to_be_damaged(self, source, publish, tmp_path):
        handle = publish({"config.json": b"{}"})
        (tmp_path / "www" / "bert" / "newest.json").write_text("[]")
        with pytest.raises(SourceUnavailableError, match="its index is damaged"):
            opened(source).resolve(handle)


class Handler(http.server.SimpleHTTPRequestHandler):
    """Serves files, or redirects all requests."""

    def do_GET(self):
        self.server.tokens.append(self.headers["Authorization"])
        if self.server.location is None:
            super().do_GET()
        else:
            self._redirect()

    def do_PUT(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.server.location is not None:
            self._redirect()
            return
        path = Path(self.translate_path(self.path))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body)
        self.send_response(201)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _redirect(self):
        self.send_response(302)
        self.send_header("Location", self.server.location)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass
