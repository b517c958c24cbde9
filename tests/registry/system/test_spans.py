"""Spans of fetches, in the real SDK; nothing without it; and no secrets or local paths in attributes."""

import subprocess
import sys
import types

import pytest
from opentelemetry import trace

from recorded_spans import recorded_spans
from vertebra._resolve.open import open_folder
from vertebra._system import spans
from vertebra._system.spans import annotate, is_recording, public_handle, span, traced
from vertebra.errors import OfflineError, PresetNotFoundError


@pytest.fixture
def recorded():
    """Returns a function that returns the spans that have ended: their attributes by name and order."""
    with recorded_spans() as exporter:
        yield exporter.get_finished_spans


def attributes(found, name):
    return [dict(one.attributes) for one in found if one.name == name]


# === Fetches ===


def test_a_fetch_has_a_span_for_the_preset_and_one_for_each_file(toy, recorded):
    folder = open_folder("toy://bert")
    folder.fetch_all(["config.json", "model.bin"])
    (whole,) = attributes(recorded(), "vertebra.fetch")
    assert whole == {
        "vertebra.preset": "toy://bert@r1",
        "vertebra.files": 2,
        "vertebra.bytes": 5128,
        "vertebra.missing_bytes": 5128,
        "vertebra.cached": False,
    }
    files = {one["vertebra.file"]: one for one in attributes(recorded(), "vertebra.fetch.file")}
    assert files["model.bin"] == {
        "vertebra.preset": "toy://bert@r1",
        "vertebra.file": "model.bin",
        "vertebra.bytes": 5120,
        "vertebra.cached": False,
    }
    parent = next(one for one in recorded() if one.name == "vertebra.fetch")
    inner = [one for one in recorded() if one.name == "vertebra.fetch.file"]
    assert [one.parent.span_id for one in inner] == [parent.context.span_id] * 2  # also from threads


def test_a_cached_file_is_told_apart(toy, recorded):
    folder = open_folder("toy://bert")
    folder.fetch("config.json")
    folder.fetch_all(["config.json", "model.bin"])
    last = attributes(recorded(), "vertebra.fetch")[-1]
    assert (last["vertebra.missing_bytes"], last["vertebra.cached"]) == (5120, False)
    cached = {one["vertebra.file"]: one["vertebra.cached"] for one in attributes(recorded(), "vertebra.fetch.file")}
    assert cached == {"config.json": True, "model.bin": False}
    folder.fetch("model.bin")
    assert attributes(recorded(), "vertebra.fetch")[-1]["vertebra.cached"] is True


def test_a_failed_fetch_has_the_kind_of_its_error_and_no_message(toy, recorded):
    folder = open_folder("toy://bert")
    toy.presets["bert"]["r1"]["model.bin"] = b"secret"
    with pytest.raises(Exception) as caught:
        folder.fetch("model.bin")
    (failed,) = [one for one in recorded() if one.name == "vertebra.fetch"]
    assert failed.attributes["error.type"] == type(caught.value).__name__
    assert failed.status.status_code is trace.StatusCode.ERROR
    assert failed.status.description is None
    assert failed.events == ()
    (of_file,) = [one for one in recorded() if one.name == "vertebra.fetch.file"]
    assert (of_file.attributes["vertebra.file"], of_file.attributes["error.type"]) == (
        "model.bin",
        failed.attributes["error.type"],
    )


def test_a_fetch_without_a_network_that_lacks_files_has_failed(toy, recorded, configure):
    folder = open_folder("toy://bert")
    folder.fetch("config.json")
    configure(VERTEBRA_OFFLINE="1")
    with pytest.raises(OfflineError):
        folder.fetch_all(["config.json", "model.bin"])
    last = [one for one in recorded() if one.name == "vertebra.fetch"][-1]
    assert last.attributes["error.type"] == "OfflineError"
    assert last.status.status_code is trace.StatusCode.ERROR
    assert last.attributes["vertebra.preset"] == "toy://bert@r1"


# === Spans ===


def test_a_span_is_inside_the_span_of_the_program(recorded):
    with trace.get_tracer("mine").start_as_current_span("mine") as own, span("load", bytes=1, note=None):
        annotate(format="native")
    inner = recorded()[0]
    assert inner.parent.span_id == own.get_span_context().span_id
    assert dict(inner.attributes) == {"vertebra.bytes": 1, "vertebra.format": "native"}
    assert inner.instrumentation_scope.name == "vertebra"
    annotate(format="lost")  # outside of any span of ours, also inside one of the program
    assert not is_recording()


def test_a_decorated_function_describes_its_result(recorded):
    @traced("adapt", lambda result: {"layers": result})
    def adapt(value):
        """Adapts."""
        return value + 1

    assert (adapt(1), adapt.__doc__) == (2, "Adapts.")
    assert attributes(recorded(), "vertebra.adapt") == [{"vertebra.layers": 2}]


def test_an_unsampled_span_describes_nothing(recorded, monkeypatch):
    monkeypatch.setattr(spans, "_API", "opentelemetry.trace.not_there")
    called = []
    assert traced("adapt", called.append)(lambda: 3)() == 3
    with span("x") as set_attributes:
        set_attributes(bytes=1)
    assert called == []
    with monkeypatch.context() as patch:
        patch.setattr(spans, "_API", "opentelemetry.trace")
        patch.setattr(trace, "_TRACER_PROVIDER", trace.NoOpTracerProvider())
        assert traced("adapt", called.append)(lambda: 3)() == 3
        with pytest.raises(PresetNotFoundError), span("x"):
            raise PresetNotFoundError("a", "b")
    assert (called, recorded()) == ([], ())


def test_an_api_that_is_being_imported_records_nothing(recorded, monkeypatch):
    monkeypatch.setitem(sys.modules, "opentelemetry.trace", types.ModuleType("opentelemetry.trace"))
    with span("load", bytes=1) as set_attributes:
        set_attributes(files=2)
    assert recorded() == ()


@pytest.mark.parametrize("code", ["import vertebra", "from vertebra.cli import main; main(['presets'])"])
def test_a_program_that_traces_nothing_imports_nothing(code):
    code += "; import sys; print(*(name for name in sys.modules if name.startswith('opentelemetry')), 'end')"
    shown = subprocess.check_output([sys.executable, "-c", code], text=True, timeout=120)
    assert shown.splitlines()[-1].split() == ["end"]


@pytest.mark.parametrize(
    ("handle", "shown"),
    [
        ("hf://acme/bert@v2", "hf://acme/bert@v2"),
        ("bert_base_en", "bert_base_en"),
        ("file:///srv/ada/secret/bert", "file:///…/bert"),
        ("/srv/ada/bert/", "bert"),
        ("C:\\Users\\ada\\bert", "bert"),
        ("web://ada:hunter2@example.org/bert", "web://***@example.org/bert"),
        ("web://token:x/bert", "web://***/bert"),
        ("web://example.org/bert?token=abc", "web://example.org/bert"),
        ("web://example.org/bert%3Ftoken=abc", "web://example.org/bert"),
        ("oci://registry:5000/bert@sha256:ab", "oci://registry:5000/bert@sha256:ab"),
    ],
)
def test_handles_have_no_credentials_and_no_local_paths(handle, shown):
    assert public_handle(handle) == shown
