"""Files of presets and adapters that may not be read: a typed error (V9)."""

import json
import os
import shutil
import subprocess

import pytest

pytestmark = pytest.mark.keras(once=True)

READ = """
import json, os, sys
from pathlib import Path
import vertebra
from vertebra._presets.plan import plan_preset
from vertebra.cli.inspect import inspect_preset
from vertebra.cli.verify import verify_preset

preset, adapter = map(Path, sys.argv[1:])
load = vertebra.Backbone.from_preset
backbone = load(preset)

def outcomes(path, *reads):
    mode = path.stat().st_mode & 0o777
    path.chmod(0)
    for read in reads:
        try:
            read()
            yield path.name, None, ""
        except vertebra.errors.VertebraError as error:
            yield path.name, None, str(error)
        except Exception as error:
            yield path.name, type(error).__name__, str(error)
    path.chmod(mode)

name = str(preset)
reads = [lambda: load(name), lambda: load(name, load_weights=False), lambda: inspect_preset(name)]
reads += [lambda: plan_preset(name), lambda: verify_preset(name)]
found = [one for path in (*sorted(preset.iterdir()), preset) for one in outcomes(path, *reads)]
attach = [lambda: backbone.load_lora_weights(adapter), lambda: vertebra.open_files(adapter).names]
found += [one for path in (*sorted(adapter.iterdir()), adapter) for one in outcomes(path, attach[0])]
print(json.dumps(found))
"""


@pytest.fixture
def without_privileges():
    """Starts a command that may not read every file, as root may."""
    start = ("setpriv", "--bounding-set=-dac_override,-dac_read_search")
    if os.geteuid() != 0:
        return ()
    if shutil.which("setpriv") is None or subprocess.run([*start, "true"], capture_output=True).returncode:
        pytest.skip("root may read every file, and setpriv cannot change that here")
    return start


def test_each_file_that_may_not_be_read_is_named(child, golden, backbone, tmp_path, without_privileges):
    """V9: no PermissionError from a config, an adapter's config, weights, or a folder, in any kind of read."""
    backbone.save_to_preset(tmp_path / "preset")
    shutil.copytree(golden / "peft_lora", tmp_path / "adapter")
    found = json.loads(child(READ, tmp_path / "preset", tmp_path / "adapter", under=without_privileges))
    assert [one for one in found if one[1]] == []
    refused = {name for name, _, text in found if text}
    assert refused == {"preset", "adapter", "config.json", "model.safetensors", "certificate.safetensors"} | {
        "adapter_config.json",
        "adapter_model.safetensors",
    }
