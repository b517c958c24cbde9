"""Transfers that go wrong, for the source of each service: what passes is repeated, what is wrong never accepted.

Subclass `TransferSuite` (NW-03 to NW-06) with a name that pytest collects, and give its fixtures.
"""

import random
from typing import ClassVar

import pytest

from servers import faults
from vertebra.errors import IntegrityError, PresetError, SourceUnavailableError
from vertebra.testing import opened

SMALL = bytes(range(200))
LARGE = bytes(range(251)) * 200
FILES = {"config.json": SMALL, "model.safetensors": LARGE}
_both = pytest.mark.parametrize("name", FILES)

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
    "429": lambda: faults.status(429, 0, times=3),
    "429 until": lambda: faults.status(429, faults.http_date(-10), times=3),
    "range ignored": lambda: faults.range_ignored(),
    "range shifted": lambda: faults.range_shifted(7, times=1),
    "range refused": lambda: faults.range_refused(),
    "other range, unsaid": lambda: faults.range_shifted(7, lie=True, times=1),
}
UNAVAILABLE = {
    "cut": lambda: faults.cut(0.5),
    "cut at once": lambda: faults.cut(0),
    "reset": lambda: faults.reset(),
    "500": lambda: faults.status(500),
    "long break": lambda: faults.status(429, 10**9),
}
MISREAD = {
    "gzip": lambda: faults.gzip(),
    "HTML": lambda: faults.html_page(),
    "other size": lambda: faults.other_content(b"short"),
}
WRONG = {
    "bit": lambda: faults.flip_bit(100),
    "last bit": lambda: faults.flip_bit(-1, 7),
    "zeros": lambda: faults.zero_tail(50),
    "previous content": lambda: faults.other_content(),
}
GOING_ON = {
    "ignored": lambda: faults.range_ignored(ranged=True),
    "shifted": lambda: faults.range_shifted(7, ranged=True, times=1),
    "refused": lambda: faults.range_refused(),
    "503": lambda: faults.status(503, ranged=True, times=2),
    "changing tag": lambda: faults.changing_etag(),
    "bit": lambda: faults.flip_bit(-9, ranged=True, times=1),
}


class TransferSuite:
    """Tests of a source whose service has faults."""

    misread: ClassVar[tuple[type[Exception], ...]] = (IntegrityError,)
    """What is raised for an answer that is no part of the file."""

    # === What a subclass gives, beside `source` and `cache` ===

    @pytest.fixture
    def service(self):
        """The server that files come from; its `faults` are set."""
        raise NotImplementedError

    @pytest.fixture
    def pinned(self, source):
        """A handle of `FILES`, whose list is known: what goes wrong from now on strikes files."""
        raise NotImplementedError

    def glob(self, name):
        """The glob of a file for faults."""
        return f"*{name}"

    # === What must hold ===

    @_both
    @pytest.mark.parametrize("fault", PASSING.values(), ids=PASSING)
    def test_what_passes_is_repeated(self, service, source, pinned, cache, fault, name):
        service.faults = [fault()]
        assert opened(source).fetch(pinned, name).read_bytes() == FILES[name]
        assert kept(cache) == {FILES[name]}

    @_both
    @pytest.mark.parametrize("fault", UNAVAILABLE.values(), ids=UNAVAILABLE)
    def test_what_does_not_come_is_told(self, service, source, pinned, cache, fault, name):
        is_refused(service, source, pinned, cache, name, fault(), SourceUnavailableError)

    @_both
    @pytest.mark.parametrize("fault", MISREAD.values(), ids=MISREAD)
    def test_what_is_no_part_of_the_file_is_not_accepted(self, service, source, pinned, cache, fault, name):
        is_refused(service, source, pinned, cache, name, fault(), self.misread)

    @_both
    @pytest.mark.parametrize("fault", WRONG.values(), ids=WRONG)
    def test_what_is_wrong_is_not_accepted(self, service, source, pinned, cache, fault, name):
        is_refused(service, source, pinned, cache, name, fault(), IntegrityError)

    @_both
    def test_what_is_longer_than_it_is_is_not_accepted(self, service, source, pinned, cache, name):
        either = IntegrityError, SourceUnavailableError  # whichever of client and source is the first to notice
        is_refused(service, source, pinned, cache, name, faults.length_lie(-1), either)

    @_both
    def test_a_status_that_means_nothing_is_told(self, service, source, pinned, cache, name):
        is_refused(service, source, pinned, cache, name, faults.status(418), PresetError)

    @pytest.mark.parametrize("fault", GOING_ON.values(), ids=GOING_ON)
    def test_what_goes_wrong_when_a_transfer_goes_on(self, service, source, pinned, monkeypatch, fault):
        monkeypatch.setattr(type(source), "streams", 1)
        service.faults = [faults.cut(0.5, times=1), fault()]
        assert opened(source).fetch(pinned, "model.safetensors").read_bytes() == LARGE

    @_both
    def test_no_flipped_bit_is_accepted(self, service, source, pinned, cache, name):
        choose = random.Random(5)
        for _ in range(20):
            offset, bit = choose.randrange(len(FILES[name])), choose.randrange(8)
            service.faults = [faults.flip_bit(offset, bit, files=self.glob(name))]
            with pytest.raises(IntegrityError):
                opened(source).fetch(pinned, name)
        assert kept(cache) == set()


def is_refused(service, source, pinned, cache, name, fault, error):
    """Nothing is kept of a file as long as a fault lasts, and the file comes afterwards."""
    service.faults = [fault]
    with pytest.raises(error):
        opened(source).fetch(pinned, name)
    assert kept(cache) == set()
    service.faults = []
    assert opened(source).fetch(pinned, name).read_bytes() == FILES[name]


def kept(cache):
    """Returns the contents that a cache vouches for."""
    return {path.read_bytes() for path in cache.glob("blobs/*/*")}
