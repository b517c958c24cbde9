"""A mirror of a hub in a bucket, as docs/how-to/mirror.md shows it, between a real gateway and a hub."""

import types

import pytest

import vertebra
from servers.hub import HubServer
from vertebra import PresetHandle
from vertebra._discovery import catalog, plugins
from vertebra._resolve.open import open_folder

EXAMPLE = "docs/how-to/mirror.md"
FILES = {"config.json": b'{"layers": 2}', "model.safetensors": bytes(range(251)) * 200}
OTHERS = {"config.json": b'{"layers": 3}'}


@pytest.fixture
def hub(source, monkeypatch):
    """A hub with two presets, of which the bucket has one."""
    pytest.importorskip("huggingface_hub")
    with HubServer() as hub:
        hub.commit("acme/bert", FILES)
        hub.commit("acme/other", OTHERS)
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        yield hub


@pytest.fixture
def mirror(hub, proxy, source, write, pytestconfig):
    """The plugin in use; the bucket is filled."""
    source.upload(PresetHandle("s3", "models/hf/acme/bert"), write(FILES), True, "mirror")
    page = (pytestconfig.rootpath / EXAMPLE).read_text(encoding="utf-8")
    code = page.partition("`acme_mirror.py`\n\n```python\n")[2].partition("```")[0]
    module = types.ModuleType("acme_mirror")
    exec(compile(code.replace("acme-models", "models"), "acme_mirror.py", "exec"), module.__dict__)
    vertebra.add_plugin(module, "acme-mirror")
    yield
    plugins.registry.cache_clear()
    catalog.clear_catalog()


def read(handle):
    folder = open_folder(handle)
    names = sorted(folder.names & FILES.keys())
    return str(folder.handle), {
        name: path.read_bytes() for name, path in zip(names, folder.fetch_all(names), strict=True)
    }


def test_what_the_bucket_has_comes_from_there_and_the_rest_from_the_hub(mirror, hub, proxy):
    handle, files = read("hf://acme/bert")
    assert (handle.partition("@")[0], files) == ("s3://models/hf/acme/bert", FILES)
    assert hub.requests == []
    handle, files = read("hf://acme/other")
    assert (handle.partition("@")[0], files) == ("hf://acme/other", OTHERS)
    assert hub.requests != []


def test_where_the_bucket_does_not_answer_the_hub_is_asked(mirror, hub, proxy, monkeypatch, caplog):
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")
    handle, files = read("hf://acme/bert")
    assert (handle.partition("@")[0], files) == ("hf://acme/bert", FILES)
    assert "Trying the next candidate" in caplog.text
