"""The variable that names modules for the command; no framework is imported."""

import json
from pathlib import Path

NETS = Path(__file__).with_name("nets.py")


def test_the_command_lists_the_modules_of_the_variable(python):
    environment = {"VERTEBRA_TORCH_MODULES": f"{NETS}:TextNet, {NETS}:image_net"}
    done = python(["-m", "vertebra.cli", "backbones", "--json"], text=True, env=environment)
    names = {entry["name"] for entry in json.loads(done.stdout)}
    assert {"TextNetBackbone", "ImageNetBackbone"} <= names, done.stderr


def test_a_variable_of_another_form_is_reported(python):
    done = python(["-m", "vertebra.cli", "plugins"], text=True, env={"VERTEBRA_TORCH_MODULES": "net.py"})
    assert "VERTEBRA_TORCH_MODULES: 'net.py' names no module" in done.stdout


def test_the_doctor_imports_the_modules_on_their_runtime(python, tmp_path):
    broken = NETS.with_name("broken.py")
    environment = {
        "VERTEBRA_TORCH_MODULES": f"{NETS}:TextNet,{broken}:Net",
        "KERAS_BACKEND": "",
        "KERAS_HOME": str(tmp_path),
    }
    code = "from vertebra.cli import doctor; print(*doctor._examine_references(['torch-module']))"
    done = python(["-c", code], text=True, env=environment)
    assert "NameError: name 'Base' is not defined" in done.stdout, done.stderr
    assert "TextNetBackbone" not in done.stdout


def test_the_command_chooses_the_runtime_of_the_modules(python, tmp_path):
    """Where several runtimes are installed and none was chosen."""
    environment = {"VERTEBRA_TORCH_MODULES": f"{NETS}:image_net", "KERAS_HOME": str(tmp_path)}
    code = "import vertebra; net = vertebra.models.ImageNetBackbone(channels=3); "
    code += "net.save_to_preset('net'); net.enable_lora(2); net.save_lora_weights('adapter')"
    python(["-c", code], text=True, env={**environment, "KERAS_BACKEND": "torch"}, cwd=tmp_path)
    for command in (["verify", "net"], ["lora", "convert", "adapter", "--base", "net", "adapter.safetensors"]):
        done = python(
            ["-m", "vertebra.cli", *command], text=True, env={**environment, "KERAS_BACKEND": ""}, cwd=tmp_path
        )
        assert done.returncode == 0, done.stderr
