"""Adapters of a torch module are exchanged with PEFT."""

import json
from pathlib import Path

import pytest

pytestmark = pytest.mark.keras

NETS = Path(__file__).parents[2] / "plugins" / "torch-module" / "nets.py"


def test_adapters_of_a_torch_module_are_exchanged_with_peft(tmp_path):
    torch = pytest.importorskip("torch", reason="torch modules need torch")
    peft = pytest.importorskip("peft", reason="only the environment of `make peers` has it")
    from safetensors.torch import save_model

    import vertebra_torch_module
    from vertebra_torch_module import declared

    nets = declared.module_of_file(str(NETS))
    torch.manual_seed(0)
    base = nets.TextNet(20, depth=1).eval()
    save_model(base, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps({"vocabulary": 20, "depth": 1}))
    settings = peft.LoraConfig(r=2, lora_alpha=8, target_modules=["query", "up"], init_lora_weights=False)
    theirs = peft.get_peft_model(base, settings)
    theirs.save_pretrained(tmp_path / "theirs")
    inputs = {"token_ids": torch.arange(12).reshape(2, 6), "padding_mask": torch.ones(2, 6, dtype=torch.bool)}
    with torch.no_grad():
        expected = theirs(**inputs)["hidden"]
        ours = vertebra_torch_module.add(nets.TextNet).from_preset(tmp_path)
        receipt = ours.load_lora_weights(tmp_path / "theirs")
        assert receipt.layers == ("module/blocks/0/query", "module/blocks/0/up")
        torch.testing.assert_close(ours(inputs)["hidden"], expected, rtol=1e-5, atol=1e-5)
        ours.save_lora_weights(tmp_path / "ours")
        torch.manual_seed(0)
        again = peft.PeftModel.from_pretrained(nets.TextNet(20, depth=1).eval(), str(tmp_path / "ours"))
        torch.testing.assert_close(again(**inputs)["hidden"], expected, rtol=1e-5, atol=1e-5)
