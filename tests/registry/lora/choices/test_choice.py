"""Adapters for one call: a choice applies to the thread or task that makes it, and does not change the model."""

import asyncio
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import keras
import numpy as np
import pytest

import vertebra
from vertebra import lora
from vertebra._lora.state import adapters_of
from vertebra.errors import LoraConfigError, LoraStateError

pytestmark = pytest.mark.keras

CHOICES = (
    ["a", "b", None],
    ["c", "c", "a"],
    [None, None, None],
    ["b", "b", "b"],
    ["c", None, "b"],
    "a",
    "c",
    {"b": 1.0},
)


def rows_of(choice):
    return [choice] * 3 if isinstance(choice, str) else ["b"] * 3 if isinstance(choice, dict) else choice


def misses(found, outputs, choice):
    """Returns the rows that differ from the outputs of their adapters."""
    names = rows_of(choice)
    sequence = keras.ops.convert_to_numpy(found["sequence_output"])
    gaps = [np.abs(sequence[row] - outputs[name]["sequence_output"][row]).max() for row, name in enumerate(names)]
    return [(row, names[row]) for row, gap in enumerate(gaps) if not gap <= 2e-6]


@pytest.fixture
def race():
    """Runs work in threads that start together; returns the result of each round of each thread.

    Threads take turns fifty times as often as by default, so that a few rounds meet in many ways.
    """
    before = sys.getswitchinterval()
    sys.setswitchinterval(before / 50)
    yield run_at_once
    sys.setswitchinterval(before)


def run_at_once(threads, rounds, work):
    barrier = threading.Barrier(threads)

    def run(number):
        barrier.wait()
        return [work(number, turn) for turn in range(rounds)]

    with ThreadPoolExecutor(threads) as pool:
        return [found for rounds in pool.map(run, range(threads)) for found in rounds]


# === Choices ===


@pytest.mark.parametrize("choice", CHOICES, ids=str)
def test_a_call_computes_what_each_row_chose(several, inputs, choice):
    backbone, outputs = several
    assert misses(backbone(inputs, adapters=choice), outputs, choice) == []
    with backbone.lora_rows(choice):
        assert misses(backbone(inputs), outputs, choice) == []
    assert misses(backbone(inputs), outputs, "c") == []  # as before


def test_a_choice_changes_nothing_of_the_model(several, inputs, state):
    backbone, _ = several
    before = state(backbone, inputs)
    with backbone.lora_rows(["a", "b", None]):
        backbone(inputs)
    backbone(inputs, adapters="a")
    assert state(backbone, inputs) == before


def test_mixes_are_chosen_for_a_call(several, inputs, run):
    backbone, _ = several
    mix = {"a": 0.5, "c": -0.25}
    backbone.activate_lora(mix)
    mixed = run(backbone)["sequence_output"]
    backbone.activate_lora("b")
    found = keras.ops.convert_to_numpy(backbone(inputs, adapters=mix)["sequence_output"])
    assert np.abs(found - mixed).max() <= 2e-6
    found = keras.ops.convert_to_numpy(backbone(inputs, adapters=[mix, None, mix])["sequence_output"])
    assert np.abs(found[[0, 2]] - mixed[[0, 2]]).max() <= 2e-6


def test_blocks_within_blocks_choose_for_themselves(several, inputs):
    backbone, outputs = several
    with backbone.lora_rows("a"):
        with backbone.lora_rows("b"):
            assert misses(backbone(inputs), outputs, "b") == []
        assert misses(backbone(inputs), outputs, "a") == []


def test_two_models_have_choices_of_their_own(several, inputs, golden):
    backbone, outputs = several
    other = vertebra.Backbone.from_preset(golden / "transformers")
    other.enable_lora(2, name="x")
    with backbone.lora_rows("a"), other.lora_rows([None, None, None]):
        assert misses(backbone(inputs), outputs, "a") == []
        assert misses(other(inputs), outputs, [None, None, None]) == []


def test_every_strategy_can_be_chosen(plain, inputs, randomise, run):
    outputs = {None: run(plain)}
    for seed, strategy in enumerate(("lora", "rslora", "dora", "pissa", "vera", "keras", "lora_plus")):
        plain.enable_lora(2, ["query", "mlp.up", "token_embedding"], strategy=strategy, name=strategy, seed=1)
        randomise(plain, strategy, seed)
        outputs[strategy] = run(plain)
    for strategy in outputs.keys() - {None}:
        assert misses(plain(inputs, adapters=[strategy, None, strategy]), outputs, [strategy, None, strategy]) == []


