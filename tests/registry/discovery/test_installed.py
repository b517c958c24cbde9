"""Installed plugins: their names and versions, and what their imports import."""

import sys

import pytest

from vertebra._discovery.installed import find_installed

METADATA = {
    "a readme": "Name: acme\nVersion: 2.5\n\nName: other\nVersion: 3\n",
    "more fields": "Metadata-Version: 2.1\nVersion: 2.5\nSummary: Name: other\nName: acme\n",
    "names of fields in capitals": "NAME: acme\nVERSION: 2.5\n",
    "spaces": "Name:   acme\nVersion:\t2.5\n",
    "Windows": "Name: acme\r\nVersion: 2.5\r\n\r\nName: other\r\n",
}


@pytest.mark.parametrize("text", METADATA.values(), ids=METADATA)
def test_name_and_version_are_those_of_the_metadata(text, install):
    (install("acme-file") / "METADATA").write_bytes(text.encode())
    found = [plugin.owner for _, plugin in find_installed()[0]]
    assert [(owner.distribution, owner.version) for owner in found if owner.module == "acme_file"] == [("acme", "2.5")]


REMOVES = "import sys\ndel sys.modules['acme_before']\n"


@pytest.mark.parametrize("before", ["", REMOVES], ids=["only adds", "removes another"])
def test_what_an_import_adds_is_recorded(before, install, discover, monkeypatch):
    monkeypatch.setitem(sys.modules, "acme_before", sys)
    install("acme-other")
    install("acme", f"{before}import acme_other, json.decoder\n")
    imported = discover(block=["acme-other"])["acme"].imported
    assert imported >= {"acme", "acme_other"}
    assert not imported & {"sys", "json.decoder", "acme_before"}
