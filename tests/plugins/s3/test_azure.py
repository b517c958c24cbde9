"""Azure Blob Storage, by Microsoft's emulator behind a proxy that has faults: what holds for every source."""

import itertools
import os

import pytest

from servers import azurite, faults
from servers.proxy import FaultProxy
from vertebra import PresetHandle
from vertebra.errors import IntegrityError, PresetAccessError, PresetExistsError, PresetNotFoundError
from vertebra.testing import RemoteSourceSuite, opened
from vertebra.testing.sources import FILES, OTHER_FILES, contents, written
from vertebra_s3.source import AzureSource

pytest.importorskip("obstore")
_counter = itertools.count()


@pytest.fixture(scope="module")
def emulator():
    """One emulator for all tests, with the container `models`."""
    if reason := azurite.missing():
        pytest.skip(reason)
    with azurite.Azurite() as emulator:
        emulator.create_container("models")
        yield emulator


@pytest.fixture
def proxy(emulator, nobody, monkeypatch):
    """The user's endpoint."""
    with FaultProxy(emulator) as proxy:
        monkeypatch.setenv("AZURE_STORAGE_ENDPOINT", f"{proxy.url}/{emulator.account}")
        monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", emulator.account)
        monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", emulator.key)
        yield proxy


@pytest.fixture
def destination(proxy):
    return PresetHandle("az", f"models/team/{os.getpid()}-{next(_counter)}")


class ServiceFaults:
    def __init__(self, proxy):
        self.proxy = proxy

    def cut(self, name, times):
        self.proxy.faults = [faults.cut(0.5, files=f"*{name}", times=times)]

    def flip(self, name):
        self.proxy.faults = [faults.flip_bit(30_000, files=f"*{name}")]

    def heal(self):
        self.proxy.faults = []


class TestPushed(RemoteSourceSuite):
    """Presets that Vertebra has pushed."""

    client = "obstore"

    @pytest.fixture
    def source(self, proxy):
        return AzureSource()

    @pytest.fixture
    def publish(self, source, destination, tmp_path):
        def publish(files):
            source.upload(destination, written(tmp_path / "published", files), True, "message")
            return destination

        return publish

    @pytest.fixture
    def missing_handle(self, destination):
        return PresetHandle("az", f"{destination.path}-missing")

    @pytest.fixture
    def secret(self, emulator):
        return emulator.key

    @pytest.fixture
    def requests(self, proxy):
        return lambda: len(proxy.requests)

    @pytest.fixture
    def faults(self, proxy):
        return ServiceFaults(proxy)

    @pytest.fixture
    def redirect(self, proxy):
        def redirect(location):
            proxy.faults = [faults.redirect(location, paths="*", methods=("GET", "HEAD"))]

        return redirect

    @pytest.fixture(params=[None, "v1.0"])
    def new_handle(self, request, destination):
        return PresetHandle("az", destination.path, request.param)


class TestPlain(TestPushed):
    """Files that other tools have put below a prefix."""

    @pytest.fixture
    def publish(self, emulator, destination):
        def publish(files):
            for name, content in files.items():
                emulator.put(f"{destination.path}/{name}", content)
            return destination

        return publish

    def test_all_files_are_of_one_revision(self, source, publish):
        """The service does not keep replaced files: a reader that has not finished gets an error."""
        pinned = opened(source).resolve(publish(FILES))
        opened(source).fetch(pinned, "config.json")
        later = opened(source).resolve(publish(OTHER_FILES))
        with pytest.raises(IntegrityError, match="was replaced after the preset was looked up"):
            opened(source).fetch_all(pinned, opened(source).files(pinned))
        assert contents(source, later) == OTHER_FILES

    test_a_wrong_bit_is_never_accepted = None
    """The hashes of these files are not recorded."""


@pytest.fixture
def source(proxy, cache):
    return AzureSource()


def test_a_large_file_is_sent_in_blocks(source, destination, write):
    """They are committed at once."""
    files = {"config.json": b"{}", "model.safetensors": os.urandom(2**20) * 9}
    pinned = source.upload(destination, write(files), False, "message")
    assert opened(source).fetch(pinned, "model.safetensors").read_bytes() == files["model.safetensors"]


def test_of_two_presets_the_first_stays(source, destination, write):
    source.upload(destination, write({"config.json": b"{}"}), False, "one")
    with pytest.raises(PresetExistsError, match="another preset is already there"):
        source.upload(destination, write({"config.json": b"[]"}), False, "two")


def test_a_container_that_does_not_exist_is_an_error(source, write):
    with pytest.raises(PresetNotFoundError):
        source.resolve_snapshot(PresetHandle("az", "missing/bert"))
    with pytest.raises(PresetNotFoundError):
        source.upload(PresetHandle("az", "missing/bert"), write({"config.json": b"{}"}), False, "message")


def test_a_wrong_key_is_an_error(source, destination, monkeypatch):
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", "bm8tc2VjcmV0")
    with pytest.raises(PresetAccessError, match=r"HTTP 403.*AZURE_STORAGE_ACCOUNT_KEY"):
        source.resolve_snapshot(destination)
