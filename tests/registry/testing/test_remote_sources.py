"""The suite for sources notices one that takes credentials along to another host, and a test that proves nothing."""

import functools
import hashlib
import http.server
import json
import threading
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from vertebra import ByteStream, LocalSource, PresetFile, PresetHandle, RemoteSource, Snapshot
from vertebra import http as web
from vertebra._cache.transfer import retry
from vertebra.errors import PresetNotFoundError, SourceUnavailableError
from vertebra.testing import MemorySource, RemoteSourceSuite, SourceSuite, ToyServer
from vertebra.testing.network import OtherHost, other_host
from vertebra.testing.sources import FILES, written

SECRET = "a-secret-of-the-user"
TEST = RemoteSourceSuite().test_credentials_are_not_sent_to_another_host
each_way = pytest.mark.parametrize("request_kind", ["the file list", "a file"])


class Handler(http.server.SimpleHTTPRequestHandler):
    """Serves files, or redirects all requests."""

    def do_GET(self):
        if self.server.location is None:
            super().do_GET()
            return
        self.send_response(self.server.status)
        self.send_header("Location", self.server.location)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.fixture
def server(tmp_path):
    (tmp_path / "www").mkdir()
    with http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(Handler, directory=tmp_path / "www")
    ) as server:
        server.location, server.status = None, 302
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def publish(server, tmp_path):
    """Publishes one revision of a preset, whose list the source has from the server."""

    def publish(files):
        written(tmp_path / "www" / "bert", files)
        listed = [{"name": name, "size": len(content)} for name, content in files.items()]
        (tmp_path / "www" / "bert.json").write_text(json.dumps(listed))
        return PresetHandle("toy", "bert")

    return publish


class Reply(web.Response):
    def __init__(self, response):
        self.response, self.url, self.status = response, response.url, response.status
        self.headers = {name.lower(): value for name, value in response.headers.items()}

    def __next__(self):
        if chunk := self.response.read1(2**16):
            return chunk
        raise StopIteration

    def close(self):
        self.response.close()


class Leaking(RemoteSource):
    """A source that leaves redirects to a client which takes every header along; its secret is in one header."""

    scheme = "toy"
    header = "Authorization"

    def __init__(self, server, value=SECRET):
        self.root, self.value = f"http://127.0.0.1:{server.server_port}", value

    def is_pinned(self, handle):
        return handle.revision is not None

    def resolve_snapshot(self, handle):
        answer = self.ask(handle, f"{self.root}/bert.json", {})
        if answer.status != 200:
            answer.close()
            raise web.error(handle, answer.status, answer.headers)
        listed = json.loads(web.read_all(handle, answer, 2**20))
        files = [PresetFile(f["name"], f["size"], None, digest(FILES[f["name"]])) for f in listed]
        return Snapshot(PresetHandle("toy", "bert", "r1"), files)

    def read(self, handle, file, start=0, stop=None):
        return web.read(
            handle,
            file,
            (start, stop),
            lambda headers: self.ask(handle, f"{self.root}/bert/{file.name}", headers),
            lambda answer: web.error(handle, answer.status, answer.headers),
        )

    def ask(self, handle, url, headers):
        try:
            request = urllib.request.Request(url, headers={**headers, self.header: self.value})
            return Reply(urllib.request.urlopen(request, timeout=10))
        except urllib.error.HTTPError as error:
            return Reply(error)


class LeakingKey(Leaking):
    """The same with a header of the service's own."""

    header = "X-Api-Key"


class LeakingCookie(Leaking):
    """The same with a cookie, which another host must not get whatever it holds."""

    header = "Cookie"


class Careful(Leaking):
    """A source that asks by the core's client."""

    header = "X-Api-Key"

    def ask(self, handle, url, headers):
        return web.get(handle, self.root, url, {**headers, self.header: self.value})


