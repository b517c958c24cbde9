"""Lightning: fits a module, saves checkpoints, loads one into another object, and goes on from it."""

import pytest
import torch

lightning = pytest.importorskip("lightning", reason="only the environment of `make peers` has it")
pytestmark = pytest.mark.keras


@pytest.fixture
def module(make):
    """A LightningModule, which makes its model, as `load_from_checkpoint` requires."""

    class Module(lightning.LightningModule):
        def __init__(self, seed=0):
            super().__init__()
            self.save_hyperparameters()
            self.model = make(seed)

        def training_step(self, batch):
            loss = self.model(**batch)["loss"]
            self.log("loss", loss, on_epoch=True)
            return loss

        def configure_optimizers(self):
            return torch.optim.AdamW([weight for weight in self.parameters() if weight.requires_grad], 0.01)

    return Module


@pytest.fixture
def fit(examples, tmp_path):
    def run(module, epochs, **arguments):
        keep = lightning.pytorch.callbacks.ModelCheckpoint(tmp_path / "kept", "best", monitor="loss", save_last=True)
        trainer = lightning.Trainer(
            max_epochs=epochs,
            accelerator="cpu",
            logger=False,
            callbacks=[keep],
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        trainer.fit(module, torch.utils.data.DataLoader(examples, 4), **arguments)
        return trainer

    return run


def test_a_checkpoint_is_loaded_into_another_object(module, fit, logits, tmp_path):
    one = module()
    start = logits(one.model)
    fit(one, 2)
    assert not torch.allclose(logits(one.model), start)
    two = module.load_from_checkpoint(tmp_path / "kept/last.ckpt", seed=1)
    assert torch.equal(logits(two.model), logits(one.model))


def test_training_goes_on_from_a_checkpoint(module, fit, logits, tmp_path):
    one = module()
    fit(one, 1)
    two = module(seed=1)
    trainer = fit(two, 2, ckpt_path=tmp_path / "kept/last.ckpt", weights_only=False)
    assert trainer.global_step == 4
    assert not torch.allclose(logits(two.model), logits(one.model))
