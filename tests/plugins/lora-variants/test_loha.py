"""LoHa: compared with the paper's formula in numpy, in both ways of computing; its dropout is that of PEFT."""

import keras
import numpy as np
import pytest

import vertebra

pytestmark = pytest.mark.keras


@pytest.mark.parametrize("rank", [1, 2, 4])
def test_it_computes_the_papers_formula(rank, single, adapter_layer, call, disturb):
    """Up to rank 1, the factors of rank² are cheaper here; above, the kernel."""
    model, inputs = single("dense", activation=None)
    before, _ = call(model, inputs)
    vertebra.lora.enable(model, rank, ["target"], alpha=3, strategy="loha", seed=1)
    disturb(model)
    w1_a, w1_b, w2_a, w2_b = (getattr(adapter_layer(model), f"w{i}_{side}").numpy() for i in (1, 2) for side in "ab")
    kernel = 3 / rank * (w1_b @ w1_a) * (w2_b @ w2_a)
    assert np.linalg.matrix_rank(kernel, 1e-6) <= rank**2
    np.testing.assert_allclose(call(model, inputs)[0], before + inputs @ kernel, atol=1e-5)


def test_the_factors_are_the_same_change(single, adapter_layer, disturb):
    model, _ = single("dense")
    vertebra.lora.enable(model, 2, ["target"], strategy="loha")
    disturb(model)
    own = adapter_layer(model)
    a, b = (keras.ops.convert_to_numpy(factor) for factor in own.strategy.factors(own, own.view))
    assert a.shape == (8, 4)
    np.testing.assert_allclose(a @ b, keras.ops.convert_to_numpy(own.strategy.kernel_delta(own, own.view)), atol=1e-6)


@pytest.mark.parametrize("strategy", ["loha", "lokr"])
@pytest.mark.parametrize("scaled", [False, True])
def test_rank_dropout_drops_outputs_of_the_change_while_training(strategy, scaled, single, call, disturb):
    options = {"rank_dropout_scale": scaled} if strategy == "lokr" else {}
    model, inputs = single("dense", activation=None)
    before, _ = call(model, inputs)
    vertebra.lora.enable(model, 2, ["target"], strategy=strategy, seed=1, rank_dropout=0.5, **options)
    disturb(model)
    change = call(model, inputs)[0] - before
    ratios = set()
    for _ in range(8):
        outputs = keras.ops.convert_to_numpy(model(inputs, training=True)) - before
        ratio = (outputs / change).reshape(-1, 5)
        np.testing.assert_allclose(ratio, ratio[:1].repeat(len(ratio), axis=0), atol=1e-2)  # the same for all rows
        ratios |= set(np.round(ratio[0], 2))
    assert 0 in np.abs(list(ratios))
    full = max(ratios)
    assert full == 1 if (strategy, scaled) == ("lokr", False) else full > 1


def test_module_dropout_drops_all_or_nothing(single, call, disturb):
    model, inputs = single("dense", activation=None)
    before, _ = call(model, inputs)
    vertebra.lora.enable(model, 2, ["target"], strategy="loha", seed=1, module_dropout=0.5)
    disturb(model)
    adapted, _ = call(model, inputs)
    seen = set()
    for _ in range(12):
        outputs = keras.ops.convert_to_numpy(model(inputs, training=True))
        assert np.allclose(outputs, before, atol=1e-5) or np.allclose(outputs, adapted, atol=1e-5)
        seen.add(bool(np.allclose(outputs, before, atol=1e-5)))
    assert seen == {True, False}


def test_a_loaded_adapter_drops_as_the_saved_one(single, disturb, tmp_path):
    model, inputs = single("dense", activation=None)
    vertebra.lora.enable(model, 2, ["target"], strategy="loha", rank_dropout=0.5)
    disturb(model)
    vertebra.lora.save(model, tmp_path / "adapter.safetensors")
    fresh, _ = single("dense", activation=None)
    vertebra.lora.load(fresh, tmp_path / "adapter.safetensors")
    assert not np.allclose(
        keras.ops.convert_to_numpy(fresh(inputs, training=True)), keras.ops.convert_to_numpy(fresh(inputs))
    )
