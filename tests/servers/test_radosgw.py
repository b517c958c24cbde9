"""A real client for S3 against the gateway, alone and behind the proxy."""

import hashlib
import os
import signal
import socket
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path

import pytest

from servers import faults, radosgw
from servers.programs import free_ports
from servers.proxy import FaultProxy

obstore = pytest.importorskip("obstore", reason="obstore is not installed")

from obstore import exceptions  # noqa: E402  after the check that it is there
from obstore.store import S3Store  # noqa: E402

CONTENT = bytes(range(256)) * 5000


@pytest.fixture(scope="module")
def gateway():
    if reason := radosgw.missing():
        pytest.skip(reason)
    with radosgw.RadosGateway() as gateway:
        gateway.create_bucket("models")
        gateway.create_bucket("history", versioned=True)
        yield gateway


@pytest.fixture
def proxy(gateway):
    with FaultProxy(gateway) as proxy:
        yield proxy


@pytest.fixture
def connect(gateway):
    """Makes a client for a bucket."""

    def make(bucket="models", endpoint=gateway.endpoint, secret=gateway.secret_key):
        return S3Store(
            bucket,
            endpoint=endpoint,
            access_key_id=gateway.access_key,
            secret_access_key=secret,
            region="us-east-1",
            client_options={"allow_http": True, "timeout": "10s"},
            retry_config={"max_retries": 0, "retry_timeout": timedelta(seconds=10)},
        )

    return make


@pytest.fixture
def store(connect):
    return connect()


# === The gateway ===


def test_an_object_comes_back(store):
    obstore.put(store, "bert/w.bin", CONTENT)
    assert bytes(obstore.get(store, "bert/w.bin").bytes()) == CONTENT
    assert bytes(obstore.get_range(store, "bert/w.bin", start=1000, end=1010)) == CONTENT[1000:1010]


def test_a_stream_from_an_offset(store):
    etag = obstore.put(store, "offset.bin", CONTENT)["e_tag"]
    got = obstore.get(store, "offset.bin", options={"range": {"offset": 1000}, "if_match": etag})
    assert got.range == (1000, len(CONTENT))
    assert b"".join(map(bytes, got.stream(min_chunk_size=100_000))) == CONTENT[1000:]


def test_objects_are_listed(store):
    for name, content in {"listed/a": b"1", "listed/b/c": b"22", "listed-not": b""}.items():
        obstore.put(store, name, content)
    found = {entry["path"]: entry for page in obstore.list(store, prefix="listed") for entry in page}
    assert {path: entry["size"] for path, entry in found.items()} == {"listed/a": 1, "listed/b/c": 2}
    assert found["listed/a"]["e_tag"] == f'"{hashlib.md5(b"1").hexdigest()}"'


def test_only_one_creates_an_object(store):
    obstore.put(store, "once", b"first", mode="create")
    with pytest.raises(exceptions.AlreadyExistsError):
        obstore.put(store, "once", b"second", mode="create")
    assert bytes(obstore.get(store, "once").bytes()) == b"first"


def test_a_changed_object_does_not_match(store):
    etag = obstore.put(store, "changed", b"first")["e_tag"]
    obstore.put(store, "changed", b"second")
    with pytest.raises(exceptions.PreconditionError):
        obstore.get(store, "changed", options={"if_match": etag})


def test_metadata_comes_back(store):
    obstore.put(store, "described", b"1", attributes={"sha256": "abc", "Content-Type": "text/plain"})
    attributes = obstore.get(store, "described", options={"head": True}).attributes
    assert attributes["sha256"] == "abc"
    assert attributes["Content-Type"] == "text/plain"


def test_an_old_version_is_kept(connect):
    store = connect("history")
    version = obstore.put(store, "v", b"first")["version"]
    obstore.put(store, "v", b"second")
    assert bytes(obstore.get(store, "v", options={"version": version}).bytes()) == b"first"
    assert bytes(obstore.get(store, "v").bytes()) == b"second"


def test_large_objects_are_sent_in_parts(store, tmp_path):
    file = tmp_path / "large.bin"
    file.write_bytes(os.urandom(1000) * 11_000)
    obstore.put(store, "large.bin", file, chunk_size=5 << 20)
    assert bytes(obstore.get(store, "large.bin").bytes()) == file.read_bytes()


