"""`vertebra.http.get` and `Transport`: any status, checked redirects, and credentials that stay with the service."""

import importlib.util
import shutil
import socket
import ssl
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import urllib3

from servers import faults
from servers.http import LoopbackServer, route
from servers.messages import Response
from vertebra import PresetFile, PresetHandle, http
from vertebra.errors import (
    ClientMissingError,
    PresetAccessError,
    PresetError,
    PresetNotFoundError,
    RedirectRefusedError,
    SourceUnavailableError,
)
from vertebra.http import redirects, urllib3_client

HANDLE = PresetHandle("toy", "bert")
SECRETS = {"Authorization": "Bearer secret", "Cookie": "secret", "X-Api-Key": "secret", "X-Plain": "of the service"}
ASKED = {"Range": "bytes=1-2", "If-Match": '"1"', "Accept": "text/plain", "User-Agent": "me"}


class Service(LoopbackServer):
    """Redirects a request for `/to/URL` to that URL, and accepts bodies."""

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.bodies = []

    def respond(self, request, body):
        if request.method in ("GET", "HEAD"):
            return super().respond(request, body)
        self.bodies.append(body.read())
        return Response(201)

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
    body = http.read_all(HANDLE, answer, 100)
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
    assert other.requests == []


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
    error = urllib3.exceptions.SSLError("certificate verify failed")
    error.__context__ = ssl.SSLCertVerificationError(1, "certificate verify failed: self-signed certificate")
    assert "self-signed certificate" in urllib3_client._reason(error)


def test_a_service_that_is_silent_is_given_up():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(SourceUnavailableError, match=r"[Tt]imed? ?out"):
            http.get(HANDLE, url, url, timeouts=(0.2, 0.2))


@pytest.mark.parametrize("encoding", [[], [faults.chunked(files="file")]], ids=["length", "chunked"])
@pytest.mark.parametrize("after", [0, 12, 0.5, -1])
def test_a_body_that_is_cut_off_is_not_taken_as_whole(service, after, encoding):
    service.faults = [faults.cut(after, files="file"), *encoding]
    with pytest.raises(SourceUnavailableError, match="no complete response"):
        http.read_all(HANDLE, get(service, "/file"), 10**6)
    with pytest.raises(SourceUnavailableError, match="no complete response"):
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
    code = "import sys; from vertebra import http; print({'http.client', 'urllib3'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_without_urllib3_the_extra_to_install_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "urllib3", None)
    with pytest.raises(ClientMissingError, match=r"pip install vertebra\[http\]"):
        http.get(HANDLE, "http://127.0.0.1", "http://127.0.0.1/x")


# === Certificates ===


@pytest.fixture
def encrypted(tmp_path):
    """A server with a certificate of its own, and the file that has it."""
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    make = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1"]
    make += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", certificate]
    subprocess.run(make, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)

    class Quiet(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Quiet) as server:
        server.handle_error = lambda *_: None
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"https://127.0.0.1:{server.server_port}", certificate
        server.shutdown()
        thread.join()


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the certificate")
def test_only_trusted_certificates_are_accepted(encrypted):
    url, certificate = encrypted
    with pytest.raises(SourceUnavailableError, match=r"SSLCertVerificationError: .*self[- ]signed certificate"):
        http.get(HANDLE, url, f"{url}/x?signature=1")
    response = http.get(HANDLE, url, f"{url}/x", certificates=str(certificate))
    response.close()
    assert (response.status, response.peer[0]) == (204, "127.0.0.1")


# === Proxies ===


def test_the_login_of_a_proxy_is_sent_to_the_proxy(service, monkeypatch):
    monkeypatch.setenv("http_proxy", service.url.replace("//", "//me:pass%20word@"))
    http.get(HANDLE, "http://nowhere.invalid", "http://nowhere.invalid/file").close()
    assert service.requests[0].headers["proxy-authorization"] == "Basic bWU6cGFzcyB3b3Jk"


def test_a_proxy_may_be_named_without_its_scheme(service, monkeypatch):
    monkeypatch.setenv("http_proxy", service.url.removeprefix("http://"))
    http.get(HANDLE, "http://nowhere.invalid", "http://nowhere.invalid/file").close()
    assert len(service.requests) == 1


@pytest.mark.filterwarnings("ignore::urllib3.exceptions.DependencyWarning")
@pytest.mark.skipif(importlib.util.find_spec("socks") is not None, reason="PySocks is installed")
def test_a_socks_proxy_needs_pysocks(monkeypatch):
    monkeypatch.setenv("all_proxy", "socks5h://127.0.0.1:9")
    with pytest.raises(ClientMissingError, match="pip install PySocks"):
        http.get(HANDLE, "http://nowhere.invalid", "http://nowhere.invalid/file")


