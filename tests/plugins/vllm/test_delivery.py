"""Adapters are delivered as local folders, or refused, by the command in child processes."""

import json
import shutil

import pytest

import vertebra
from checked_json import check
from vertebra.cli import main
from vertebra_vllm.child import CommandFailedError
from vertebra_vllm.delivery import AdapterRefusedError, deliver
from vertebra_vllm.settings import Settings

pytestmark = pytest.mark.keras(once=True)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("VERTEBRA_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def base(golden):
    return golden / "transformers"


def test_an_adapter_is_compared_with_the_base(base, tmp_path, capsys, monkeypatch):
    model = vertebra.Backbone.from_preset(base)
    model.enable_lora(2)
    model.save_lora_weights(tmp_path / "own.safetensors")
    settings = Settings({"own": str(tmp_path / "own.safetensors")}, require_fingerprint=True)
    found = deliver("own", str(base), settings)
    assert found.fingerprint
    assert found.number > 0
    assert {path.name for path in found.folder.iterdir()} == {"adapter_config.json", "adapter_model.safetensors"}
    assert deliver("own", str(base), settings) == found
    other = tmp_path / "other"
    changed = vertebra.Backbone.from_preset(base)
    for weight in changed.weights:
        weight.assign(weight + 1)
    changed.save_to_preset(other)
    with pytest.raises(CommandFailedError, match="trained on"):
        deliver("own", str(other), settings)
    (tmp_path / "names.toml").write_text(f'own = "{tmp_path}/own.safetensors"\n')
    monkeypatch.setenv("VERTEBRA_VLLM_NAMES", str(tmp_path / "names.toml"))
    assert main(["vllm-adapter", "own", "--base-model", str(base), "--json"]) == 0
    check("vllm-adapter", json.loads(capsys.readouterr().out))


def test_adapters_of_peft_are_copied_with_a_note_or_refused(golden, base, tmp_path):
    shutil.copytree(golden / "peft_lora", tmp_path / "plain")
    names = {"plain": str(tmp_path / "plain"), "dora": str(golden / "peft_dora")}
    found = deliver("plain", str(base), Settings(names))
    assert found.fingerprint is None
    assert "does not record" in found.notes[0]
    with pytest.raises(AdapterRefusedError, match="does not record"):
        deliver("plain", str(base), Settings(names, require_fingerprint=True))
    with pytest.raises(AdapterRefusedError, match="VERTEBRA_VLLM_MAX_BYTES"):
        deliver("plain", str(base), Settings(names, max_bytes=10))
    with pytest.raises(AdapterRefusedError, match="DoRA"):
        deliver("dora", str(base), Settings(names))
    with pytest.raises(CommandFailedError, match="No adapter at"):
        deliver("none", str(base), Settings({"none": str(tmp_path / "nothing")}))
