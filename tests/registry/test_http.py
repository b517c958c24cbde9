"""What an HTTP answer means: the part that it holds, the error that it is, and how long to wait."""

import email.utils
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from vertebra import PresetHandle, http
from vertebra._cache.transfer import stall
from vertebra.errors import (
    IntegrityError,
    PresetAccessError,
    PresetError,
    PresetNotFoundError,
    RedirectRefusedError,
    SourceUnavailableError,
)
from vertebra.http import origins, retry_after
from vertebra.http.origins import proxy_for

HANDLE = PresetHandle("toy", "bert")


def content(status, **headers):
    return http.byte_stream(HANDLE, "x", status, {n.replace("_", "-"): v for n, v in headers.items()}, [b"ab"], None)


def test_a_whole_answer():
    with content(200, content_length="7", etag="e") as whole:
        assert (whole.start, whole.total, whole.etag, list(whole.chunks)) == (0, 7, "e", [b"ab"])
    assert content(200).total is content(200, content_length="-1").total is None


def test_a_part():
    part = content(206, content_range="bytes 5-6/9", content_length="2")
    assert (part.start, part.total) == (5, 9)
    assert content(206, content_range="bytes 5-6/*").total is None


@pytest.mark.parametrize("text", ["", "bytes", "bytes */9", "lines 1-2/3", "bytes x-y/z", "bytes -5-6/9"])
def test_a_part_that_does_not_say_which_is_refused(text):
    with pytest.raises(SourceUnavailableError):
        content(206, content_range=text)


def test_an_encoded_answer_is_refused():
    assert content(200, content_encoding="identity")
    with pytest.raises(IntegrityError):
        content(200, content_encoding="gzip")


@pytest.mark.parametrize(
    ("status", "error"),
    [(401, PresetAccessError), (403, PresetAccessError), (404, PresetNotFoundError), (410, PresetNotFoundError)]
    + [(status, SourceUnavailableError) for status in (408, 425, 429, 500, 503)]
    + [(400, PresetError), (416, PresetError)],
)
def test_a_status_is_an_error(status, error):
    found = http.error(HANDLE, status, {"retry-after": "3"}, "why")
    assert type(found) is error
    assert f"HTTP {status}" in str(found)
    assert getattr(found, "retry_after", 3) == 3


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        *((None, None), ("", None), ("soon", None), ("nan", None), ("Wed, 99 Xxx 9999", None)),
        *(("5", 5), ("0.5", 0.5), ("-1", 0), ("1e9", 3600), ("inf", 3600), ("Wed, 01 Jan 1997 00:00:00 GMT", 0)),
    ],
)
def test_how_long_to_wait(text, seconds):
    assert retry_after(text) == seconds


def test_how_long_to_wait_by_date():
    assert 50 < retry_after(email.utils.formatdate(time.time() + 60, usegmt=True)) <= 60


# === Where files were found ===


class Said(http.Response):
    """An answer without a body."""

    def __init__(self, status, url, **headers):
        self.status, self.url, self.headers = status, url, headers
        self.closed = False

    def __next__(self):
        raise StopIteration

    def close(self):
        self.closed = True


def test_a_place_is_found_once_and_again_when_it_has_expired():
    urls, asked = http.SignedUrlCache(), []
    statuses = {"signed-1": iter([206, 206, 403]), "signed-2": iter([206, 206])}
    found = iter(["signed-1", "signed-2"])

    def locate():
        asked.append("service")
        return next(found)

    def send(url, headers):
        asked.append((url, headers["n"]))
        return Said(next(statuses[url]), url)

    opened = [urls.open("file", locate, send, {"n": n}).url for n in range(4)]
    assert opened == ["signed-1", "signed-1", "signed-2", "signed-2"]
    assert asked == [
        "service",
        ("signed-1", 0),
        ("signed-1", 1),
        ("signed-1", 2),
        "service",
        ("signed-2", 2),
        ("signed-2", 3),
    ]