@pytest.mark.parametrize("exception", ["127.0.0.1", "127.0.0.1:{port}"])
def test_no_proxy_is_heeded_with_and_without_a_port(service, monkeypatch, exception):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.setenv("no_proxy", exception.format(port=service.port))
    get(service, "/file").close()


# === Connections ===


def test_one_connection_serves_one_request_after_another(service):
    for _ in range(3):
        list(get(service, "/file"))
    pool = urllib3_client._manager(None, None).connection_from_url(service.url)
    assert (pool.num_requests, pool.num_connections) == (3, 1)


def test_a_forked_process_has_connections_of_its_own(monkeypatch):
    parent = urllib3_client._manager(None, None)
    assert urllib3_client._manager(None, None) is parent
    monkeypatch.setattr(urllib3_client.os, "getpid", lambda: -1)
    assert urllib3_client._manager(None, None) is not parent
    del urllib3_client._managers[-1, None, None]


# === Transport ===


def transport(service, path="", **options):
    return http.Transport(f"{service.url}{path}", **options)


def test_the_token_and_further_headers_go_to_the_service_alone(service, other):
    sender = transport(service, token=lambda: "secret", headers=lambda: {"X-Api-Key": "secret"})
    sender.get(HANDLE, f"to/{other.url}/file", ASKED).close()
    (first,), (second,) = service.requests, other.requests
    assert (first.headers["authorization"], first.headers["x-api-key"]) == ("Bearer secret", "secret")
    assert not {"authorization", "x-api-key"} & second.headers.keys()
    assert second.headers["range"] == ASKED["Range"]
    assert "secret" not in f"{sender!r}{vars(sender)}"


def test_the_token_is_asked_for_at_each_request(service):
    tokens = iter(["first", None])
    sender = transport(service, token=lambda: next(tokens))
    for _ in range(2):
        sender.get(HANDLE, "file").close()
    assert [request.headers.get("authorization") for request in service.requests] == ["Bearer first", None]


def test_a_path_is_encoded_and_a_query_is_not(service):
    with pytest.raises(PresetNotFoundError):
        transport(service, "/api/").json(HANDLE, "/a b?x#y", "n=1&m=%20")
    assert service.requests[0].target == "/api/a%20b%3Fx%23y?n=1&m=%20"


def test_a_document_is_read(service):
    assert transport(service).json(HANDLE, "status/200") == {"said": "200"}
    with pytest.raises(SourceUnavailableError, match="more than 3 bytes"):
        transport(service).json(HANDLE, "status/200", most=3)
    with pytest.raises(SourceUnavailableError, match="sent no valid JSON"):
        transport(service).json(HANDLE, "file")
    with pytest.raises(PresetAccessError):
        transport(service).json(HANDLE, "status/403")


@pytest.mark.parametrize("part", [(0, None), (3, 7), (5, None)])
def test_a_file_is_read_in_parts(service, part):
    with transport(service).read(HANDLE, PresetFile("file", 256_000), "file", *part) as stream:
        assert b"".join(stream.chunks) == (bytes(range(256)) * 1000)[slice(*part)]
        assert (stream.start, stream.total) == (part[0], 256_000)
    with pytest.raises(PresetNotFoundError):
        transport(service).read(HANDLE, PresetFile("file", 256_000), "status/404", *part)


@pytest.mark.parametrize("ask", ["json", "read"])
def test_a_404_names_the_path_and_no_secret(service, ask):
    sender = http.Transport(service.url.replace("://", "://user:key@") + "/status", token=lambda: "a-token")
    words = {"json": (HANDLE,), "read": (HANDLE, PresetFile("file", 1))}[ask]
    with pytest.raises(PresetNotFoundError) as raised:
        getattr(sender, ask)(*words, "404", query="signature=abc")
    assert "nothing at this handle (HTTP 404 for /status/404)" in str(raised.value)
    assert not any(secret in str(raised.value) for secret in ("user", "key", "a-token", "signature", "abc"))


def test_a_transport_checks_redirects(service):
    with pytest.raises(RedirectRefusedError, match="set TOY_ENDPOINT"):
        transport(service, setting="TOY_ENDPOINT").json(HANDLE, "to/http://169.254.169.254/")


