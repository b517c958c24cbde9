"""The server itself, its ranges and its faults, as a plain client of HTTP sees them."""

import gzip
import http.client
import re
import threading
import time
from contextlib import closing
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import pytest

from servers import faults
from servers.http import LoopbackServer, route
from servers.messages import Content, Response

CONTENT = bytes(range(256)) * 40
HALF = len(CONTENT) // 2


class Files(LoopbackServer):
    """Serves one content under every name, echoes what is posted, and has a route that fails."""

    content = Content.of(CONTENT)

    @route("GET", "/files/(?P<name>.+)")
    def file(self, request, body, name):
        return Response.of_file(name, self.content, {"ETag": '"1"'})

    @route("POST", "/echo")
    def echo(self, request, body):
        return Response.json({"size": request.body_size, "text": body.read().decode()})

    @route("GET", "/broken")
    def broken(self, request, body):
        raise KeyError("broken")


@pytest.fixture
def server():
    with Files() as server:
        yield server


@pytest.fixture
def fetch(server):
    """Sends a request over a connection of its own; returns the response, which has been read, and its body."""

    def fetch(target="/files/a.bin", method="GET", body=None, **headers):
        with closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)) as connection:
            connection.request(method, target, body, {name.replace("_", "-"): text for name, text in headers.items()})
            response = connection.getresponse()
            return response, response.read()

    return fetch


# === The server ===


def test_a_connection_serves_several_requests_and_all_are_logged(server):
    with closing(http.client.HTTPConnection("127.0.0.1", server.port)) as connection:
        for number in range(3):
            connection.request("GET", f"/files/a%20b?number={number}", headers={"X-Number": str(number)})
            assert connection.getresponse().read() == CONTENT
    assert [request.target for request in server.requests] == [f"/files/a%20b?number={number}" for number in range(3)]
    last = server.requests[-1]
    assert (last.method, last.path, last.query) == ("GET", "/files/a%20b", {"number": "2"})
    assert last.host == f"127.0.0.1:{server.port}"
    assert last.headers["x-number"] == "2"
    server.clear()
    assert server.requests == []


@pytest.mark.parametrize("body", [b"some text", [b"in ", b"chunks"]], ids=["length", "chunks"])
def test_bodies_of_requests_are_read(server, fetch, body):
    _, answer = fetch("/echo", "POST", iter(body) if isinstance(body, list) else body)
    text = b"".join(body) if isinstance(body, list) else body
    assert answer == b'{"size": %d, "text": "%s"}' % (len(text), text)
    assert server.requests[0].body_size == len(text)


def test_a_head_has_the_headers_of_a_get_and_no_body(fetch):
    response, body = fetch(method="HEAD")
    assert (response.status, response.headers["Content-Length"], body) == (200, str(len(CONTENT)), b"")


def test_a_route_that_fails_is_no_secret():
    def fail():
        with Files() as server, closing(http.client.HTTPConnection("127.0.0.1", server.port)) as connection:
            connection.request("GET", "/broken")
            assert connection.getresponse().status == 500

    with pytest.raises(KeyError, match="broken"):
        fail()


def test_what_has_no_route_is_not_found(fetch):
    assert fetch("/nothing")[0].status == 404
    assert fetch("/files/a.bin", "DELETE")[0].status == 404


def test_it_can_go_and_come_back(server, fetch):
    server.close()
    with pytest.raises(ConnectionRefusedError):
        fetch()
    server.start()
    assert fetch()[1] == CONTENT


def test_it_stops_at_once_whatever_its_connections_do():
    with Files(faults=[faults.stall(60)]) as server:
        connections = [http.client.HTTPConnection("127.0.0.1", server.port) for _ in range(3)]
        for connection in connections:
            connection.request("GET", "/files/a.bin")
            assert connection.getresponse().read(HALF) == CONTENT[:HALF]
        start = time.monotonic()
    assert time.monotonic() - start < 2
    for connection in connections:
        connection.close()


def test_files_are_sent_from_where_they_are(server, fetch, tmp_path):
    path = tmp_path / "file"
    path.write_bytes(CONTENT)
    server.content = Content.of(path)
    assert fetch()[1] == CONTENT
    assert fetch(Range="bytes=300-511")[1] == CONTENT[300:512]
    server.faults = [faults.flip_bit(-1), faults.zero_tail(0)]
    assert fetch()[1] == CONTENT[:-1] + bytes([CONTENT[-1] ^ 1])


