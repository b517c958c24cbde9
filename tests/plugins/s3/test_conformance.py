"""What holds for every source, for these: the real client, and real services behind a proxy that has faults."""

from dataclasses import replace

import pytest

from servers.conformance import ServiceSuite
from vertebra.errors import IntegrityError
from vertebra.testing import opened
from vertebra.testing.sources import FILES, OTHER_FILES, contents, written
from vertebra_s3.source import AzureSource, S3Source


class TestPushed(ServiceSuite):
    """Presets that Vertebra has pushed."""

    client = "obstore"

    @pytest.fixture
    def source(self, proxy):
        return S3Source()

    @pytest.fixture
    def service(self, proxy):
        return proxy

    @pytest.fixture
    def secret(self, gateway, proxy):
        return gateway.secret_key

    @pytest.fixture
    def publish(self, source, destination, tmp_path):
        def publish(files):
            source.upload(destination, written(tmp_path / "published", files), True, "message")
            return destination

        return publish

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


class OfAzure:
    """The same for Azure Blob Storage."""

    @pytest.fixture
    def source(self, azure):
        return AzureSource()

    @pytest.fixture
    def service(self, azure):
        return azure

    @pytest.fixture
    def secret(self, emulator):
        return emulator.key

    @pytest.fixture
    def put(self, put_blobs):
        return put_blobs

    @pytest.fixture
    def destination(self, azure_destination):
        return azure_destination


class TestPushedToAzure(OfAzure, TestPushed):
    pass


class TestPlainOnAzure(OfAzure, TestPlain):
    pass