def digest(content):
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def try_on(source, server, publish, request_kind, host="127.0.0.1", secret=SECRET):
    TEST(source, publish, secret, functools.partial(setattr, server, "location"), request_kind, host)


@pytest.fixture(autouse=True)
def own_cache(configure):
    """A cache of the test's own, as the suite has it."""


@each_way
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
@pytest.mark.parametrize("source", [Leaking, LeakingKey, LeakingCookie])
def test_a_source_that_takes_its_credentials_along_fails(source, server, publish, request_kind, host):
    with pytest.raises(AssertionError, match=f"{source.header.lower()}: "):
        try_on(source(server), server, publish, request_kind, host)


@each_way
@pytest.mark.parametrize("value", ["Basic dXNlcjphLXNlY3JldC1vZi10aGUtdXNlcg==", "a%2Dsecret-of-the-user"])
def test_a_secret_that_is_encoded_is_seen(server, publish, request_kind, value):
    source = LeakingKey(server, value)
    with pytest.raises(AssertionError, match="x-api-key: "):
        try_on(source, server, publish, request_kind)


@each_way
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_one_that_leaves_them_behind_passes(server, publish, request_kind, status):
    server.status = status
    try_on(Careful(server), server, publish, request_kind)


@each_way
def test_a_fixture_that_redirects_nobody_proves_nothing(server, publish, request_kind):
    def break_the_service(location):
        server.RequestHandlerClass = functools.partial(Handler, directory="/nowhere")

    with pytest.raises(AssertionError, match="no redirect was followed or refused"):
        TEST(Careful(server), publish, SECRET, break_the_service, request_kind, "127.0.0.1")


def test_an_upload_that_ignores_its_revision_fails(toys, tmp_path):
    test = RemoteSourceSuite().test_an_upload_is_found_under_its_revision_or_refused
    with pytest.raises(KeyError, match="release-1"):
        test(toys.ToyRemote(), PresetHandle("toy", "new"), tmp_path)


class OneByOne(MemorySource):
    """Publishes each file as soon as it is sent."""

    def upload(self, handle, files, replace, message):
        sent = {}
        for name, path in sorted(files.items()):
            self.add(handle.path, sent)
            sent[name] = path.read_bytes()
        return self.resolve_snapshot(self.add(handle.path, sent)).handle


def test_an_upload_that_leaves_a_part_fails(tmp_path):
    test, handle = RemoteSourceSuite().test_an_upload_that_fails_publishes_nothing, PresetHandle("memory", "new")
    test(MemorySource(), handle, tmp_path / "sound")
    with pytest.raises(pytest.fail.Exception) as caught:
        test(OneByOne(), handle, tmp_path / "wrong")
    assert caught.value.__notes__[0].startswith("RS-17: ")


class LargerFiles(MemorySource):
    """Lists wrong sizes."""

    def resolve_snapshot(self, handle):
        found = super().resolve_snapshot(handle)
        return Snapshot(found.handle, [PresetFile(f.name, f.size + 1, None, f.digest) for f in found.files])


class FromTheStart(MemorySource):
    """Sends a file from its start, whatever range is asked for, and says otherwise."""

    def read(self, handle, file, start=0, stop=None):
        return ByteStream(super().read(handle, file).chunks, start, file.size)


class Short(MemorySource):
    """Leaves out the last byte of each range."""

    def read(self, handle, file, start=0, stop=None):
        chunks = list(super().read(handle, file, start, stop).chunks)
        return ByteStream(iter([b"".join(chunks)[:-1]]), start, file.size)


class Newest(MemorySource):
    """Gives the newest revision in place of one that does not exist."""

    def resolve_snapshot(self, handle):
        try:
            return super().resolve_snapshot(handle)
        except PresetNotFoundError:
            return super().resolve_snapshot(handle.without_revision())


class Floating(MemorySource):
    """Takes each handle for pinned."""

    def is_pinned(self, handle):
        return True


