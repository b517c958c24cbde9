"""Transfers that go wrong: what passes is repeated, what is wrong is never accepted (NW-03 to NW-06)."""

import random

import pytest

from servers import faults
from vertebra import PresetHandle
from vertebra.errors import IntegrityError, PresetError, SourceUnavailableError
from vertebra_hf import hub as asking

REPO = "acme/bert"
SMALL = bytes(range(200))
LARGE = bytes(range(251)) * 200
FILES = {"config.json": SMALL, "model.safetensors": LARGE}
BOTH = pytest.mark.parametrize("name", FILES)


@pytest.fixture
def hub(hub):
    hub.commit(REPO, FILES)
    return hub


def kept(cache):
    """Returns the contents that the cache vouches for."""
    return {path.read_bytes() for path in cache.glob("blobs/*/*")}


PASSING = {
    **{f"cut {after}": faults.cut(after, times=2) for after in (0, 1, 0.5, -1)},
    "longer than said": faults.length_lie(-1, times=1),
    "shorter than said": faults.length_lie(1, times=1),
    "chunked": faults.chunked(),
    "chunked and cut": faults.cut(0.5, times=1),
    "gzip": faults.gzip(times=1),
    "HTML": faults.html_page(times=1),
    "bit": faults.flip_bit(100, times=1),
    "previous content": faults.other_content(times=1),
    "reset": faults.reset(times=3),
    "reset in the middle": faults.reset(0.5, times=3),
    "500": faults.status(500, times=3),
    "503": faults.status(503, times=3),
    "408": faults.status(408, times=3),
    "429": faults.status(429, 0, times=3),
    "429 until": faults.status(429, faults.http_date(-10), times=3),
    "range ignored": faults.range_ignored(),
    "range shifted": faults.range_shifted(7, times=1),
    "range refused": faults.range_refused(),
    "other range, unsaid": faults.range_shifted(7, lie=True, times=1),
}
LASTING = {
    "cut": (faults.cut(0.5), SourceUnavailableError),
    "cut at once": (faults.cut(0), SourceUnavailableError),
    "longer than it is": (faults.length_lie(-1), (IntegrityError, SourceUnavailableError)),
    "gzip": (faults.gzip(), IntegrityError),
    "HTML": (faults.html_page(), IntegrityError),
    "bit": (faults.flip_bit(100), IntegrityError),
    "last bit": (faults.flip_bit(-1, 7), IntegrityError),
    "zeros": (faults.zero_tail(50), IntegrityError),
    "previous content": (faults.other_content(), IntegrityError),
    "other size": (faults.other_content(b"short"), IntegrityError),
    "reset": (faults.reset(), SourceUnavailableError),
    "500": (faults.status(500), SourceUnavailableError),
    "long break": (faults.status(429, 10**9), SourceUnavailableError),
    "teapot": (faults.status(418), PresetError),
}


@BOTH
@pytest.mark.parametrize("fault", PASSING.values(), ids=PASSING)
def test_what_passes_is_repeated(hub, fetch, cache, fault, name):
    hub.faults = [fault]
    assert fetch(f"hf://{REPO}", name) == FILES[name]
    assert kept(cache) == {FILES[name]}


@BOTH
@pytest.mark.parametrize(("fault", "error"), LASTING.values(), ids=LASTING)
def test_what_lasts_is_told_and_nothing_is_kept(hub, fetch, cache, fault, error, name):
    hub.faults = [fault]
    with pytest.raises(error):
        fetch(f"hf://{REPO}", name)
    assert kept(cache) == set()
    hub.faults = []
    assert fetch(f"hf://{REPO}", name) == FILES[name]


@pytest.mark.parametrize(
    "fault",
    [
        faults.range_ignored(ranged=True),
        faults.range_shifted(7, ranged=True, times=1),
        faults.range_refused(),
        faults.status(503, ranged=True, times=2),
        faults.changing_etag(),
    ],
    ids=str,
)
def test_what_goes_wrong_when_a_transfer_goes_on(hub, fetch, source, monkeypatch, fault):
    monkeypatch.setattr(type(source), "streams", 1)
    hub.faults = [faults.cut(0.5, times=1), fault]
    assert fetch(f"hf://{REPO}") == LARGE


@BOTH
def test_no_flipped_bit_is_accepted(hub, source, cache, name):
    choose, pinned = random.Random(5), source.resolve(PresetHandle("hf", REPO))
    for _ in range(20):
        hub.faults = [faults.flip_bit(choose.randrange(len(FILES[name])), choose.randrange(8), files=name)]
        with pytest.raises(IntegrityError):
            source.fetch(pinned, name)
    assert kept(cache) == set()


def test_a_server_that_stalls_is_given_up(hub, fetch, monkeypatch):
    monkeypatch.setattr(asking, "READ_SECONDS", 0.1)
    hub.faults = [faults.stall(10, times=1), faults.stall(10, at=None, times=1)]
    assert fetch(f"hf://{REPO}") == LARGE
    hub.faults = [faults.stall(10, at=None, paths="/api/*")]
    with pytest.raises(SourceUnavailableError, match="ReadTimeout"):
        fetch(f"hf://{REPO}@main")
