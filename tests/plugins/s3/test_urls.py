"""Texts that are no handles, and the handle that a user may have meant."""

import pytest

from vertebra import PresetHandle
from vertebra._resolve.candidates import candidate_handles, source_of, suggested_handles
from vertebra.errors import HandleError, UnknownNameError
from vertebra_s3.layout import location_of

AMAZON = ".amazonaws.com"


@pytest.mark.parametrize(
    ("text", "handle"),
    [
        (f"https://acme.s3{AMAZON}/bert/v1/config.json", "s3://acme/bert/v1"),
        (f"https://acme.s3.eu-central-1{AMAZON}/bert/", "s3://acme/bert"),
        (f"https://a.dotted.name.s3{AMAZON}/bert", "s3://a.dotted.name/bert"),
        (f"https://acme.s3.dualstack.us-east-1{AMAZON}/bert", "s3://acme/bert"),
        (f"https://acme.s3-accelerate{AMAZON}/bert", "s3://acme/bert"),
        (f"https://acme.s3.cn-north-1{AMAZON}.cn/bert", "s3://acme/bert"),
        (f"https://s3{AMAZON}/acme/bert", "s3://acme/bert"),
        (f"http://s3.eu-central-1{AMAZON}/acme/a%20b/?X-Amz-Signature=secret", "s3://acme/a b"),
        (f"https://s3-us-west-2{AMAZON}/acme/bert/model.safetensors", "s3://acme/bert"),
        (f"acme.s3{AMAZON}/bert", "s3://acme/bert"),
        ("https://s3.console.aws.amazon.com/s3/buckets/acme?region=x&prefix=bert/v1/", "s3://acme/bert/v1"),
        ("https://eu-west-1.console.aws.amazon.com/s3/object/acme?prefix=bert/config.json", "s3://acme/bert"),
        ("https://eu-west-1.console.aws.amazon.com/s3/buckets/acme", "s3://acme"),
        ("arn:aws:s3:::acme/bert", "s3://acme/bert"),
        ("s3a://acme/bert", "s3://acme/bert"),
        ("s3n://acme/bert/", "s3://acme/bert"),
        ("s3:acme/bert", "s3://acme/bert"),
        ("https://storage.googleapis.com/acme/bert/config.json", "gs://acme/bert"),
        ("https://acme.storage.googleapis.com/bert", "gs://acme/bert"),
        ("https://storage.cloud.google.com/acme/bert", "gs://acme/bert"),
        ("https://console.cloud.google.com/storage/browser/acme/bert;tab=objects?project=x", "gs://acme/bert"),
        ("gcs://acme/bert", "gs://acme/bert"),
        ("https://account.blob.core.windows.net/acme/bert", "az://acme/bert"),
        ("abfss://acme@account.dfs.core.windows.net/bert", "az://acme/bert"),
        *(
            (text, None)
            for text in (
                *(f"https://s3{AMAZON}", f"https://s3{AMAZON}/-/bert", f"https://s3{AMAZON}.example.org/acme/bert"),
                *("https://example.org/acme/bert", "https://ec2.amazonaws.com/x", "acme/bert", "./acme/bert", "acme"),
                *("https://[::1", "https://console.aws.amazon.com/ec2/home", "arn:aws:iam::1:user/x"),
            )
        ),
    ],
)
def test_what_may_have_been_meant(text, handle):
    found = [suggestion for suggestion in suggested_handles(text) if suggestion.startswith(("s3:", "gs:", "az:"))]
    assert found == ([handle] if handle else [])
    for suggestion in found:
        location_of(PresetHandle.parse(suggestion))
        source_of(PresetHandle.parse(suggestion), suggestion)


@pytest.mark.parametrize("text", [f"https://acme.s3{AMAZON}/bert", f"https://acme.s3{AMAZON}/bert/?X-Amz-Signature=1"])
def test_the_error_names_it(text):
    with pytest.raises((UnknownNameError, HandleError), match="Did you mean s3://acme/bert"):
        source_of(candidate_handles(text)[0], text)
