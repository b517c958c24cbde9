"""Tools of torch and Vertebra in one process: the environment of `make peers` has both."""

import os
from pathlib import Path

import pytest


def pytest_collection_modifyitems(items):
    """Lets the libraries warn of what they do themselves."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.filterwarnings("ignore"))


@pytest.fixture(scope="session", autouse=True)
def tools(runtime):
    """Skips these tests unless the interpreter has the libraries and Keras runs on torch."""
    for name in ("transformers", "accelerate", "lightning"):
        pytest.importorskip(name, reason="only the environment of `make peers` has it")
    if runtime != "torch":
        pytest.skip("only on torch a backbone is a module")
    os.environ["CUDA_VISIBLE_DEVICES"] = ""


@pytest.fixture(params=["native", "transformers"])
def preset(request, golden, tmp_path):
    """A native preset, or a checkpoint of transformers, whose kernels are transposed views of the file."""
    import vertebra

    if request.param == "transformers":
        return golden / "transformers"
    vertebra.Backbone.from_preset(golden / "transformers").save_to_preset(tmp_path / "native")
    return tmp_path / "native"


@pytest.fixture(scope="session")
def classifier():
    """The module that a user writes around a backbone: two classes of texts, with the outputs that Trainer expects."""
    import torch

    class Classifier(torch.nn.Module):
        def __init__(self, backbone):
            super().__init__()
            self.backbone = backbone
            self.head = torch.nn.Linear(backbone.hidden_dim, 2)

        def forward(self, input_ids, attention_mask, labels=None):
            pooled = self.backbone(input_ids=input_ids, attention_mask=attention_mask)["pooled_output"]
            logits = self.head(pooled)
            loss = None if labels is None else torch.nn.functional.cross_entropy(logits, labels)
            return {"loss": loss, "logits": logits}

    return Classifier


@pytest.fixture(params=["all", "lora"])
def make(request, preset, classifier):
    """Returns a function that makes a classifier around a backbone with dropout, with or without an adapter."""
    import torch

    import vertebra

    def build(seed=0):
        torch.manual_seed(seed)
        backbone = vertebra.Backbone.from_preset(preset, dropout=0.1)
        if request.param == "lora":
            backbone.enable_lora(2, ["query", "mlp"], dropout=0.1)
        return classifier(backbone)

    return build


@pytest.fixture(scope="session")
def examples():
    """Returns eight labelled rows of five token ids, as the examples of a data set."""
    import torch

    draws = torch.Generator().manual_seed(0)
    ids = torch.randint(1, 90, (8, 5), generator=draws)
    rows = zip(ids, ids[:, 0] % 2, strict=True)
    return [{"input_ids": row, "attention_mask": torch.ones_like(row), "labels": label} for row, label in rows]


@pytest.fixture(scope="session")
def logits(examples):
    """Returns what a classifier computes of the examples, without dropout."""
    import torch

    def compute(model):
        model.eval()
        batch = {name: torch.stack([example[name] for example in examples]) for name in examples[0]}
        with torch.no_grad():
            return model(**batch)["logits"]

    return compute
