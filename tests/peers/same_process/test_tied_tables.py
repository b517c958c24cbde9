"""Language models whose table is also the output projection: one weight, which torch's tools save once."""

import pytest
import safetensors.torch
import torch

import vertebra

pytestmark = pytest.mark.keras


@pytest.fixture
def make(golden):
    """Returns a function that makes a language model around GPT-2, with dropout, and with an adapter of the table."""

    class LanguageModel(torch.nn.Module):
        def __init__(self, adapted):
            super().__init__()
            self.backbone = vertebra.Backbone.from_preset(golden.parent / "gpt2" / "transformers", dropout=0.1)
            if adapted:
                self.backbone.enable_lora(2, ["token_embedding", "query"])

        def forward(self, input_ids, labels=None):
            logits = self.backbone.token_embedding(self.backbone(token_ids=input_ids), reverse=True)
            loss = None
            if labels is not None:
                loss = torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten())
            return {"loss": loss, "logits": logits}

    return LanguageModel


@pytest.mark.parametrize("adapted", [False, True])
def test_trainer_saves_and_resumes_a_language_model(make, adapted, tmp_path):
    from transformers import Trainer, TrainingArguments

    ids = torch.randint(1, 60, (8, 6), generator=torch.Generator().manual_seed(0))
    rows = [{"input_ids": row, "labels": row} for row in ids]

    def run(model, **resume):
        settings = TrainingArguments(
            str(tmp_path), max_steps=4, save_steps=2, learning_rate=0.01, report_to=[], disable_tqdm=True, use_cpu=True
        )
        Trainer(model, settings, train_dataset=rows).train(**resume)
        with torch.no_grad():
            return model.eval()(ids)["logits"]

    model = make(adapted)
    start = model.eval()(ids)["logits"].detach()
    trained = run(model)
    assert not torch.allclose(trained, start)
    resumed = make(adapted)
    assert torch.allclose(run(resumed, resume_from_checkpoint=str(tmp_path / "checkpoint-2")), trained, atol=1e-6)

    states = model.state_dict()
    assert len({tensor.data_ptr() for tensor in states.values()}) == len(states)
    safetensors.torch.save_file(states, tmp_path / "states.safetensors")
    torch.save(states, tmp_path / "states.pt")
    for load in (safetensors.torch.load_file, torch.load):
        other = make(adapted)
        other.load_state_dict(load(tmp_path / f"states.{'pt' if load is torch.load else 'safetensors'}"))
        assert torch.equal(other.eval()(ids)["logits"], trained)
