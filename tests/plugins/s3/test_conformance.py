"""What holds for every source, for this one: the real client, and a real gateway behind a proxy that has faults."""

from dataclasses import replace

import pytest

from servers import faults
from vertebra.errors import IntegrityError
from vertebra.testing import RemoteSourceSuite, opened
from vertebra.testing.sources import FILES, OTHER_FILES, contents, written
from vertebra_s3.source import S3Source


class GatewayFaults:
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
        return S3Source()

    @pytest.fixture
    def publish(self, source, destination, tmp_path):
        def publish(files):
            source.upload(destination, written(tmp_path / "published", files), True, "message")
            return destination

        return publish

    @pytest.fixture
    def missing_handle(self, destination):
        return replace(destination, path=f"{destination.path}-missing")

    @pytest.fixture
    def secret(self, gateway, proxy):
        return gateway.secret_key

    @pytest.fixture
    def requests(self, proxy):
        return lambda: len(proxy.requests)

    @pytest.fixture
    def faults(self, proxy):
        return GatewayFaults(proxy)

    @pytest.fixture
    def redirect(self, proxy):
        def redirect(location):
            proxy.faults = [faults.redirect(location, paths="*", methods=("GET", "HEAD"))]

        return redirect

    @pytest.fixture(params=[None, "v1.0"])
    def new_handle(self, request, destination):
        return replace(destination, revision=request.param)


class TestPlain(TestPushed):
    """Files that others have put below a prefix."""

    @pytest.fixture
    def publish(self, put, destination):
        def publish(files):
            put(destination, files)
            return destination

        return publish

    def test_all_files_are_of_one_revision(self, source, publish):
        """The store does not keep replaced files: a reader that has not finished gets an error."""
        pinned = opened(source).resolve(publish(FILES))
        opened(source).fetch(pinned, "config.json")
        later = opened(source).resolve(publish(OTHER_FILES))
        with pytest.raises(IntegrityError, match="was replaced after the preset was looked up"):
            opened(source).fetch_all(pinned, opened(source).files(pinned))
        assert contents(source, later) == OTHER_FILES

    test_a_wrong_bit_is_never_accepted = None
    """The hashes of these files are not recorded."""


class TestReadByTheClient(TestPushed):
    """Read as from services other than S3."""

    @pytest.fixture
    def source(self, proxy, reading_by_client):
        return reading_by_client


class TestPlainReadByTheClient(TestPlain):
    """Both."""

    @pytest.fixture
    def source(self, proxy, reading_by_client):
        return reading_by_client
