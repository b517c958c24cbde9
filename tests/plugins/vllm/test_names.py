"""Only names that the operator allows are resolved."""

import pytest

from vertebra_vllm.names import UnknownAdapterError, adapter_of
from vertebra_vllm.settings import Settings

SETTINGS = Settings({"legal": "/srv/legal"}, ("hf://acme/", "s3://bucket/adapters"))


@pytest.mark.parametrize("name", ["hf://acme/x", "hf://acme/x/y", "s3://bucket/adapters", "s3://bucket/adapters/a"])
def test_handles_below_a_prefix_are_accepted(name):
    assert adapter_of(name, SETTINGS) == name


@pytest.mark.parametrize(
    "name",
    [
        "", "x", "/srv/legal", "../legal", "hf://acme/../evil/x", "hf://acme/%2E%2E/evil", "hf://acmes/x", "hf://evil/x",
        "HF://acme/x", "hf://acme/x@main", "hf://acme/x@refs/pr/1", "s3://bucket/adapters-evil/a", "hf://acme//x",
        "hf://acme/x\x00", "hf://acme/" + "x" * 600,
    ],
)  # fmt: skip
def test_other_names_are_refused(name):
    with pytest.raises(UnknownAdapterError, match="allow no adapter"):
        adapter_of(name, SETTINGS)


def test_a_name_of_the_file_is_its_entry_and_nothing_is_allowed_by_default():
    assert adapter_of("legal", SETTINGS) == "/srv/legal"
    with pytest.raises(UnknownAdapterError):
        adapter_of("hf://acme/x", Settings())
