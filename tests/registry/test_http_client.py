"""`vertebra.http.get`: answers of any status, checked redirects, and credentials that stay with the service."""

import socket
import ssl
import subprocess
import sys
import urllib.error

import pytest

from servers import faults
from servers.http import LoopbackServer, route
from servers.messages import Response
from vertebra import PresetFile, PresetHandle, _http_client, http, redirects
from vertebra.errors import RedirectRefusedError, SourceUnavailableError

HANDLE = PresetHandle("toy", "bert")
SECRETS = {"Authorization": "Bearer secret", "Cookie": "secret", "X-Api-Key": "secret", "X-Plain": "of the service"}
ASKED = {"Range": "bytes=1-2", "If-Match": '"1"', "Accept": "text/plain", "User-Agent": "me"}


class Service(LoopbackServer):
    """Redirects a request for `/to/URL` to that URL."""

    @route("GET", "/to/(?P<url>.+)")
    def lead(self, request, body, url):
        return Response.redirect(url)

    @route("GET", "/status/(?P<status>[0-9]+)")
    def status(self, request, body, status):
        return Response.json({"said": status}, int(status))

    @route("GET", "/file")
    def file(self, request, body):
        return Response.of_file("file", bytes(range(256)) * 1000)


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def service():
    with Service() as service:
        yield service


@pytest.fixture
def other():
    with Service("localhost") as other:
        yield other


def get(service, path, headers=None, **options):
    return http.get(HANDLE, service.url, f"{service.url}{path}", headers, **options)


def test_a_body_comes_in_pieces(service):
    answer = get(service, "/file")
    assert (answer.status, answer.headers["content-length"]) == (200, "256000")
    assert b"".join(answer) == bytes(range(256)) * 1000
    assert service.requests[0].headers["user-agent"] == "vertebra"
    assert answer.peer == ("127.0.0.1", service.port)


@pytest.mark.parametrize("status", [200, 204, 304, 400, 401, 403, 404, 418, 429, 500, 503])
def test_any_status_is_an_answer(service, status):
    answer = get(service, f"/status/{status}")
    assert answer.status == status
    body = http.whole(HANDLE, answer, 100)
    assert (b"said" in body) == (status not in (204, 304))


def test_a_part_is_read(service):
    file = PresetFile("file", 256_000)
    content = http.read(HANDLE, file, (3, 7), lambda headers: get(service, "/file", headers), None)
    with content:
        assert (content.start, b"".join(content.chunks)) == (3, bytes([3, 4, 5, 6]))


# === Credentials ===


def test_the_service_gets_all_headers_also_after_a_redirect_of_its_own(service):
    get(service, "/to//file", SECRETS | ASKED).close()
    assert [request.path for request in service.requests] == ["/to//file", "/file"]
    for request in service.requests:
        assert {name.title(): request.headers[name.lower()] for name in SECRETS | ASKED} == SECRETS | ASKED


def test_another_host_gets_what_is_asked_for_and_nothing_else(service, other):
    get(service, f"/to/{other.url}/file", SECRETS | ASKED).close()
    (request,) = other.requests
    assert {name: request.headers.get(name.lower()) for name in ASKED} == ASKED
    assert not {name.lower() for name in SECRETS} & request.headers.keys()


def test_an_address_that_is_not_of_the_service_gets_none(service, other):
    http.get(HANDLE, service.url, f"{other.url}/file", SECRETS).close()
    assert not {name.lower() for name in SECRETS} & other.requests[0].headers.keys()


def test_a_way_that_comes_back_does_not_bring_them_again(service, other):
    get(service, f"/to/{other.url}/to/{service.url}/file", SECRETS).close()
    assert service.requests[-1].path == "/file"
    assert "authorization" in service.requests[0].headers
    assert not {name.lower() for name in SECRETS} & service.requests[-1].headers.keys()


