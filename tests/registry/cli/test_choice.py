"""Commands that need a runtime bind it before Keras is imported, whatever the environment says of it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.keras

GOLDEN = Path(__file__).parents[2] / "golden"


@pytest.fixture
def vertebra_command(tmp_path):
    """Runs the command with no chosen backend except that of a keras.json, which is not installed."""
    (tmp_path / "keras.json").write_text('{"backend": "tensorflow"}')
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("KERAS_", "VERTEBRA_RUNTIME"))}

    def run(*words, status=0):
        command = [sys.executable, "-m", "vertebra.cli", *map(str, words)]
        done = subprocess.run(
            command, env=kept | {"KERAS_HOME": str(tmp_path)}, capture_output=True, text=True, timeout=300
        )
        assert done.returncode == status, done.stderr
        assert "Traceback" not in done.stderr
        return done

    return run


def test_verify_takes_the_runtime_that_it_is_given(backbone, tmp_path, vertebra_command, runtime):
    backbone.save_to_preset(tmp_path / "preset")
    facts = json.loads(vertebra_command("verify", tmp_path / "preset", "--runtime", runtime, "--json").stdout)
    assert facts["holds"]
    assert facts["replayed_with"]["runtime"] == runtime


@pytest.mark.keras(once=True)
def test_convert_needs_no_choice_and_prints_notices_as_lines(tmp_path, vertebra_command):
    done = vertebra_command("convert", GOLDEN / "gpt2" / "transformers_head", tmp_path / "native")
    assert (tmp_path / "native" / "model.safetensors").exists()
    assert all(line.startswith("warning: ") for line in done.stderr.splitlines())
    assert vertebra_command("verify", tmp_path / "nowhere", status=1).stderr.startswith("error: No preset")
