"""ONNX: the code of docs/how-to/devices.md exports a backbone, which onnxruntime computes for any batch and length."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch

import vertebra

pytestmark = pytest.mark.keras

PAGE = Path(__file__).parents[3] / "docs" / "how-to" / "devices.md"


def test_onnxruntime_computes_what_the_backbone_does(golden, tmp_path, monkeypatch):
    import onnxruntime

    monkeypatch.chdir(tmp_path)
    backbone = vertebra.Backbone.from_preset(golden / "transformers")
    backbone.enable_lora(2)
    section = PAGE.read_text(encoding="utf-8").partition("\n## Export\n")[2]
    first, onnx, _ = re.findall(r"```python\n(.+?)```", section, flags=re.DOTALL)
    names = {"torch": torch, "vertebra": vertebra, "backbone": backbone}
    for block in (first.replace('vertebra.Backbone.from_preset("./my_bert")', "backbone"), onnx):
        exec(compile(block, "devices.md", "exec"), names)
    session = onnxruntime.InferenceSession("encoder.onnx")
    for shape in ((3, 9), (1, 16)):
        ids = torch.randint(1, 90, shape, dtype=torch.int32)
        mask = torch.ones_like(ids)
        mask[:, 5:] = 0
        (found,) = session.run(None, {"token_ids": ids.numpy(), "padding_mask": mask.numpy()})
        assert np.allclose(found, names["encoder"](ids, mask).detach(), atol=1e-5)
