"""Long lists of objects are read within limits."""

import time

import pytest

from servers.http import LoopbackServer
from servers.messages import Content, Response
from vertebra import PresetHandle
from vertebra.errors import PresetError, SourceUnavailableError
from vertebra_s3 import bucket, listing, unmanaged
from vertebra_s3.source import S3Source

DATE = "2026-01-02T03:04:05.000Z"
OBJECT = f"<Contents><Key>preset/{{}}</Key><LastModified>{DATE}</LastModified><ETag>1</ETag><Size>1</Size></Contents>"


class LongList(LoopbackServer):
    """Sends a list of a thousand pages, each with the same objects."""

    objects = ""

    def respond(self, request, body):
        if "list-type" not in request.query:
            return Response(404, {}, Content.of(b"<Error><Code>NoSuchKey</Code></Error>"))
        page = int(request.query.get("continuation-token", 0)) + 1
        time.sleep(0.001)
        token = f"<NextContinuationToken>{page}</NextContinuationToken>"
        more = f"<IsTruncated>true</IsTruncated>{token}" if page < 1_000 else "<IsTruncated>false</IsTruncated>"
        page = f"<ListBucketResult>{self.objects}{more}</ListBucketResult>"
        return Response(200, {"Content-Type": "application/xml"}, Content.of(page.encode()))


@pytest.fixture
def service(nobody, monkeypatch):
    pytest.importorskip("obstore")
    with LongList() as service:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", service.url)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "b")
        yield service


def test_a_long_list_ends_at_the_limit_of_objects(service, monkeypatch):
    monkeypatch.setattr(unmanaged, "MOST_OBJECTS", 200)
    monkeypatch.setattr(bucket.Bucket.list, "__defaults__", (201,))
    service.objects = "".join(map(OBJECT.format, ("config.json", "model.safetensors")))
    with pytest.raises(PresetError, match="more than 200 objects"):
        S3Source().resolve_snapshot(PresetHandle("s3", "models/preset"))


def test_a_list_of_empty_pages_is_an_error_after_a_time(service, monkeypatch):
    monkeypatch.setattr(listing, "SECONDS", 0.5)
    with pytest.raises(SourceUnavailableError, match="has no end"):
        S3Source().resolve_snapshot(PresetHandle("s3", "models/preset"))


def test_objects_in_folders_are_not_listed_with_those_directly_below(service):
    """A list with a delimiter is sent by the service itself: however long its folders are, no name is missing."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bucket.Bucket.list, "__defaults__", (0,))
        service.objects = OBJECT.format("config.json")
        handle = PresetHandle("s3", "models/preset")
        assert S3Source()._buckets.open(handle, "models").names("preset/") == {"config.json"}
    assert any("delimiter" in request.query for request in service.requests)