@pytest.mark.parametrize(
    ("kind", "rule", "test"),
    [
        (LargerFiles, "SO-02", lambda suite, *given: suite.test_files_are_listed_with_plain_names_and_sizes(*given)),
        (FromTheStart, "RS-05", lambda suite, *given: suite.test_a_range_of_a_file_is_read(*given, 3, 12_345)),
        (Short, "RS-05", lambda suite, *given: suite.test_a_range_of_a_file_is_read(*given, 0, 7)),
        (Newest, "RS-01", lambda suite, *given: suite.test_a_bad_revision_is_an_error(*given)),
        (Floating, "RS-02", lambda suite, *given: suite.test_a_resolved_handle_is_pinned(*given)),
    ],
)
def test_a_source_that_breaks_a_rule_is_noticed(kind, rule, test):
    for source in (MemorySource(), kind()):
        given = (RemoteSourceSuite(), source, functools.partial(source.add, "team/bert"))
        if type(source) is MemorySource:
            test(*given)
            continue
        with pytest.raises((AssertionError, pytest.fail.Exception)) as caught:
            test(*given)
        assert caught.value.__notes__[0].startswith(f"{rule}: ")


class Talkative(RemoteSource):
    """Names its credential in the errors of transfers."""

    scheme = "toy"

    def __init__(self, source):
        self._source = source

    def is_pinned(self, handle):
        return self._source.is_pinned(handle)

    def resolve_snapshot(self, handle):
        return self._source.resolve_snapshot(handle)

    def read(self, handle, file, start=0, stop=None):
        stream = self._source.read(handle, file, start, stop)
        return ByteStream(self._told(handle, stream.chunks), stream.start, stream.total)

    def _told(self, handle, chunks):
        try:
            yield from chunks
        except SourceUnavailableError as error:
            raise SourceUnavailableError(handle, f"the service closed the connection of {SECRET}") from error


def test_a_credential_in_the_error_of_a_transfer_is_noticed(caplog, monkeypatch):
    monkeypatch.setattr(retry, "FIRST_WAIT", 0.0)
    test = RemoteSourceSuite().test_a_transfer_that_fails_shows_no_credential
    with ToyServer() as server:
        publish = functools.partial(server.publish, "team/bert")
        test(server.source(SECRET), publish, server, SECRET, caplog)
        server.heal()
        with pytest.raises(AssertionError, match=SECRET):
            test(Talkative(server.source(SECRET)), publish, server, SECRET, caplog)


class Trusting(LocalSource):
    """Joins its folder with any name."""

    scheme = "file"

    def __init__(self, root):
        self.root = root

    def files(self, handle):
        return [PresetFile.of(path.name, path) for path in self.root.iterdir() if path.is_file()]

    def fetch(self, handle, name):
        if not (self.root / name).is_file():
            raise PresetNotFoundError(handle, f"there is no file {name!r}")
        return self.root / name


def test_a_name_that_leads_out_of_the_preset_is_noticed(tmp_path):
    def publish(files):
        written(tmp_path / "bert", files)
        return PresetHandle("file", "bert")

    test, source = SourceSuite().test_a_missing_file_is_an_error, Trusting(tmp_path / "bert")
    test(source, publish, "missing.txt")
    for name in ("assets/../config.json", Path(__file__).as_posix()):
        with pytest.raises(pytest.fail.Exception):
            test(source, publish, name)


def test_a_stranger_remembers_what_it_is_told():
    with other_host("localhost") as other:
        request = urllib.request.Request(f"{other.url}/x?key={SECRET}", headers={"X-Plain": "nothing"})
        with pytest.raises(urllib.error.HTTPError):
            urllib.request.urlopen(request, timeout=10)
    assert [target for target, _ in other.requests] == [f"/x?key={SECRET}"]
    assert other.leaks(SECRET) == [f"/x?key={SECRET}"]
    assert OtherHost("", [("/", {"range": "bytes=0-1"})]).leaks(SECRET) == []