# === Ranges ===


@pytest.mark.parametrize(
    ("asked", "start", "stop"),
    [("0-", 0, None), ("100-", 100, None), ("100-199", 100, 200), ("-10", -10, None), ("10-99999", 10, None)],
)
def test_a_range_is_answered(fetch, asked, start, stop):
    response, body = fetch(Range=f"bytes={asked}", If_Range='"1"')
    first, last, _ = slice(start, stop).indices(len(CONTENT))
    assert (response.status, body) == (206, CONTENT[start:stop])
    assert response.headers["Content-Range"] == f"bytes {first}-{last - 1}/{len(CONTENT)}"


def test_a_range_that_is_not_there_is_refused(fetch):
    response, _ = fetch(Range=f"bytes={len(CONTENT)}-")
    assert (response.status, response.headers["Content-Range"]) == (416, f"bytes */{len(CONTENT)}")


def test_conditions_are_about_the_etag(fetch):
    assert fetch(Range="bytes=1-", If_Range='"2"')[0].status == 200
    assert fetch(If_Match='"2"')[0].status == 412
    assert fetch(If_Match='"0", "1"')[0].status == 200


# === Faults ===


SENT = {
    faults.flip_bit(100, bit=7): CONTENT[:100] + bytes([CONTENT[100] ^ 128]) + CONTENT[101:],
    faults.zero_tail(1000): CONTENT[:-1000] + bytes(1000),
    faults.other_content(): (b"previous" * len(CONTENT))[: len(CONTENT)],
    faults.other_content(b"short"): b"short",
    faults.chunked(): CONTENT,
    faults.length_lie(-100): CONTENT[:-100],
    faults.stall(0.01): CONTENT,
    faults.stall(0.01, at=None): CONTENT,
    faults.slow(1e6): CONTENT,
}


@pytest.mark.parametrize("fault", SENT, ids=str)
def test_content_comes_another_way(server, fetch, fault):
    server.faults = [fault]
    response, body = fetch()
    assert (response.status, body) == (200, SENT[fault])


@pytest.mark.parametrize(("after", "size"), [(0, 0), (1, 1), (0.5, HALF), (-1, len(CONTENT) - 1)])
@pytest.mark.parametrize("encoding", [[], [faults.chunked()]], ids=["length", "chunks"])
def test_a_body_is_cut(server, fetch, after, size, encoding):
    server.faults = [faults.cut(after), *encoding]
    with pytest.raises(http.client.IncompleteRead) as raised:
        fetch()
    assert raised.value.partial == CONTENT[:size]


def test_a_length_that_is_too_long(server, fetch):
    server.faults = [faults.length_lie(10)]
    with pytest.raises(http.client.IncompleteRead, match="10 more expected"):
        fetch()


def test_gzip_is_not_asked_for(server, fetch):
    server.faults = [faults.gzip()]
    response, body = fetch(Range="bytes=100-")
    assert (response.status, response.headers["Content-Encoding"]) == (200, "gzip")
    assert gzip.decompress(body) == CONTENT


