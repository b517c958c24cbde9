"""A real gateway and a real emulator on the loopback interface, and the real client, for the tests of the plugin."""

import dataclasses
import itertools
import os

import pytest

from servers import radosgw
from servers.azurite import Azurite
from servers.proxy import FaultProxy
from vertebra import PresetHandle

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
    return lambda handle, files: _put(gateway, handle, files)


def _put(store, handle, files):
    for name, content in files.items():
        store.put(f"{handle.path}/{name}", content)


@pytest.fixture
def destination(proxy):
    """A handle with an unused prefix."""
    return PresetHandle("s3", _unused())


def _unused():
    return f"models/team/{os.getpid()}-{next(_counter)}"


@pytest.fixture
def source(cache):
    from vertebra_s3.source import S3Source

    return S3Source()


@pytest.fixture
def reading_by_client(cache):
    """A source that has the client library read files, as those of other services than S3 do."""
    from vertebra_s3.aws_config import amazon
    from vertebra_s3.source import S3Source

    class Reading(S3Source):
        def access(self):
            return dataclasses.replace(amazon(), reads_by_url=False)

    return Reading()


# === Azure Blob Storage ===


@pytest.fixture(scope="package")
def emulator():
    """One emulator for all tests of the plugin, with the container `models`."""
    if reason := Azurite.missing():
        pytest.skip(reason)
    with Azurite() as emulator:
        emulator.create_container("models")
        yield emulator


@pytest.fixture
def azure(emulator, nobody, monkeypatch):
    """The user's endpoint: the emulator behind a proxy, which counts requests and has faults."""
    pytest.importorskip("obstore")
    with FaultProxy(emulator) as proxy:
        monkeypatch.setenv("AZURE_STORAGE_ENDPOINT", f"{proxy.url}/{emulator.account}")
        monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", emulator.account)
        monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", emulator.key)
        yield proxy


@pytest.fixture
def put_blobs(emulator):
    """Puts files below the prefix of a handle, as other tools do."""
    return lambda handle, files: _put(emulator, handle, files)


@pytest.fixture
def azure_destination(azure):
    """A handle with an unused prefix."""
    return PresetHandle("az", _unused())