def test_layers_that_share_variables_share_those_of_the_chosen_adapter(reference):
    gpt2 = reference("gpt2")
    backbone = gpt2.load()
    backbone.load_lora_weights(gpt2.folder / "peft_lora", name="theirs")
    expected = keras.ops.convert_to_numpy(backbone(gpt2.inputs))
    backbone.disable_lora()
    found = keras.ops.convert_to_numpy(backbone(gpt2.inputs, adapters="theirs"))
    assert np.abs(found - expected).max() <= 1e-6


def test_an_adapter_that_is_trained_is_chosen_as_it_is_now(several, inputs, train, run):
    backbone, outputs = several
    backbone.activate_lora("a")
    backbone(inputs, adapters="a")
    train(backbone, steps=1)
    trained = run(backbone)
    assert misses(backbone(inputs, adapters="a"), {"a": trained}, "a") == []
    backbone.activate_lora("b")
    assert misses(backbone(inputs, adapters="a"), {"a": trained}, "a") == []
    assert misses(backbone(inputs, adapters="b"), outputs, "b") == []


# === Threads and tasks ===


@pytest.mark.parametrize(("threads", "rounds"), [(2, 60), (8, 30)])
@pytest.mark.parametrize("way", ["argument", "block", "compiled"])
def test_threads_get_the_adapters_of_their_own_choice(several, inputs, race, threads, rounds, way):
    backbone, outputs = several
    compiled = vertebra.compile(backbone)

    def work(number, turn):
        choice = CHOICES[(number + turn) % len(CHOICES)]
        if way == "argument":
            found = backbone(inputs, adapters=choice)
        elif way == "compiled":
            found = compiled(inputs, adapters=choice)
        else:
            with backbone.lora_rows(choice):
                found = backbone(inputs)
        return misses(found, outputs, choice)

    assert [missed for missed in race(threads, rounds, work) if missed] == []


def test_threads_without_a_choice_compute_with_what_acts(several, inputs, race):
    backbone, outputs = several

    def work(number, turn):
        choice = CHOICES[(number + turn) % len(CHOICES)]
        found = backbone(inputs, adapters=choice) if number % 2 else backbone(inputs)
        return misses(found, outputs, choice if number % 2 else "c")

    assert [missed for missed in race(4, 20, work) if missed] == []


def test_calls_in_threads_are_right_while_adapters_are_swapped_loaded_and_merged(several, inputs, tmp_path):
    """Each call uses the weights of a single state of the model."""
    backbone, outputs = several
    backbone.save_lora_weights(tmp_path / "a.safetensors", "a")
    done = threading.Event()

    def change():
        for turn in range(12):
            backbone.activate_lora("abc"[turn % 3])
            backbone.load_lora_weights(tmp_path / "a.safetensors", f"new{turn}")
            backbone.merge_lora()
            backbone.unmerge_lora()
            backbone.unload_lora(f"new{turn}")
        done.set()

    def call(number):
        wrong = []
        while not done.is_set():
            if number % 2:
                found = keras.ops.convert_to_numpy(backbone(inputs)["sequence_output"])
                gaps = [np.abs(found - known["sequence_output"]).max() for known in outputs.values()]
                wrong += [] if min(gaps) <= 1e-5 else [min(gaps)]
            else:
                try:
                    wrong += misses(backbone(inputs, adapters="b"), outputs, "b")
                except LoraStateError as error:
                    wrong += [] if "are merged" in str(error) else [error]
        return wrong

    with ThreadPoolExecutor(5) as pool:
        calls = [pool.submit(call, number) for number in range(4)]
        pool.submit(change).result()
        assert [wrong for future in calls for wrong in future.result()] == []


def test_tasks_of_one_thread_have_choices_of_their_own(several, inputs):
    backbone, outputs = several

    async def task(name):
        wrong = []
        for _ in range(5):
            with backbone.lora_rows(name):
                await asyncio.sleep(0)
                wrong += misses(backbone(inputs), outputs, name)
        return wrong

    async def tasks():
        return await asyncio.gather(*map(task, "abcab"))

    assert [wrong for wrong in asyncio.run(tasks()) if wrong] == []


def test_a_thread_that_is_started_within_a_block_has_made_no_choice(several, inputs):
    backbone, outputs = several
    with backbone.lora_rows("a"), ThreadPoolExecutor(1) as pool:
        assert misses(pool.submit(backbone, inputs).result(), outputs, "c") == []


