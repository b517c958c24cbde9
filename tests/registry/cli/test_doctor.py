"""`vertebra doctor`: finds what is broken, also what would hang."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from vertebra.cli import doctor, main

CODE = """
import sys
from vertebra.cli import doctor, main
doctor._PLUGIN_SECONDS = 1.5
doctor._examine_runtime = lambda runtime: doctor.Finding(f"runtime {runtime.name}", True, "not tried here")
doctor._examine_strategies = lambda names: []
sys.exit(main(["doctor", "--json"]))
"""
RAISES = "raise ImportError('a library is missing')"
HANGS = "import time; time.sleep(3600)"
CLAIMS = """
from vertebra import BackboneSpec, hookimpl

@hookimpl
def vertebra_backbones():
    return [BackboneSpec("BertBackbone", "claimant:Other")]
"""


@pytest.fixture
def diagnose(tmp_path: Path):
    """Runs the doctor in a process of its own, beside installed plugins with the given sources."""

    def run(**sources: str):
        for name, source in sources.items():
            (tmp_path / f"{name}.py").write_text(source)
            info = tmp_path / f"{name}-1.0.dist-info"
            info.mkdir()
            (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
            (info / "entry_points.txt").write_text(f"[vertebra]\n{name} = {name}\n")
        environment = {"PYTHONPATH": str(tmp_path), "HOME": str(tmp_path)}
        done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, env=environment, timeout=60)
        return done.returncode, {row["subject"]: row for row in json.loads(done.stdout)}

    return run


def test_what_is_broken_is_named_with_its_cause_and_the_rest_is_fine(diagnose):
    status, findings = diagnose(broken=RAISES, claimant=CLAIMS)
    assert status == 1
    assert {subject for subject, row in findings.items() if not row["ok"]} == {
        "plugin broken of broken",
        "plugin broken",
        "backbone BertBackbone",
    }
    assert "a library is missing" in findings["plugin broken of broken"]["detail"]
    assert "claimant" in findings["backbone BertBackbone"]["detail"]
    assert "vertebra-bert" in findings["backbone BertBackbone"]["detail"]


def test_a_plugin_that_hangs_is_found_and_does_not_hang_the_doctor(diagnose):
    status, findings = diagnose(sleeper=HANGS)
    assert status == 1
    assert "VERTEBRA_BLOCK=sleeper" in findings["plugin sleeper of sleeper"]["detail"]
    assert not findings["contributions"]["ok"]


def test_a_healthy_installation_passes(monkeypatch, capsys):
    monkeypatch.setattr(doctor, "_probe", lambda code, argument, seconds: (True, '{"runtime": "r", "problems": {}}'))
    assert main(["doctor"]) == 0
    shown = capsys.readouterr().out
    assert "BertBackbone" in shown
    assert "FAIL" not in shown


def test_where_presets_are_kept_is_examined(monkeypatch, configure, tmp_path):
    (tmp_path / "file").touch(0o777)
    tiers = f"{tmp_path},{tmp_path / 'modelz'},{tmp_path / 'file'}"
    configure(VERTEBRA_CACHE_TIERS=tiers, VERTEBRA_OFFLINE="1", VERTEBRA_LOCKED="1")
    found = list(doctor._examine_storage())
    assert [(finding.subject, finding.ok) for finding in found] == [
        ("cache", True),
        ("cache tier", True),
        ("cache tier", False),
        ("cache tier", False),
        ("offline", True),
        ("lockfile", False),
    ]
    assert "has nothing in it that a cache has" in found[1].detail
    assert "modelz is no folder that can be read; correct VERTEBRA_CACHE_TIERS" in found[2].detail
