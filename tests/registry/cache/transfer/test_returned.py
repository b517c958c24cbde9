"""A source that returns something else than it must is named with its method."""

import pytest

from vertebra import PresetFile, PresetHandle, Snapshot
from vertebra._resolve.open import open_folder
from vertebra.errors import PluginError, SourceUnavailableError

FILE = PresetFile("config.json", 8)


@pytest.mark.parametrize(
    ("snapshot", "problem"),
    [
        (lambda: [FILE], "resolve_snapshot returned a list, expected a Snapshot"),
        (lambda: None, "resolve_snapshot returned None, expected a Snapshot"),
        (
            lambda: Snapshot(PresetHandle("toy", "bert", "main"), [FILE]),
            "resolve_snapshot returned toy://bert@main, which is_pinned says is not pinned",
        ),
        (
            lambda: Snapshot(PresetHandle("toy", "bert", "r1"), [PresetFile("config.json", "8")]),
            r"resolve_snapshot failed \(TypeError: PresetFile 'config.json': size '8': expected an int\)",
        ),
    ],
)
def test_a_wrong_snapshot_is_named(toy, monkeypatch, snapshot, problem):
    monkeypatch.setattr(toy, "resolve_snapshot", lambda handle: snapshot())
    with pytest.raises(PluginError, match=rf"toy_remote.*: its source of toy://: {problem}\. Correct the source"):
        open_folder("toy://bert@main")


@pytest.mark.parametrize("size", [-5, 2**50 + 1, 10**30])
def test_a_size_that_no_file_has_is_a_fault_of_the_service(toy, monkeypatch, size):
    """V9: a hub that lists a size of 10 to the power of 30 is to blame, and not the plugin that passes it on."""
    pinned = PresetHandle("toy", "bert", "r1")
    monkeypatch.setattr(toy, "resolve_snapshot", lambda handle: Snapshot(pinned, [PresetFile("config.json", size)]))
    with pytest.raises(SourceUnavailableError, match="the service lists a size that no file has"):
        open_folder("toy://bert@main")


@pytest.mark.parametrize(("answer", "said"), [(b"data", "bytes"), (iter(()), "tuple_iterator")])
@pytest.mark.parametrize("streams", [1, 4])
def test_a_wrong_stream_is_named(toy, monkeypatch, answer, said, streams):
    monkeypatch.setattr(toy, "read", lambda *_: answer)
    monkeypatch.setattr(toy, "streams", streams)
    monkeypatch.setattr("vertebra._cache.transfer.download.RANGE", 100)
    with pytest.raises(PluginError, match=rf"read returned a {said}, expected a ByteStream"):
        open_folder("toy://bert").fetch("model.bin")
