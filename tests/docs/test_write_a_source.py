"""The source of the tutorial passes its suite, is short, and reads from the server that the page starts."""

import functools
import http.server
import sys
import threading
import tomllib
import types

import pytest

import vertebra
from pages import code, files
from vertebra.errors import IntegrityError
from vertebra.testing import opened

PAGE = "tutorials/write-a-source.md"
FILES = files(PAGE)

module = sys.modules["vertebra_acme"] = types.ModuleType("vertebra_acme")
exec(compile(FILES["vertebra_acme.py"], "vertebra_acme.py", "exec"), module.__dict__)
exec(compile(FILES["test_acme.py"], "test_acme.py", "exec"))
del sys.modules["vertebra_acme"]


def test_it_is_short():
    """What an author writes: the class, without the hook and imports."""
    own = FILES["vertebra_acme.py"].partition("class AcmeSource")[2].partition("@hookimpl")[0]
    assert len([line for line in own.splitlines() if line.strip()]) <= 20


def test_the_package_declares_the_module():
    project = tomllib.loads(FILES["pyproject.toml"])["project"]
    assert project["entry-points"]["vertebra"] == {"acme": "vertebra_acme"}
    assert project["entry-points"]["vertebra.api"] == {str(vertebra.API_VERSION): "vertebra_acme"}


@pytest.fixture
def served(tmp_path, monkeypatch):
    """The source, reading from a server of the files that the page makes."""
    monkeypatch.chdir(tmp_path)
    (making,) = (block for block in code(PAGE) if "www/team/bert" in block)
    exec(compile(making, PAGE, "exec"), {})
    handler = functools.partial(Quiet, directory=tmp_path / "www")  # noqa: F821 (a class of the page)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield module.AcmeSource(f"http://127.0.0.1:{server.server_port}")
        server.shutdown()
        thread.join()


def test_its_files_are_read_and_a_changed_byte_is_refused(served, tmp_path):
    source = opened(served)
    pinned = source.resolve(vertebra.PresetHandle.parse("acme://team/bert"))
    assert str(pinned) == "acme://team/bert@v1"
    assert source.fetch(pinned, "notes.txt").read_bytes() == b"Hello."
    (tmp_path / "www/team/bert/v1/config.json").write_bytes(b'{"vertebra_format": 2}')
    with pytest.raises(IntegrityError, match=r"config\.json"):
        source.fetch(pinned, "config.json")