def test_all_parts_of_a_file_come_from_where_it_was_found(service, other):
    """The service is asked once, and again when the URL has expired."""
    sender, file = transport(service, token=lambda: "secret"), PresetFile("file", 256_000)
    for _ in range(3):
        with sender.read(HANDLE, file, f"to/{other.url}/file", 3, 7) as stream:
            assert b"".join(stream.chunks) == bytes(range(3, 7))
    assert (len(service.requests), len(other.requests)) == (1, 3)
    other.faults = [faults.status(403, paths="/file", times=1)]
    with sender.read(HANDLE, file, f"to/{other.url}/file", 3, 7) as stream:
        assert b"".join(stream.chunks) == bytes(range(3, 7))
    assert (len(service.requests), len(other.requests)) == (2, 5)
    assert not any("authorization" in request.headers for request in other.requests)


def test_a_file_has_a_query_of_its_own(service):
    """Two files that differ by their query are two files."""
    for name in ("a", "b"):
        transport(service).read(HANDLE, PresetFile(name, 256_000), "file", query=f"name={name}").chunks.close()
    assert [request.query for request in service.requests] == [{"name": "a"}, {"name": "b"}]


# === Requests that write ===


@pytest.fixture
def content(tmp_path):
    """A file that is larger than any buffer."""
    path = tmp_path / "content"
    path.write_bytes(bytes(range(251)) * 10_000)
    return path


@pytest.mark.parametrize("method", ["PUT", "POST", "PATCH", "DELETE"])
def test_a_body_of_bytes_is_sent(service, method):
    sender = transport(service, "/api", token=lambda: "secret", headers=lambda: {"X-Api-Key": "secret"})
    sender.send(method, HANDLE, "a b", b"body", {"content-type": "text/plain"}, "n=1").close()
    [request] = service.requests
    assert (request.method, request.target, service.bodies) == (method, "/api/a%20b?n=1", [b"body"])
    sent = [request.headers[name] for name in ("authorization", "x-api-key", "content-type", "content-length")]
    assert sent == ["Bearer secret", "secret", "text/plain", "4"]


def test_a_file_is_sent_with_its_size(service, content):
    """Services with signed URLs refuse bodies in chunks."""
    transport(service).send("PUT", HANDLE, "x", content).close()
    assert service.bodies == [content.read_bytes()]
    assert service.requests[0].headers["content-length"] == "2510000"
    assert "transfer-encoding" not in service.requests[0].headers


def test_an_empty_file_is_sent(service, tmp_path):
    (tmp_path / "empty").write_bytes(b"")
    transport(service).send("PUT", HANDLE, "x", tmp_path / "empty").close()
    assert (service.bodies, service.requests[0].headers["content-length"]) == ([b""], "0")


@pytest.mark.parametrize(
    ("status", "error"),
    [(404, PresetNotFoundError), (403, PresetAccessError), (500, SourceUnavailableError), (302, PresetError)],
)
def test_a_refused_request_is_an_error(service, content, status, error):
    service.faults = [faults.status(status, paths="*", methods=("PUT",))]
    with pytest.raises(error, match=f"HTTP {status}"):
        transport(service).send("PUT", HANDLE, "x", content)


def test_a_body_is_not_sent_after_a_redirect(service, other, content):
    service.faults = [faults.redirect(other.url, paths="*", methods=("PUT",))]
    with pytest.raises(PresetError, match="HTTP 302"):
        transport(service, token=lambda: "secret").send("PUT", HANDLE, "x", content)
    assert other.requests == []


def test_a_connection_that_breaks_while_a_body_is_sent_is_told(service, content):
    service.faults = [faults.reset(paths="*", methods=("PUT",))]
    with pytest.raises(SourceUnavailableError):
        transport(service).send("PUT", HANDLE, "x", content)


def test_a_file_that_is_missing_is_told(service, tmp_path):
    with pytest.raises(SourceUnavailableError, match="No such file"):
        transport(service).send("PUT", HANDLE, "x", tmp_path / "missing")


def test_a_head_request_has_no_body(service):
    response = http.send(HANDLE, f"{service.url}/file", method="HEAD")
    assert (response.status, response.headers["content-length"], list(response)) == (200, "256000", [])


def test_repeated_headers_are_joined(service):
    """As two challenges of a registry are."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        lines = (
            b"HTTP/1.1 401 no\r\nWWW-Authenticate: Bearer a\r\nWWW-Authenticate: Basic b\r\nContent-Length: 0\r\n\r\n"
        )
        thread = threading.Thread(target=lambda: _answer(listener, lines))
        thread.start()
        response = http.send(HANDLE, f"http://127.0.0.1:{listener.getsockname()[1]}/")
        response.close()
        thread.join()
    assert response.headers["www-authenticate"] == "Bearer a, Basic b"


def _answer(listener, lines):
    connection, _ = listener.accept()
    with connection:
        connection.recv(4096)
        connection.sendall(lines)
