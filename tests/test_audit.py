"""The audit of dependencies, with the real pip-audit and an advisory service on the loopback interface."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from servers.http import LoopbackServer, route
from servers.messages import Response

ROOT = Path(__file__).parents[1]
PIP_AUDIT = ROOT / ".venv-audit" / "bin" / "pip-audit"
ADVISORY = {"id": "GHSA-0000-0000-0000", "summary": "an advisory", "published": "2026-01-01T00:00:00Z"}
RANGE = {"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "9.9"}]}

pytestmark = pytest.mark.skipif(not PIP_AUDIT.exists(), reason="pip-audit is not installed: make audit installs it")


class AdvisoryService(LoopbackServer):
    """Answers as osv.dev does, with an advisory about each of some packages."""

    def __init__(self, *vulnerable):
        super().__init__()
        self.vulnerable = vulnerable

    @route("POST", "/v1/query")
    def query(self, request, body):
        name = json.load(body)["package"]["name"]
        about = {"package": {"name": name, "ecosystem": "PyPI"}, "ranges": [RANGE]}
        return Response.json({"vulns": [{**ADVISORY, "affected": [about]}]} if name in self.vulnerable else {})


@pytest.fixture
def packages(tmp_path):
    """A folder with the metadata of two installed packages."""
    for name in ("sound", "broken"):
        folder = tmp_path / f"{name}-1.0.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    return tmp_path


def audit(url, *arguments):
    command = [sys.executable, ROOT / ".ci" / "audit.py", *arguments, "--osv-url", f"{url}/v1/query"]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=120)
    return done.returncode, done.stdout


def test_an_advisory_fails_the_audit_and_names_the_release_that_corrects_it(packages):
    with AdvisoryService("urllib3", "broken") as service:
        status, output = audit(service.url, PIP_AUDIT, packages)
    assert status == 1
    assert "ADVISORY: broken 1.0: GHSA-0000-0000-0000; corrected in 9.9" in output
    assert "2 packages audited, 1 advisories" in output


def test_a_service_that_knows_no_advisory_of_a_vulnerable_release_is_not_believed(packages):
    with AdvisoryService("broken") as service:
        status, output = audit(service.url, PIP_AUDIT, packages)
    assert (status, output.startswith("AUDIT NOT DONE: no advisory service answers")) == (0, True)


def test_a_service_that_cannot_be_reached_fails_nothing_and_is_named(packages):
    with AdvisoryService() as service:
        url = service.url
    status, output = audit(url, PIP_AUDIT, packages)
    assert (status, output.startswith("AUDIT NOT DONE: no advisory service answers")) == (0, True)


def test_a_missing_tool_fails_nothing_and_is_named(packages):
    status, output = audit("http://127.0.0.1:9", packages / "nothing", packages)
    assert (status, output.startswith("AUDIT NOT DONE: pip-audit is not installed")) == (0, True)