def test_a_place_that_does_not_answer_is_forgotten():
    urls, dead = http.SignedUrlCache(), set()

    def send(url, headers):
        if url in dead:
            raise SourceUnavailableError(HANDLE, url)
        return Said(200, url)

    urls.open("file", lambda: "one", send, {})
    dead.add("one")
    with pytest.raises(SourceUnavailableError, match="one"):
        urls.open("file", lambda: "two", send, {})
    assert urls.open("file", lambda: "two", send, {}).url == "two"


def test_what_was_not_found_is_not_kept():
    urls = http.SignedUrlCache()
    assert urls.open("file", lambda: "nowhere", lambda url, _: Said(404, url), {}).status == 404
    assert urls.open("file", lambda: "here", lambda url, _: Said(200, url), {}).url == "here"


def test_the_last_url_of_a_chain_of_redirects_is_kept():
    urls, asked = http.SignedUrlCache(), []

    def send(url, headers):
        asked.append(url)
        return Said(200, "signed")

    for _ in range(2):
        urls.open("file", lambda: "service", send, {})
    assert asked == ["service", "signed"]


def test_each_answer_on_the_way_is_ended():
    start = "http://127.0.0.1:1/x"
    policy = http.RedirectPolicy(HANDLE, start, start, "TOY_ENDPOINT")
    way = [Said(302, start, location="/y"), Said(302, "", location="ftp://other/")]
    answers = iter(way)
    with pytest.raises(RedirectRefusedError):
        http.follow_redirects(policy, start, lambda _: next(answers))
    assert [answer.closed for answer in way] == [True, True]


def test_those_who_wait_learn_what_the_first_has_found_out():
    urls, started, asked = http.SignedUrlCache(), threading.Barrier(5), []

    def locate():
        asked.append("service")
        time.sleep(1.0)
        raise SourceUnavailableError(HANDLE, "HTTP 503")

    def open_once(_):
        started.wait()
        with pytest.raises(SourceUnavailableError):
            urls.open("file", locate, None, {})

    with ThreadPoolExecutor(5) as pool:
        list(pool.map(open_once, range(5)))
    assert len(asked) == 1
    with pytest.raises(SourceUnavailableError):  # a later attempt is one
        urls.open("file", locate, None, {})
    assert len(asked) == 2


class Body(Said):
    """An answer with a body."""

    def __init__(self, *chunks):
        super().__init__(200, "http://hub.example/api")
        self._chunks = iter(chunks)

    def __next__(self):
        return next(self._chunks)


def test_a_listing_has_an_end_and_comes_in_time(monkeypatch):
    body = Body(b"12", b"34")
    assert (http.read_all(HANDLE, body, 4), body.closed) == (b"1234", True)
    body = Body(*[b"12"] * 9)
    with pytest.raises(SourceUnavailableError, match=r"http://hub.example sent a document that is too long"):
        http.read_all(HANDLE, body, 4)
    assert body.closed
    monkeypatch.setattr(stall, "WINDOW", 0.0)
    monkeypatch.setattr(stall, "SLOWEST", 10**12)
    with pytest.raises(SourceUnavailableError, match="stalled"):
        http.read_all(HANDLE, Body(b"1", b"2"), 4)


@pytest.mark.parametrize("variable", ["http_proxy", "HTTP_PROXY", "ALL_PROXY", "Http_Proxy", "All_proxy"])
def test_a_change_of_the_proxies_is_seen(monkeypatch, variable):
    """They are kept as long as no variable changes."""
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    for proxy in ("http://one:1", "http://other:2"):
        monkeypatch.setenv(variable, proxy)
        assert proxy_for("http://acme.test/x") == proxy
    monkeypatch.setenv("no_proxy", "acme.test")
    assert proxy_for("http://acme.test/x") is None
    monkeypatch.delenv("no_proxy")
    monkeypatch.delenv(variable)
    assert proxy_for("http://acme.test/x") is None


def test_a_change_of_the_systems_settings_is_seen(monkeypatch):
    """Windows and macOS have such settings."""
    monkeypatch.setattr(origins, "_HAS_SETTINGS", True)
    monkeypatch.setattr("urllib.request.proxy_bypass", lambda host: False)
    for proxy in ("http://one:1", "http://other:2"):
        monkeypatch.setattr("urllib.request.getproxies", lambda found=proxy: {"http": found})
        assert proxy_for("http://acme.test/x") == proxy
