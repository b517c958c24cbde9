"""`vertebra doctor`: finds what is broken, also what would hang."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

CODE = """
import sys
sys.path.insert(0, sys.argv[1])
from vertebra.cli import doctor, main
doctor._PLUGIN_SECONDS = 2
doctor._examine_runtime = lambda runtime: doctor.Finding(f"runtime {runtime.name}", True, "not tried here")
sys.exit(main(["doctor", "--json"]))
"""


@pytest.fixture
def diagnose(tmp_path: Path):
    """Runs the doctor beside an installed plugin with the given source."""

    def run(source: str):
        (tmp_path / "patient.py").write_text(source)
        info = tmp_path / "patient-1.0.dist-info"
        info.mkdir(exist_ok=True)
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: patient\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text("[vertebra]\npatient = patient\n")
        environment = {"PYTHONPATH": str(tmp_path), "PATH": "", "HOME": str(tmp_path)}
        command = [sys.executable, "-c", CODE, str(tmp_path)]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60)
        return done.returncode, {row["subject"]: row for row in json.loads(done.stdout)}

    return run


def test_a_healthy_installation_passes(diagnose):
    status, findings = diagnose(
        "from vertebra import hookimpl\n\n\n@hookimpl\ndef vertebra_runtimes():\n    return []\n"
    )
    assert status == 0
    assert findings["plugin patient of patient"]["ok"]
    assert "BertBackbone" in findings["backbones"]["detail"]


def test_a_plugin_that_raises_is_named_with_its_cause(diagnose):
    status, findings = diagnose("raise ImportError('a library is missing')\n")
    assert status == 1
    assert "a library is missing" in findings["plugin patient of patient"]["detail"]
    assert findings["plugin bert of vertebra-bert"]["ok"]


def test_a_plugin_that_hangs_is_found_and_does_not_hang_the_doctor(diagnose):
    status, findings = diagnose("import time\ntime.sleep(3600)\n")
    assert status == 1
    assert not findings["plugin patient of patient"]["ok"]
    assert "VERTEBRA_BLOCK=patient" in findings["plugin patient of patient"]["detail"]
    assert not findings["contributions"]["ok"]


def test_a_clash_names_both_owners(diagnose):
    status, findings = diagnose(
        "from vertebra import BackboneSpec, hookimpl\n\n\n@hookimpl\ndef vertebra_backbones():\n"
        "    return [BackboneSpec('BertBackbone', 'patient:Other')]\n"
    )
    assert status == 1
    assert "patient" in findings["backbone BertBackbone"]["detail"]
    assert "vertebra-bert" in findings["backbone BertBackbone"]["detail"]
