"""The resolver and the rules about vLLM's config, against vLLM's real classes; `make peers-vllm` runs these tests."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from vertebra._lora.engines.check import check_adapter

PROGRAM = Path(__file__).with_name("vllm_program.py")


@pytest.fixture
def vllm(tmp_path):
    """Calls a function of vllm_program.py."""
    python = os.environ.get("VLLM_PYTHON")
    if not python:
        pytest.skip("`make peers-vllm` runs these tests: VLLM_PYTHON names no interpreter with vLLM")

    def call(function, **arguments):
        variables = {"VERTEBRA_CACHE": str(tmp_path / "cache"), "VERTEBRA_VLLM_NAMES": str(tmp_path / "names.toml")}
        request = json.dumps({"function": function} | arguments)
        done = subprocess.run(
            [python, PROGRAM], input=request, env=os.environ | variables, capture_output=True, text=True, timeout=300
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1])

    return call


def test_names_are_resolved_in_the_registry(vllm, golden, tmp_path):
    lines = [f'{name} = "{golden / adapter}"' for name, adapter in (("plain", "peft_lora"), ("dora", "peft_dora"))]
    (tmp_path / "names.toml").write_text("\n".join(lines))
    found = vllm("serve", base=str(golden / "transformers"), names=["plain", "dora", "../plain"])
    assert found["is_resolver"]
    assert found["signatures"][0] == found["signatures"][1]
    assert found["ids"].keys() == found["loaded"].keys() == {"plain"}
    assert any(line.startswith("ERROR Refused the adapter 'dora'") for line in found["log"])


CHANGES = [
    {}, {"use_dora": True}, {"bias": "all"}, {"lora_bias": True}, {"modules_to_save": ["lm_head"]},
    {"modules_to_save": ["score"]}, {"init_lora_weights": "pissa"}, {"init_lora_weights": "eva"}, {"r": 64},
    {"rank_pattern": {"query": 32}}, {"use_rslora": True}, {"use_qalora": True}, {"layer_replication": [[0, 1]]},
    {"alora_invocation_tokens": [1]},
]  # fmt: skip


def test_settings_are_refused_as_by_vllm(vllm, golden, tmp_path):
    folders = []
    for number, changes in enumerate(CHANGES):
        folder = shutil.copytree(golden / "peft_lora", tmp_path / str(number))
        config = folder / "adapter_config.json"
        config.write_text(json.dumps(json.loads(config.read_text()) | changes))
        folders.append(str(folder))
    ours = [bool(check_adapter(folder, "vllm")["findings"]) for folder in folders]
    assert ours == [bool(error) for error in vllm("check", folders=folders)]
    assert {True, False} == set(ours)
