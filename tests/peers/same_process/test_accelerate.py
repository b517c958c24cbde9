"""accelerate: `prepare`, `save_state`, and `load_state` into other objects."""

import pytest
import torch

accelerate = pytest.importorskip("accelerate", reason="only the environment of `make peers` has it")
pytestmark = pytest.mark.keras


@pytest.fixture
def prepared():
    """Returns a function that prepares a model and its optimiser, as at the start of a program."""

    def start(model, **arguments):
        accelerate.state.AcceleratorState._reset_state(reset_partial_state=True)
        accelerator = accelerate.Accelerator(cpu=True, **arguments)
        trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
        return accelerator, *accelerator.prepare(model, torch.optim.AdamW(trained, 0.01))

    yield start
    accelerate.state.AcceleratorState._reset_state(reset_partial_state=True)


def steps(accelerator, model, optimizer, examples, count=2):
    model.train()
    batch = {name: torch.stack([example[name] for example in examples]) for name in examples[0]}
    for _ in range(count):
        accelerator.backward(model(**batch)["loss"])
        accelerator.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()


def test_a_state_is_loaded_into_other_objects(make, prepared, examples, logits, tmp_path):
    accelerator, model, optimizer = prepared(make())
    steps(accelerator, model, optimizer, examples)
    accelerator.save_state(str(tmp_path / "state"))
    saved = logits(model)
    steps(accelerator, model, optimizer, examples)
    trained = logits(model)
    assert not torch.allclose(trained, saved)

    accelerator, model, optimizer = prepared(make(seed=1))
    assert not torch.allclose(logits(model), saved)
    accelerator.load_state(str(tmp_path / "state"))
    assert torch.equal(logits(model), saved)
    steps(accelerator, model, optimizer, examples)
    assert torch.allclose(logits(model), trained, atol=1e-6)


def test_a_model_is_saved_and_unwrapped(make, prepared, examples, logits, tmp_path):
    accelerator, model, _ = prepared(make())
    accelerator.save_model(model, str(tmp_path / "model"), max_shard_size="20KB")
    assert len(list((tmp_path / "model").glob("*.safetensors"))) > 1
    other = make(seed=1)
    accelerate.load_checkpoint_in_model(other, str(tmp_path / "model"))
    assert torch.equal(logits(other), logits(model))
    assert accelerator.unwrap_model(model).backbone.lora_adapters.keys() == other.backbone.lora_adapters.keys()


def test_bfloat16_computes_and_trains(make, prepared, examples, logits):
    accelerator, model, optimizer = prepared(make(), mixed_precision="bf16")
    start = logits(model)
    steps(accelerator, model, optimizer, examples)
    assert not torch.allclose(logits(model), start)
