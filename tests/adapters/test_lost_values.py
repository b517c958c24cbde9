"""A model has its values after an exception within Keras's loops, which keep them out of the variables on JAX."""

import keras
import numpy as np
import pytest

pytestmark = pytest.mark.keras


class Failing(keras.utils.PyDataset):
    """Batches of inputs and labels, of which a later one fails."""

    def __init__(self, inputs, outputs, at):
        super().__init__()
        self.inputs, self.outputs, self.at = inputs, outputs, at

    def __len__(self):
        return 4

    def __getitem__(self, index):
        if index == self.at:
            raise OSError("the data is gone")
        return self.inputs, self.outputs


@pytest.fixture
def failing(still, inputs):
    """Returns batches for a backbone, of which one fails."""
    outputs = {name: np.zeros(value.shape, "float32") for name, value in still(inputs).items()}
    return lambda at: Failing(inputs, outputs, at)


@pytest.fixture
def still(arguments):
    """A backbone whose optimizer is new."""
    import vertebra

    backbone = vertebra.models.BertBackbone(**arguments)
    backbone.compile("adam", "mse")
    return backbone


@pytest.mark.parametrize("at", [0, 1, 2])
@pytest.mark.parametrize("method", ["fit", "evaluate", "predict"])
def test_a_batch_that_fails_costs_no_values(still, failing, values, method, at):
    before = values(still)
    loop = getattr(still, method)
    options = {"shuffle": False} if method == "fit" else {}
    with pytest.raises(OSError, match="the data is gone"):
        loop(failing(at), verbose=0, **options)
    after = values(still)
    if method != "fit" or at == 0:
        assert all(np.array_equal(before[name], after[name]) for name in before)
    assert all(np.isfinite(value).all() for value in after.values())
    still.fit(failing(None), verbose=0)  # trains on, with its optimizer


def test_labels_of_a_wrong_shape_cost_no_values(still, inputs, values):
    before = values(still)
    with pytest.raises(Exception):  # noqa: B017 (each backend raises an error of its own)
        still.fit(inputs, {"pooled_output": np.zeros((99, 3))}, verbose=0)
    after = values(still)
    assert all(np.array_equal(before[name], after[name]) for name in before)


def test_predictions_build_no_optimizer(still, failing):
    """Its variables take twice the memory of the weights; Keras itself builds it in `evaluate`."""
    still.predict(failing(None), verbose=0)
    assert not still.optimizer.built
