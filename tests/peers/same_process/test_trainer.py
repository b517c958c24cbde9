"""transformers' Trainer: trains, saves checkpoints, resumes from one, and loads the best one at the end."""

import pytest
import safetensors.torch
import torch

pytestmark = pytest.mark.keras


@pytest.fixture
def trainer(examples, tmp_path):
    from transformers import Trainer, TrainingArguments

    def start(model, steps=4, **arguments):
        settings = TrainingArguments(
            output_dir=str(tmp_path / "run"),
            max_steps=steps,
            per_device_train_batch_size=4,
            learning_rate=0.01,
            save_steps=2,
            logging_steps=1,
            report_to=[],
            disable_tqdm=True,
            use_cpu=True,
            **arguments,
        )
        return Trainer(model, settings, train_dataset=examples, eval_dataset=examples)

    return start


def test_a_run_is_saved_and_resumed(make, trainer, logits, tmp_path):
    model = make()
    start = logits(model)
    trainer(model).train()
    trained = logits(model)
    assert not torch.allclose(trained, start)

    saved = safetensors.torch.load_file(tmp_path / "run/checkpoint-4/model.safetensors")
    assert saved.keys() == model.state_dict().keys()
    resumed = make(seed=1)
    trainer(resumed).train(resume_from_checkpoint=str(tmp_path / "run/checkpoint-2"))
    assert torch.allclose(logits(resumed), trained, atol=1e-6)  # the same random numbers, dropout included


def test_the_best_checkpoint_is_loaded_at_the_end(make, trainer, logits, tmp_path):
    model = make()
    run = trainer(model, eval_strategy="steps", eval_steps=2, load_best_model_at_end=True, greater_is_better=True)
    run.train()  # the greatest loss, so that it is not the last one
    best = safetensors.torch.load_file(run.state.best_model_checkpoint + "/model.safetensors")
    assert run.state.best_global_step == 2
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, best[name])


def test_the_model_that_is_saved_fits_another_one(make, trainer, logits, tmp_path):
    model, other = make(), make(seed=1)
    run = trainer(model, steps=2)
    run.train()
    run.save_model(str(tmp_path / "final"))
    assert not torch.equal(logits(other), logits(model))
    other.load_state_dict(safetensors.torch.load_file(tmp_path / "final/model.safetensors"))
    assert torch.equal(logits(other), logits(model))
    assert run.predict(run.eval_dataset).predictions.shape == (8, 2)
    safetensors.torch.save_model(other, tmp_path / "model.safetensors")
    safetensors.torch.load_model(model, tmp_path / "model.safetensors")


def test_gradient_checkpointing_is_refused(make, trainer):
    """Trainer calls a method of transformers' models, which a module of torch lacks."""
    with pytest.raises((AttributeError, ValueError), match="gradient_checkpointing"):
        trainer(make(), gradient_checkpointing=True).train()