def test_a_page_comes_instead_of_the_file(server, fetch):
    server.faults = [faults.html_page()]
    response, body = fetch(Range="bytes=100-")
    assert (response.status, response.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert body.startswith(b"<!DOCTYPE html>")


@pytest.mark.parametrize("after", [None, 0, 0.5])
def test_a_connection_is_reset(server, fetch, after):
    server.faults = [faults.reset(after)]
    with pytest.raises((ConnectionResetError, http.client.IncompleteRead)):
        fetch()


@pytest.mark.parametrize(("retry_after", "told"), [(None, None), (3, "3"), (int(1e9), "1000000000")])
def test_a_status_says_when_to_retry(server, fetch, retry_after, told):
    server.faults = [faults.status(429, retry_after)]
    response, _ = fetch()
    assert (response.status, response.headers["Retry-After"]) == (429, told)


def test_a_status_may_say_it_by_a_date(server, fetch):
    server.faults = [faults.status(503, faults.http_date(60))]
    date = parsedate_to_datetime(fetch()[0].headers["Retry-After"])
    assert 50 < (date - datetime.now(UTC)).total_seconds() <= 60


def test_a_range_is_ignored(server, fetch):
    server.faults = [faults.range_ignored()]
    response, body = fetch(Range="bytes=100-")
    assert (response.status, body, response.headers["Accept-Ranges"]) == (200, CONTENT, None)


@pytest.mark.parametrize("lie", [False, True])
def test_another_range_comes(server, fetch, lie):
    server.faults = [faults.range_shifted(-1, lie)]
    response, body = fetch(Range="bytes=100-199")
    assert (response.status, body) == (206, CONTENT[99:199])
    assert response.headers["Content-Range"].startswith("bytes 100-199/" if lie else "bytes 99-198/")


def test_no_range_is_answered(server, fetch):
    server.faults = [faults.range_refused()]
    assert fetch(Range="bytes=100-")[0].status == 416
    assert fetch()[0].status == 200


def test_the_etag_changes_all_the_time(server, fetch):
    server.faults = [faults.changing_etag(methods=("GET", "HEAD"))]
    assert len({fetch(method=method)[0].headers["ETag"] for method in ("GET", "HEAD", "GET")}) == 3


@pytest.mark.parametrize(
    ("fault", "location"),
    [
        (faults.redirect("file:///etc/hostname"), "file:///etc/hostname"),
        (faults.redirect_origin("http://localhost:1"), "http://localhost:1/files/a.bin?x=1"),
        (faults.redirect_loop(), "/files/a.bin?x=1"),
        (faults.redirect_hops(2), "/files/a.bin?x=1&hop=1"),
    ],
    ids=str,
)
def test_a_redirect_leads_elsewhere(server, fetch, fault, location):
    server.faults = [fault]
    response, _ = fetch("/files/a.bin?x=1")
    assert (response.status, response.headers["Location"]) == (302, location)


def test_hops_end(server, fetch):
    server.faults = [faults.redirect_hops(2)]
    assert fetch("/files/a.bin?hop=1")[0].status == 302
    assert fetch("/files/a.bin?hop=2")[1] == CONTENT


# === When faults strike ===


def test_a_fault_is_for_some_files_and_so_many_times(server, fetch):
    fault = faults.flip_bit(files="*.bin", times=2)
    server.faults.append(fault)
    assert fetch("/files/a.txt")[1] == CONTENT
    assert [fetch()[1] == CONTENT for _ in range(4)] == [False, False, True, True]
    assert server.faults.struck(fault) == 2


def test_answers_take_turns_and_others_add_up(server, fetch):
    server.faults = [
        faults.status(500, times=1),
        faults.status(429, times=2),
        faults.flip_bit(0, times=1),
        faults.zero_tail(1, times=1),
    ]
    assert [fetch()[0].status for _ in range(3)] == [500, 429, 429]
    assert fetch()[1] == bytes([CONTENT[0] ^ 1]) + CONTENT[1:-1] + b"\0"
    assert fetch()[1] == CONTENT


def test_a_fault_is_for_ranges_or_for_whole_files(server, fetch):
    server.faults = [faults.status(503, ranged=True), faults.flip_bit(ranged=False)]
    assert fetch(Range="bytes=0-")[0].status == 503
    assert fetch()[1] != CONTENT


def test_a_fault_is_for_other_requests_than_for_files(server, fetch):
    server.faults = [faults.status(503, paths="/ec*", methods=("POST",)), faults.status(500, paths="/broken")]
    assert fetch("/echo", "POST", b"x")[0].status == 503
    assert fetch("/broken")[0].status == 500  # the route, which would raise, was not called
    assert fetch()[1] == CONTENT


def test_threads_share_the_count(server, fetch):
    server.faults = [faults.status(503, times=5)]
    statuses = []
    threads = [threading.Thread(target=lambda: statuses.append(fetch()[0].status)) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(statuses) == [200] * 7 + [503] * 5


def test_faults_have_names_for_reports():
    names = [str(fault) for fault in (faults.cut(0.5), faults.status(429, 3), faults.length_lie(-3))]
    assert names == ["cut after 0.5", "status 429, retry after 3", "length -3"]
    assert all(re.fullmatch(r"[\w ,./+-]+", name) for name in names)
