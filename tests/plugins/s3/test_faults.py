"""Transfers that go wrong: what passes is repeated, what is wrong is never accepted (NW-03 to NW-06)."""

import random

import pytest

from servers import faults
from vertebra.errors import IntegrityError, PresetError, SourceUnavailableError
from vertebra_s3 import bucket

pytest.importorskip("obstore")

SMALL = bytes(range(200))
LARGE = bytes(range(251)) * 200
FILES = {"config.json": SMALL, "model.safetensors": LARGE}
BOTH = pytest.mark.parametrize("name", FILES)

PASSING = {
    **{f"cut {after}": lambda after=after: faults.cut(after, times=2) for after in (0, 1, 0.5, -1)},
    "longer than said": lambda: faults.length_lie(-1, times=1),
    "shorter than said": lambda: faults.length_lie(1, times=1),
    "chunked": lambda: faults.chunked(times=2),
    "gzip": lambda: faults.gzip(times=1),
    "HTML": lambda: faults.html_page(times=1),
    "bit": lambda: faults.flip_bit(100, times=1),
    "previous content": lambda: faults.other_content(times=1),
    "reset": lambda: faults.reset(times=3),
    "reset in the middle": lambda: faults.reset(0.5, times=3),
    "500": lambda: faults.status(500, times=3),
    "503": lambda: faults.status(503, times=3),
    "408": lambda: faults.status(408, times=3),
    "429": lambda: faults.status(429, times=3),
    "range ignored": lambda: faults.range_ignored(),
    "range shifted": lambda: faults.range_shifted(7, times=1),
    "range refused": lambda: faults.range_refused(),
    "other range, unsaid": lambda: faults.range_shifted(7, lie=True, times=1),
    "other tag each time": lambda: faults.changing_etag(),
}
LASTING = {
    "cut": (faults.cut(0.5), SourceUnavailableError),
    "cut at once": (faults.cut(0), SourceUnavailableError),
    "longer than it is": (faults.length_lie(-1), (IntegrityError, SourceUnavailableError)),
    "gzip": (faults.gzip(), (IntegrityError, SourceUnavailableError)),
    "HTML": (faults.html_page(), (IntegrityError, SourceUnavailableError)),
    "bit": (faults.flip_bit(100), IntegrityError),
    "last bit": (faults.flip_bit(-1, 7), IntegrityError),
    "zeros": (faults.zero_tail(50), IntegrityError),
    "previous content": (faults.other_content(), IntegrityError),
    "other size": (faults.other_content(b"short"), (IntegrityError, SourceUnavailableError)),
    "reset": (faults.reset(), SourceUnavailableError),
    "500": (faults.status(500), SourceUnavailableError),
    "teapot": (faults.status(418), PresetError),
}


@pytest.fixture
def pinned(source, write, place):
    """A preset that was pushed and looked up: what goes wrong from now on strikes its files."""
    pinned = source.upload(place, write(FILES), False, "message")
    source.files(pinned)
    return pinned


@pytest.fixture
def fetch(source, pinned):
    return lambda name="model.safetensors": source.fetch(pinned, name).read_bytes()


def kept(cache):
    """Returns the contents that the cache vouches for."""
    return {path.read_bytes() for path in cache.glob("blobs/*/*")}


@BOTH
@pytest.mark.parametrize("fault", PASSING.values(), ids=PASSING)
def test_what_passes_is_repeated(proxy, fetch, cache, fault, name):
    proxy.faults = [fault()]
    assert fetch(name) == FILES[name]
    assert kept(cache) == {FILES[name]}


@BOTH
@pytest.mark.parametrize(("fault", "error"), LASTING.values(), ids=LASTING)
def test_what_lasts_is_told_and_nothing_is_kept(proxy, fetch, cache, fault, error, name):
    proxy.faults = [fault]
    with pytest.raises(error):
        fetch(name)
    assert kept(cache) == set()
    proxy.faults = []
    assert fetch(name) == FILES[name]


@pytest.mark.parametrize(
    "fault",
    [
        lambda: faults.range_ignored(ranged=True),
        lambda: faults.range_shifted(7, ranged=True, times=1),
        lambda: faults.range_refused(),
        lambda: faults.status(503, ranged=True, times=2),
        lambda: faults.changing_etag(),
    ],
)
def test_what_goes_wrong_when_a_transfer_goes_on(proxy, fetch, source, monkeypatch, fault):
    monkeypatch.setattr(type(source), "streams", 1)
    proxy.faults = [faults.cut(0.5, times=1), fault()]
    assert fetch() == LARGE


@BOTH
def test_no_flipped_bit_is_accepted(proxy, source, pinned, cache, name):
    choose = random.Random(5)
    for _ in range(20):
        proxy.faults = [faults.flip_bit(choose.randrange(len(FILES[name])), choose.randrange(8), files=f"*{name}")]
        with pytest.raises(IntegrityError):
            source.fetch(pinned, name)
    assert kept(cache) == set()


def test_a_flipped_bit_of_a_manifest_is_never_believed(proxy, source, pinned, place):
    choose = random.Random(5)
    for _ in range(60):
        proxy.faults = [faults.flip_bit(choose.randrange(500), choose.randrange(8), files="*vertebra.json")]
        with pytest.raises(PresetError):
            source.look_up(choose.choice([pinned, place]))


def test_a_service_that_stalls_is_given_up(proxy, source, pinned, monkeypatch):
    monkeypatch.setattr(bucket, "READ_SECONDS", 0.2)
    proxy.faults = [faults.stall(5, times=1), faults.stall(5, at=None, times=1)]
    other = type(source)()  # whose clients are not made yet
    assert other.fetch(pinned, "model.safetensors").read_bytes() == LARGE
    proxy.faults = [faults.stall(5, at=None)]
    with pytest.raises(SourceUnavailableError, match="it stopped answering"):
        other.look_up(pinned)
