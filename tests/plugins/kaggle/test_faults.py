"""Transfers that go wrong: what passes is repeated, what is wrong is never accepted (NW-03 to NW-06)."""

import random

import pytest

from servers import faults
from vertebra import PresetHandle
from vertebra.errors import IntegrityError, PresetError, SourceUnavailableError

VARIATION = "acme/bert/keras/small"
SMALL = bytes(range(200))
LARGE = bytes(range(251)) * 200
FILES = {"config.json": SMALL, "model.safetensors": LARGE}
BOTH = pytest.mark.parametrize("name", FILES)


@pytest.fixture
def kaggle(kaggle):
    kaggle.publish(VARIATION, FILES)
    return kaggle


def kept(cache):
    """Returns the contents that the cache vouches for."""
    return {path.read_bytes() for path in cache.glob("blobs/*/*")}


PASSING = {
    **{f"cut {after}": faults.cut(after, times=2) for after in (0, 1, 0.5, -1)},
    "longer than said": faults.length_lie(-1, times=1),
    "shorter than said": faults.length_lie(1, times=1),
    "chunked": faults.chunked(),
    "gzip": faults.gzip(times=1),
    "HTML": faults.html_page(times=1),
    "bit": faults.flip_bit(100, times=1),
    "previous content": faults.other_content(times=1),
    "reset": faults.reset(times=3),
    "reset in the middle": faults.reset(0.5, times=3),
    "500": faults.status(500, times=3),
    "408": faults.status(408, times=3),
    "429": faults.status(429, 0, times=3),
    "429 until": faults.status(429, faults.http_date(-10), times=3),
    "range ignored": faults.range_ignored(),
    "range shifted": faults.range_shifted(7, times=1),
    "range refused": faults.range_refused(),
    "other range, unsaid": faults.range_shifted(7, lie=True, times=1),
    "link refused": faults.status(403, times=1),
    "call failed": faults.status(503, paths="*/DownloadModelInstanceVersion", methods=("POST",), times=2),
    "call reset": faults.reset(paths="*/DownloadModelInstanceVersion", methods=("POST",), times=2),
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
    "link refused": (faults.status(403), SourceUnavailableError),
}


@BOTH
@pytest.mark.parametrize("fault", PASSING.values(), ids=PASSING)
def test_what_passes_is_repeated(kaggle, fetch, cache, fault, name):
    kaggle.faults = [fault]
    assert fetch(f"kaggle://{VARIATION}", name) == FILES[name]
    assert kept(cache) == {FILES[name]}


@BOTH
@pytest.mark.parametrize(("fault", "error"), LASTING.values(), ids=LASTING)
def test_what_lasts_is_told_and_nothing_is_kept(kaggle, fetch, cache, fault, error, name):
    kaggle.faults = [fault]
    with pytest.raises(error):
        fetch(f"kaggle://{VARIATION}", name)
    assert kept(cache) == set()
    kaggle.faults = []
    assert fetch(f"kaggle://{VARIATION}", name) == FILES[name]


@pytest.mark.parametrize(
    "fault",
    [
        faults.range_ignored(ranged=True),
        faults.range_shifted(7, ranged=True, times=1),
        faults.range_refused(),
        faults.status(503, ranged=True, times=2),
        faults.changing_etag(),
        faults.flip_bit(-9, ranged=True, times=1),
    ],
    ids=str,
)
def test_what_goes_wrong_when_a_transfer_goes_on(kaggle, fetch, source, monkeypatch, fault):
    monkeypatch.setattr(type(source), "streams", 1)
    kaggle.faults = [faults.cut(0.5, times=1), fault]
    assert fetch(f"kaggle://{VARIATION}") == LARGE


@BOTH
def test_no_flipped_bit_is_accepted(kaggle, source, cache, name):
    choose, pinned = random.Random(5), source.resolve(PresetHandle("kaggle", VARIATION))
    for _ in range(20):
        kaggle.faults = [faults.flip_bit(choose.randrange(len(FILES[name])), choose.randrange(8), files=name)]
        with pytest.raises(IntegrityError, match="md5"):
            source.fetch(pinned, name)
    assert kept(cache) == set()


def test_a_server_that_stalls_is_given_up(kaggle, fetch, monkeypatch):
    from vertebra_kaggle import client, storage

    monkeypatch.setattr(storage, "WAITS", (1.0, 0.1))
    monkeypatch.setattr(client, "WAITS", (1.0, 0.1))
    kaggle.faults = [faults.stall(10, times=1), faults.stall(10, at=None, times=1)]
    assert fetch(f"kaggle://{VARIATION}") == LARGE
    kaggle.faults = [faults.stall(10, at=None, paths="*/ListModelInstanceVersionFiles", methods=("POST",))]
    kaggle.publish(VARIATION, FILES)
    with pytest.raises(SourceUnavailableError, match="ReadTimeout"):
        fetch(f"kaggle://{VARIATION}/2")
