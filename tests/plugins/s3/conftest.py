"""A real gateway on the loopback interface, and the real client, for the tests of the plugin."""

import dataclasses
import itertools
import os

import pytest

from servers import radosgw
from servers.proxy import FaultProxy
from vertebra import PresetHandle
from vertebra.testing import opened

OF_SERVICES = ("AWS_", "AZURE_", "GOOGLE_")
_counter = itertools.count()


@pytest.fixture(scope="package")
def gateway():
    """One gateway for all tests of the plugin, with the bucket `models`."""
    if reason := radosgw.missing():
        pytest.skip(reason)
    with radosgw.RadosGateway() as gateway:
        gateway.create_bucket("models")
        yield gateway


@pytest.fixture(scope="package", autouse=True)
def no_certificates(tmp_path_factory):
    """Lets the client read no certificates, which it does for each store: the gateway has no use for them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSL_CERT_DIR", str(tmp_path_factory.mktemp("certificates")))
        yield


@pytest.fixture
def nobody(tmp_path, monkeypatch):
    """The settings of a user without any; returns a home to put files in."""
    for name in [name for name in os.environ if name.startswith(OF_SERVICES) or name.upper().endswith("_PROXY")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home" / ".aws").mkdir(parents=True)
    return tmp_path / "home"


@pytest.fixture
def proxy(gateway, nobody, monkeypatch):
    """The user's endpoint: the gateway behind a proxy, which counts requests and has faults."""
    pytest.importorskip("obstore")
    with FaultProxy(gateway) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", proxy.url)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", gateway.access_key)
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", gateway.secret_key)
        yield proxy


@pytest.fixture
def put(gateway):
    """Puts files below the prefix of a handle, as other tools do."""

    def put(handle, files):
        for name, content in files.items():
            gateway.request("PUT", f"/{handle.path}/{name}", content)

    return put


@pytest.fixture
def destination(proxy):
    """A handle with an unused prefix."""
    return PresetHandle("s3", f"models/team/{os.getpid()}-{next(_counter)}")


@pytest.fixture
def source(cache):
    from vertebra_s3.source import S3Source

    return S3Source()


@pytest.fixture
def write(tmp_path):
    """Writes files into a new folder; returns their paths by name."""

    def write(files):
        folder = tmp_path / f"files-{next(_counter)}"
        for name, content in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)
        return {name: folder / name for name in files}

    return write


@pytest.fixture
def read(source):
    """Downloads all files of a handle's current revision; returns their bytes by name."""

    def read(handle):
        pinned = opened(source).resolve(handle)
        files = opened(source).files(pinned)
        return {
            file.name: path.read_bytes()
            for file, path in zip(files, opened(source).fetch_all(pinned, files), strict=True)
        }

    return read


@pytest.fixture
def reading_by_client(cache):
    """A source that has the client library read files, as those of other services than S3 do."""
    from vertebra_s3.aws_config import amazon
    from vertebra_s3.source import S3Source

    class Reading(S3Source):
        def access(self):
            return dataclasses.replace(amazon(), reads_by_url=False)

    return Reading()