def test_what_is_missing(store, connect):
    with pytest.raises(FileNotFoundError):
        obstore.get(store, "nothing")
    with pytest.raises(FileNotFoundError):
        obstore.get(connect("no-such-bucket"), "nothing")


def test_a_wrong_secret_is_refused(connect):
    with pytest.raises(exceptions.PermissionDeniedError):
        obstore.get(connect(secret="wrong"), "nothing")


def test_the_gateway_does_not_outlive_whoever_started_it(gateway):
    """A process that is killed cannot clean up."""
    code = "from servers.radosgw import RadosGateway as G\nwith G() as g: print(g.port, flush=True); input()"
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    child = subprocess.Popen([sys.executable, "-c", code], stdin=-1, stdout=-1, text=True, env=environment)
    with child:
        port = int(child.stdout.readline())
        assert port != gateway.port
        socket.create_connection(("127.0.0.1", port)).close()
        child.send_signal(signal.SIGKILL)
    wait_until_nobody_listens(port)


def wait_until_nobody_listens(port):
    for _ in range(200):
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except ConnectionRefusedError:
            return
        time.sleep(0.05)
    pytest.fail("the gateway is still there")


# === The proxy ===


def test_the_proxy_forwards_all(connect, proxy, store, tmp_path):
    proxied = connect(endpoint=proxy.url)
    file = tmp_path / "large.bin"
    file.write_bytes(os.urandom(1000) * 6_000)
    obstore.put(proxied, "proxied/large.bin", file, chunk_size=5 << 20)
    obstore.put(proxied, "proxied/ä +.txt", b"1", mode="create", attributes={"sha256": "abc"})
    assert bytes(obstore.get(store, "proxied/large.bin").bytes()) == file.read_bytes()
    assert bytes(obstore.get(proxied, "proxied/large.bin").bytes()) == file.read_bytes()
    assert bytes(obstore.get_range(proxied, "proxied/large.bin", start=10, end=20)) == file.read_bytes()[10:20]
    assert obstore.head(proxied, "proxied/large.bin")["size"] == file.stat().st_size
    assert [entry["path"] for page in obstore.list(proxied, prefix="proxied") for entry in page] == [
        "proxied/large.bin",
        "proxied/ä +.txt",
    ]
    obstore.delete(proxied, "proxied/large.bin")
    with pytest.raises(FileNotFoundError):
        obstore.head(proxied, "proxied/large.bin")
    assert {request.method for request in proxy.requests} == {"PUT", "POST", "GET", "HEAD"}


@pytest.mark.parametrize("options", [{}, {"range": {"offset": 100_000}}], ids=["whole", "range"])
def test_a_flipped_bit(connect, proxy, options):
    store = connect(endpoint=proxy.url)
    obstore.put(store, "flipped.bin", CONTENT)
    proxy.faults = [faults.flip_bit(200_000, files="*.bin")]
    content = bytes(obstore.get(store, "flipped.bin", options=options).bytes())
    start = len(CONTENT) - len(content)
    assert [start + place for place, byte in enumerate(content) if byte != CONTENT[start + place]] == [200_000]


def test_a_connection_that_breaks(connect, proxy):
    store = connect(endpoint=proxy.url)
    obstore.put(store, "cut.bin", CONTENT)
    proxy.faults = [faults.cut(0.5, files="*.bin", times=1)]
    with pytest.raises(exceptions.GenericError):
        obstore.get(store, "cut.bin").bytes()
    assert bytes(obstore.get(store, "cut.bin").bytes()) == CONTENT


def test_a_range_that_is_ignored(connect, proxy):
    store = connect(endpoint=proxy.url)
    obstore.put(store, "range.bin", CONTENT)
    proxy.faults = [faults.range_ignored()]
    with pytest.raises(exceptions.GenericError):
        obstore.get_range(store, "range.bin", start=10, end=20)


def test_a_gateway_that_is_away(gateway, connect, proxy):
    proxy.gateway = type("Away", (), {"port": free_ports(1)[0]})
    with pytest.raises(exceptions.GenericError, match="502"):
        obstore.get(connect(endpoint=proxy.url), "any")
