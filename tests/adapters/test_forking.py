"""JAX in a forked process: an error says what to do, where a computation would wait for ever."""

import multiprocessing
import warnings

import numpy as np
import pytest

import vertebra

pytestmark = pytest.mark.keras


@pytest.fixture(autouse=True)
def only_where_threads_are_needed(runtime):
    if runtime != "jax":
        pytest.skip("only JAX's threads are waited for without an end")


@pytest.fixture
def forked():
    """Runs a function in a forked process; returns the type and text of the error that it raises."""

    def call(function):
        results = multiprocessing.get_context("fork").SimpleQueue()

        def target():
            try:
                results.put(("", str(function())))
            except BaseException as error:
                results.put((type(error).__name__, str(error)))

        process = multiprocessing.get_context("fork").Process(target=target)
        with warnings.catch_warnings(action="ignore"):  # JAX warns of the fork
            process.start()
        process.join(60)
        if process.is_alive():
            process.kill()
            return "", "it waits"
        return results.get()

    return call


def test_using_a_backbone_says_what_to_do(backbone, golden, inputs, forked):
    compiled = vertebra.compile(backbone)
    targets = {name: np.zeros(value.shape) for name, value in backbone(inputs).items()}

    def fit():
        backbone.compile("sgd", "mse")
        backbone.fit(inputs, targets)

    uses = {
        "call": lambda: backbone(inputs),
        "compiled": lambda: compiled(inputs),
        "predict": lambda: backbone.predict(inputs),
        "fit": fit,
        "load": lambda: vertebra.Backbone.from_preset(golden / "transformers"),
        "adapt": lambda: backbone.enable_lora(2),
    }
    for name, use in uses.items():
        kind, text = forked(use)
        assert kind == "ForkedProcessError", (name, text)
        assert 'multiprocessing.get_context("spawn") or "forkserver"' in text


def test_using_a_model_around_a_backbone_says_what_to_do(backbone, inputs, forked):
    import keras

    around = keras.Model(backbone.inputs, keras.layers.Dense(2)(backbone(backbone.input)["pooled_output"]))
    extended = keras.Model(backbone.inputs, keras.layers.Dense(2)(backbone.output["pooled_output"]))
    targets = np.zeros((len(inputs["token_ids"]), 2))
    for model in (around, extended):
        model.compile("sgd", "mse")
        model.predict(inputs, verbose=0)
        model.fit(inputs, targets, verbose=0)
        uses = {
            "call": lambda model=model: model(inputs),
            "predict": lambda model=model: model.predict(inputs, verbose=0),
            "predict_on_batch": lambda model=model: model.predict_on_batch(inputs),
            "fit": lambda model=model: model.fit(inputs, targets, verbose=0),
            "train_on_batch": lambda model=model: model.train_on_batch(inputs, targets),
            "evaluate": lambda model=model: model.evaluate(inputs, targets, verbose=0),
        }
        for name, use in uses.items():
            kind, text = forked(use)
            assert kind == "ForkedProcessError", (name, text)
        assert np.isfinite(model.predict(inputs, verbose=0)).all()  # this process is not affected


def test_a_forked_process_that_uses_no_backbone_is_not_hurt(backbone, run, forked):
    before = run(backbone)["pooled_output"]
    assert forked(lambda: sum(range(5))) == ("", "10")
    assert np.array_equal(run(backbone)["pooled_output"], before)


def test_a_layer_without_weights_may_be_used(backbone, forked):
    import keras

    class Split(keras.layers.Layer):
        def call(self, *, text):
            return text.split()

    assert forked(lambda: Split()(text="two words")) == ("", "['two', 'words']")


def test_a_process_that_was_forked_before_the_first_use_may_use_it(child, golden):
    code = """
import os, sys, vertebra
vertebra.use()
if os.fork() == 0:
    print(vertebra.Backbone.from_preset(sys.argv[1]).count_params(), flush=True)
    os._exit(0)
os.wait()
"""
    assert int(child(code, golden / "transformers")) > 0


def test_the_error_is_a_runtime_error():
    assert issubclass(vertebra.errors.ForkedProcessError, RuntimeError)
