"""LoRA+: optimisers move `b` by `ratio` times the step of `a`."""

import keras
import numpy as np
import pytest

import vertebra

pytestmark = pytest.mark.keras


@pytest.fixture
def adapted(single, adapter_layer):
    """Returns a dense layer with an adapter whose matrices both have gradients, its inputs, and its adapter layer."""

    def build(strategy="lora_plus", **options):
        model, inputs = single("dense")
        vertebra.lora.enable(model, 2, ["target"], strategy=strategy, bias="lora", seed=0, **options)
        own = adapter_layer(model)
        own.b.assign(np.random.default_rng(0).normal(size=own.b.shape))
        return model, inputs, own

    return build


def steps(model, inputs, own, optimizer, epochs=1, **settings):
    """Trains; returns the largest change of `a`, `b` and the layer's bias."""
    variables = {"a": own.a, "b": own.b, "bias": model.get_layer("target").bias}
    before = {name: variable.numpy().copy() for name, variable in variables.items()}
    model.compile(optimizer, "mse", **settings)
    model.fit(inputs, np.zeros((*inputs.shape[:-1], 5)), epochs=epochs, shuffle=False, verbose=0)
    return {name: np.abs(variable.numpy() - before[name]).max() for name, variable in variables.items()}


@pytest.mark.parametrize("eager", [True, False])
def test_b_moves_sixteen_times_as_far_as_a_at_the_first_step(eager, adapted):
    """Adam's first step has the length of the learning rate, whatever the gradient."""
    model, inputs, own = adapted()
    optimizer = vertebra.lora.learning_rates(model, keras.optimizers.Adam(1e-3, epsilon=1e-12))
    moved = steps(model, inputs, own, optimizer, run_eagerly=eager)
    assert moved == pytest.approx({"a": 1e-3, "b": 16e-3, "bias": 1e-3}, rel=1e-3)


def test_the_ratio_is_an_option(adapted):
    model, inputs, own = adapted(ratio=4)
    optimizer = vertebra.lora.learning_rates(model, keras.optimizers.Adam(1e-3, epsilon=1e-12))
    moved = steps(model, inputs, own, optimizer, run_eagerly=True)
    assert moved["b"] == pytest.approx(4 * moved["a"], rel=1e-3)


@pytest.mark.parametrize("optimizer", ["SGD", "AdamW"])
def test_a_ratio_of_one_trains_as_plain_lora_does(optimizer, adapted):
    """Momentum, decay and the count of steps are those of one optimiser."""
    results = []
    for strategy, options in (("lora", {}), ("lora_plus", {"ratio": 1.0})):
        model, inputs, own = adapted(strategy, **options)
        made = getattr(keras.optimizers, optimizer)(1e-2, weight_decay=0.1)
        steps(model, inputs, own, vertebra.lora.learning_rates(model, made), epochs=3, run_eagerly=True)
        results.append([own.a.numpy(), own.b.numpy(), int(made.iterations)])
    (a, b, count), (a_plus, b_plus, count_plus) = results
    assert count == count_plus == 3
    assert np.array_equal(a, a_plus)
    assert np.array_equal(b, b_plus)


def test_a_schedule_of_rates_is_followed(adapted):
    model, inputs, own = adapted()
    schedule = keras.optimizers.schedules.PiecewiseConstantDecay([1], [1e-3, 0.0])
    optimizer = vertebra.lora.learning_rates(model, keras.optimizers.Adam(schedule, epsilon=1e-12))
    first = steps(model, inputs, own, optimizer, run_eagerly=True)
    assert first["b"] == pytest.approx(16 * first["a"], rel=1e-3)
    steps(model, inputs, own, optimizer, run_eagerly=True)
    assert steps(model, inputs, own, optimizer, run_eagerly=True) == {"a": 0, "b": 0, "bias": 0}


def test_groups_name_the_rate_of_each_variable(adapted):
    model, _, own = adapted()
    groups = vertebra.lora.parameter_groups(model, 1e-3)
    shapes = {group["lr"]: sorted(tuple(value.shape) for value in group["params"]) for group in groups}
    assert shapes == {1e-3: [(5,), tuple(own.a.shape)], 16e-3: [tuple(own.b.shape)]}


def test_an_optimiser_of_torch_takes_the_groups(adapted, runtime):
    if runtime != "torch":
        pytest.skip("variables of other backends hold no parameters of torch")
    import torch

    model, inputs, own = adapted()
    before = own.a.numpy().copy(), own.b.numpy().copy()
    optimizer = torch.optim.SGD(vertebra.lora.parameter_groups(model, 1e-2))
    model(inputs, training=True).square().mean().backward()
    gradients = [variable.value.grad.numpy() for variable in (own.a, own.b)]
    optimizer.step()
    np.testing.assert_allclose(before[0] - own.a.numpy(), 0.01 * gradients[0], atol=1e-7)
    np.testing.assert_allclose(before[1] - own.b.numpy(), 0.16 * gradients[1], atol=1e-6)


def test_other_strategies_have_one_rate(single):
    model, _ = single("dense")
    vertebra.lora.enable(model, 2, ["target"])
    (group,) = vertebra.lora.parameter_groups(model, 1e-3)
    assert group["lr"] == 1e-3