# === Refused choices ===


@pytest.mark.keras(once=True)
@pytest.mark.parametrize("choice", [["a", 1, None], 5, [["a"]], b"a", {"a": "1"}, object()])
def test_what_is_no_choice_is_refused(several, inputs, choice):
    backbone, _ = several
    with pytest.raises(LoraConfigError):
        backbone(inputs, adapters=choice)


@pytest.mark.keras(once=True)
def test_an_unknown_name_is_refused(several, inputs):
    backbone, _ = several
    with pytest.raises(LoraStateError, match="no adapter named 'd'"):
        backbone(inputs, adapters=["a", "d", None])


@pytest.mark.keras(once=True)
def test_without_adapters_there_is_nothing_to_choose(plain, inputs):
    with pytest.raises(LoraStateError, match="has no LoRA adapter"):
        plain(inputs, adapters=[None, None, None])


def test_base_weights_of_an_adapter_belong_to_no_call(plain, inputs, train):
    plain.enable_lora(2, name="own", bias="lora")
    plain.enable_lora(2, name="other")
    for choice in ("own", ["own", None, "other"]):
        with pytest.raises(LoraStateError, match="'own' has co-trained base weights"):
            plain(inputs, adapters=choice)
    with plain.lora_rows(["other", None, None]):
        plain.activate_lora("own")
        with pytest.raises(LoraStateError, match="'own' is active and has co-trained base weights"):
            plain(inputs)


def test_while_adapters_are_merged_none_is_chosen(several, inputs):
    backbone, _ = several
    with backbone.lora_rows(["a", "b", None]):
        backbone.merge_lora()
        with pytest.raises(LoraStateError, match="Adapters are merged"):
            backbone(inputs)
    with pytest.raises(LoraStateError, match="Adapters are merged"):
        backbone(inputs, adapters="a")


def test_a_choice_does_not_train(several, inputs):
    backbone, _ = several
    with backbone.lora_rows("a"), pytest.raises(LoraStateError, match="chosen for one call do not train"):
        backbone(inputs, training=True)


def test_a_choice_within_what_is_traced_is_refused(several, inputs, runtime):
    if runtime != "jax":
        pytest.skip("only jax traces a function of the user's")
    import jax

    backbone, _ = several
    with pytest.raises(LoraStateError, match="within a function that is being traced"):
        jax.jit(lambda x: backbone(x, adapters="a"))(inputs)


def test_a_function_of_the_users_own_that_takes_the_variables_follows_the_choice(several, inputs, runtime):
    if runtime != "jax":
        pytest.skip("only jax traces a function of the user's")
    import jax

    backbone, outputs = several

    @jax.jit
    def forward(trainable, others, x):
        return backbone.stateless_call(trainable, others, x)[0]

    for choice in CHOICES * 2:
        with backbone.lora_rows(choice):
            values = [
                [v.value for v in own] for own in (backbone.trainable_variables, backbone.non_trainable_variables)
            ]
            assert misses(forward(*values, inputs), outputs, choice) == []


def test_symbolic_calls_choose_nothing(several):
    backbone, _ = several
    with pytest.raises(LoraStateError, match="symbolic"):
        backbone(backbone.input, adapters="a")


# === Other models ===


def test_any_model_has_choices(run, randomise):
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(8, name="up"), keras.layers.Dense(3, name="down")])
    x = np.random.default_rng(0).normal(size=(2, 4)).astype("float32")
    base = run(model, x)
    lora.enable(model, 2, ["up"], name="x")
    randomise(model, "x", 1)
    adapted = run(model, x)
    lora.disable(model)
    with lora.rows(model, ["x", None]):
        found = run(model, x)
    assert np.allclose(found[0], adapted[0], atol=1e-6)
    assert np.allclose(found[1], base[1], atol=1e-6)
    assert not np.allclose(adapted, base, atol=1e-2)


def test_variables_of_a_choice_are_shown_in_its_own_thread_alone(several):
    backbone, _ = several
    names = {id(variable) for variable in backbone.variables}
    with backbone.lora_rows(["a", "b", None]):
        chosen = lora.chosen_variables(backbone)
        assert {id(variable) for variable in chosen} <= {id(variable) for variable in backbone.variables}
        with ThreadPoolExecutor(1) as pool:
            assert {id(v) for v in pool.submit(lambda: backbone.variables).result()} == names
    assert lora.chosen_variables(backbone) == []
    assert adapters_of(backbone).active == ("c",)