@pytest.mark.parametrize("value", ["secret\r\nX: y", "secret\n", "sécret€"])
def test_a_header_that_cannot_be_sent_is_not_shown(service, value):
    with pytest.raises(SourceUnavailableError) as raised:
        get(service, "/file", {"Authorization": value})
    assert "cret" not in str(raised.value)
    assert service.requests == []


# === Where the way leads ===


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("file:///etc/passwd", "only http and https"),
        ("ftp://127.0.0.1/x", "only http and https"),
        ("data:text/plain,x", "only http and https"),
        ("http://169.254.169.254/", "inside this network"),
    ],
)
def test_some_redirects_are_refused(service, target, words):
    with pytest.raises(RedirectRefusedError, match=words) as raised:
        get(service, f"/to/{target}", setting="TOY_ENDPOINT")
    assert "TOY_ENDPOINT" in str(raised.value)


def test_who_answers_is_looked_at(service, other, monkeypatch):
    """The names say that all is public, and the connection shows that it is not."""
    public = redirects.addresses("93.184.216.34")
    monkeypatch.setattr(redirects, "addresses", lambda host, local_names=True: public)
    with pytest.raises(RedirectRefusedError, match=r"inside this network \(127\.0\.0\.1\)"):
        get(service, f"/to/{other.url}/file")


@pytest.mark.parametrize(
    "url", ["file:///etc/passwd", "ftp://127.0.0.1/x", "data:,x", "nothing", "http://127.0.0.1/a b"]
)
def test_only_http_is_spoken(url):
    with pytest.raises(SourceUnavailableError):
        http.get(HANDLE, "http://127.0.0.1", url)


# === No answer ===


def test_a_refused_connection_carries_the_reason():
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(SourceUnavailableError) as raised:
        http.get(HANDLE, f"http://127.0.0.1:{port}", f"http://127.0.0.1:{port}/x?signature=1")
    assert f"http://127.0.0.1:{port} (ConnectionRefusedError: " in str(raised.value)
    assert "signature" not in str(raised.value)


def test_a_certificate_that_is_refused_is_told():
    error = urllib.error.URLError(ssl.SSLCertVerificationError(1, "certificate verify failed: self-signed certificate"))
    assert "self-signed certificate" in _http_client._reason(error)


def test_a_service_that_is_silent_is_given_up():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(SourceUnavailableError, match=r"[Tt]imed? ?out"):
            http.get(HANDLE, url, url, seconds=0.2)


@pytest.mark.parametrize("encoding", [[], [faults.chunked(files="file")]], ids=["length", "chunked"])
@pytest.mark.parametrize("after", [0, 12, 0.5, -1])
def test_a_body_that_is_cut_off_is_not_taken_as_whole(service, after, encoding):
    service.faults = [faults.cut(after, files="file"), *encoding]
    with pytest.raises(SourceUnavailableError, match="no whole answer"):
        http.whole(HANDLE, get(service, "/file"), 10**6)
    with pytest.raises(SourceUnavailableError, match="no whole answer"):
        b"".join(get(service, "/file", {"Range": "bytes=0-99"}))


def test_it_is_said_how_much_is_missing(service):
    service.faults = [faults.cut(12, files="file")]
    answer = get(service, "/file")
    assert next(answer)
    with pytest.raises(SourceUnavailableError, match="closed 255,988 bytes before the end"):
        list(answer)


def test_a_name_that_is_unknown_is_told():
    with pytest.raises(SourceUnavailableError, match="gaierror"):
        http.get(HANDLE, "http://nowhere.invalid", "http://nowhere.invalid/x")


@pytest.mark.parametrize("variable", ["http_proxy", "all_proxy"])
def test_a_proxy_is_asked_instead(service, monkeypatch, variable):
    monkeypatch.setenv(variable, service.url)
    answer = http.get(HANDLE, "http://nowhere.invalid", "http://nowhere.invalid/status/404")
    answer.close()
    assert answer.status == 404
    assert service.requests[0].target == "http://nowhere.invalid/status/404"


def test_sources_that_do_not_use_it_do_not_pay_for_it():
    code = "import sys; from vertebra import http; print('http.client' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
