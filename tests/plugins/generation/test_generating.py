"""`generate`: prompts in each form, prompts computed once, adapters, streams, precisions, and errors."""

import threading

import numpy as np
import pytest

from byte_tokenizer import SIZE, TEXTS
from vertebra.errors import ArgumentError, LoraStateError
from vertebra_generation.decoding.session import Session
from vertebra_text import TextError

from .conftest import LONGEST
from .decoding.conftest import PROMPTS, SAMPLING, answers, assert_greedy, decoder, shared, tokens, with_adapters  # noqa: F401

pytestmark = pytest.mark.keras


# === Prompts ===


@pytest.mark.parametrize("side", ["left", "right"])
def test_padding_of_arrays_may_be_on_either_side(side, shared):  # noqa: F811
    model, width = shared("mistral"), 15
    rows = [[0] * (width - len(ids)) + ids if side == "left" else ids + [0] * (width - len(ids)) for ids in PROMPTS]
    mask = [[int(index >= width - len(ids)) if side == "left" else int(index < len(ids)) for index in range(width)]
            for ids in PROMPTS]  # fmt: skip
    found = model.generate(
        {"token_ids": np.array(rows), "padding_mask": np.array(mask)}, max_new_tokens=12, stop_token_ids=None
    )
    expected = tokens(model)
    for row, (prompt, answer) in enumerate(zip(PROMPTS, expected, strict=True)):
        count = int(found["padding_mask"][row].sum())
        assert found["token_ids"][row, :count].tolist() == prompt + answer
        assert not found["token_ids"][row, count:].any()
    alone = model.generate(
        {"token_ids": np.array(rows[1]), "padding_mask": np.array(mask[1])}, max_new_tokens=12, stop_token_ids=None
    )
    assert alone["token_ids"].tolist() == PROMPTS[1] + expected[1]


@pytest.mark.keras(once=True)
def test_answers_have_the_form_of_their_prompts(make):
    lm = make()
    texts = lm.generate(TEXTS, max_new_tokens=4)
    assert [text.startswith(prompt) for text, prompt in zip(texts, TEXTS, strict=True)] == [True] * 3
    assert lm.generate(TEXTS[0], max_new_tokens=4) == texts[0]
    stripped = lm.generate(TEXTS, max_new_tokens=4, strip_prompt=True)
    assert [prompt + text for prompt, text in zip(TEXTS, stripped, strict=True)] == texts
    ids = [lm.tokenizer.tokenize(text) for text in TEXTS]
    by_ids = lm.generate(ids, max_new_tokens=4)
    assert [row[: len(prompt)] for row, prompt in zip(by_ids, ids, strict=True)] == ids
    assert lm.generate(np.array(ids[1]), max_new_tokens=4) == by_ids[1]
    assert lm.generate([], max_new_tokens=4) == []
    several = lm.generate(TEXTS[0], max_new_tokens=4, n=2, do_sample=True, seed=1)
    assert len(several) == 2
    assert all(isinstance(answer, str) for answer in several)


@pytest.mark.keras(once=True)
def test_an_empty_prompt_is_the_start_token(make):
    lm = make()
    found = lm.generate("", max_new_tokens=4, details=True)
    assert found.token_ids == lm.generate([lm.tokenizer.start_token_id], max_new_tokens=4, strip_prompt=True)


# === Ends ===


@pytest.mark.keras(once=True)
def test_each_reason_to_end(make):
    lm = make()
    whole = lm.generate(TEXTS[0], max_new_tokens=8, stop_token_ids=None, details=True)
    assert (whole.finish_reason, len(whole.token_ids)) == ("length", 8)
    stop = whole.token_ids[4]
    stopped = lm.generate(TEXTS[0], max_new_tokens=8, stop_token_ids=[stop], details=True)
    assert stopped.token_ids == whole.token_ids[: whole.token_ids.index(stop) + 1]
    assert stopped.finish_reason == "stop_token"
    by_string = {"max_new_tokens": 8, "stop_token_ids": None, "stop_strings": [whole.text[2:4]], "details": True}
    found = lm.generate(TEXTS[0], **by_string)
    assert (found.finish_reason, found.text) == ("stop_string", whole.text[: whole.text.find(whole.text[2:4])])
    assert len(found.token_ids) < 8
    full = lm.generate(TEXTS[0], max_new_tokens=500, stop_token_ids=None, details=True)
    assert full.finish_reason == "context"
    assert len(full.token_ids) == LONGEST - len(lm.tokenizer.tokenize(TEXTS[0])) + 1
    longest = [5] * LONGEST
    assert len(lm.generate(longest, max_new_tokens=5, stop_token_ids=None, strip_prompt=True)) == 1


@pytest.mark.keras(once=True)
def test_pieces_are_together_the_answer(make):
    lm = make()
    whole = lm.generate(TEXTS, max_new_tokens=9, details=True, stop_token_ids=None)
    pieces = list(lm.generate_stream(TEXTS, max_new_tokens=9, stop_token_ids=None))
    for number, answer in enumerate(whole):
        own = [piece for piece in pieces if piece.prompt == number]
        assert "".join(piece.text for piece in own) == answer.text
        assert [piece.token_id for piece in own] == answer.token_ids
        assert [piece.finish_reason for piece in own] == [None] * 8 + ["length"]


@pytest.mark.keras(once=True)
def test_tokens_that_the_tokenizer_lacks_have_no_text(make):
    """The tables of many models have more rows than their tokenizers have tokens."""
    lm = make(vocabulary_size=SIZE + 50)
    bad_words = [[token] for token in range(SIZE)]
    found = lm.generate(TEXTS[0], max_new_tokens=4, bad_words=bad_words, details=True, stop_token_ids=None)
    assert min(found.token_ids) >= SIZE
    assert found.text == ""


# === Prompts that are computed once ===


@pytest.mark.parametrize("name", ["gpt2", "mistral"])
def test_what_prompts_begin_with_is_computed_once(name, shared):  # noqa: F811
    """For one row and several, for more tokens than its cache has slots, again and again."""
    model, before = shared(name), PROMPTS[2]
    whole = tokens(model, [before + prompt for prompt in PROMPTS], max_new_tokens=60)
    cached = model.cache_prompt(before)
    for rows in (slice(0, 5), slice(1, 2), slice(0, 2)):
        assert tokens(model, PROMPTS[rows], cached_prompt=cached, max_new_tokens=60) == whole[rows]
    assert model.generate(PROMPTS[1], cached_prompt=cached, max_new_tokens=60, stop_token_ids=None) == (
        before + PROMPTS[1] + whole[1]
    )


def test_other_methods_go_on_after_a_cached_prompt(shared):  # noqa: F811
    model, before = shared("mistral"), PROMPTS[2]
    cached, prompts = model.cache_prompt(before), PROMPTS[:2]
    whole = [before + prompt for prompt in prompts]
    for options in ({"num_beams": 3}, SAMPLING):
        assert tokens(model, prompts, cached_prompt=cached, **options) == tokens(model, whole, **options)


def test_a_cached_prompt_has_its_adapter(decoder):  # noqa: F811
    model = with_adapters(decoder("mistral"), "one")
    whole = tokens(model, [PROMPTS[2] + PROMPTS[0]], adapters="one")
    cached = model.cache_prompt(PROMPTS[2], adapter="one")
    assert tokens(model, [PROMPTS[0]], cached_prompt=cached) == whole
    assert whole != tokens(model, [PROMPTS[2] + PROMPTS[0]])
    with pytest.raises(ArgumentError, match="adapters='one', expected None with cached_prompt"):
        tokens(model, [PROMPTS[0]], cached_prompt=cached, adapters="one")


# === Adapters ===


def test_each_row_may_have_an_adapter(decoder):  # noqa: F811
    model, names = with_adapters(decoder("gemma3"), "one", "two"), ["one", "two", None, "two", "one"]
    mixed = tokens(model, adapters=names)
    alone = {}
    for name in ("one", "two"):
        model.activate_lora(name)
        alone[name] = tokens(model)
        assert_greedy(model, PROMPTS, alone[name])
    model.disable_lora()
    alone[None] = tokens(model)
    assert mixed == [alone[name][row] for row, name in enumerate(names)]
    assert alone["one"] != alone["two"] != alone[None]
    assert tokens(model, adapters="two") == alone["two"]
    model.activate_lora("one")
    model.merge_lora()
    assert tokens(model) == alone["one"]


def test_to_swap_adapters_compiles_nothing_anew(decoder, traces):  # noqa: F811
    model = with_adapters(decoder("gpt2"), "one", "two", "three", "four")

    def generate(*names):
        return tokens(model, PROMPTS[:2], adapters=list(names), max_new_tokens=4)

    for _ in range(4):  # torch traces after the third call; the table of adapters gets as large as for four
        generate("three", "three")
        mixed, single = generate("one", "two"), generate("one", "one")
    before = len(traces)
    assert before
    assert [generate(name, name)[0] for name in ("one", "two")] == [single[0], generate("two", "one")[0]]
    assert [generate("four", "four")[0], mixed[1]] == [generate("four", "one")[0], generate("four", "two")[1]]
    assert len(traces) == before


@pytest.fixture
def traces(runtime, monkeypatch):
    """The steps that are traced: a list that grows."""
    found = []
    if runtime == "torch":
        from vertebra_torch.graphs import tracing

        trace = tracing.trace
        monkeypatch.setattr(tracing, "trace", lambda *args, **kwargs: found.append(1) or trace(*args, **kwargs))
    else:
        from vertebra_generation.decoding import steps

        step = steps._step

        def counted(*arguments):
            inner = step(*arguments)
            return lambda *tensors: found.append(1) or inner(*tensors)

        monkeypatch.setattr(steps, "_step", counted)
    return found


# === Steps ===


def test_compiled_steps_choose_the_tokens_of_the_first_ones(decoder):  # noqa: F811
    """On torch, the first steps are not compiled; with many tokens for several rows, weights are packed."""
    model = decoder("gemma3")
    first = tokens(model, max_new_tokens=2)
    for most in (40, 70):
        found = tokens(model, max_new_tokens=most)
        assert [row[:2] for row in found] == first
        assert_greedy(model, PROMPTS, found)


def test_training_between_two_calls_is_seen(decoder):  # noqa: F811
    model = decoder("gpt2")
    before = tokens(model, max_new_tokens=70)
    draws = np.random.default_rng(3)
    for variable in model.trainable_variables:
        variable.assign(variable.numpy() + 0.1 * draws.normal(size=variable.shape))
    after = tokens(model, max_new_tokens=70)
    assert after != before
    assert_greedy(model, PROMPTS, after)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_answers_in_less_precision(dtype, decoder):  # noqa: F811
    model = decoder("gemma3", dtype=dtype)
    assert_greedy(model, PROMPTS, tokens(model, max_new_tokens=8), tolerance=0.3)
    assert [answer.finish_reason for answer in answers(model, num_beams=2)] == ["length"] * 5


@pytest.mark.filterwarnings("ignore:Layer .* does not have a `quantize` method")
def test_quantized_weights_generate(decoder):  # noqa: F811
    model = decoder("mistral")
    model.backbone.quantize("int8")
    assert_greedy(model, PROMPTS, tokens(model, max_new_tokens=8), tolerance=0.05)


def test_two_threads_generate_with_one_model(decoder):  # noqa: F811
    model, found = decoder("mistral"), {}
    expected = [tokens(model, [prompt], max_new_tokens=20) for prompt in PROMPTS]

    def generate(number):
        for turn in range(4):
            found[number, turn] = tokens(model, [PROMPTS[number]], max_new_tokens=20)

    threads = [threading.Thread(target=generate, args=[number]) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {(number, turn): expected[number] for number in range(2) for turn in range(4)}


def test_an_interrupted_call_leaves_the_model_usable(decoder, monkeypatch):  # noqa: F811
    """Also one with adapters for rows, and a stream that is not read to its end."""
    model = with_adapters(decoder("gpt2"), "one", "two")
    expected = tokens(model)
    step = Session._step

    def interrupted(session, *args, **kwargs):
        if session._slot > 15:
            raise KeyboardInterrupt
        return step(session, *args, **kwargs)

    with monkeypatch.context() as patched:
        patched.setattr(Session, "_step", interrupted)
        for adapters in (None, ["one", "two", "one", None, None]):
            with pytest.raises(KeyboardInterrupt):
                tokens(model, adapters=adapters)
    stream = model.generate_stream(PROMPTS, max_new_tokens=12, adapters="one")
    next(stream)
    assert tokens(model) == expected
    stream.close()
    assert tokens(model) == expected


# === Errors ===


@pytest.mark.keras(once=True)
def test_inputs_that_are_no_prompts_are_named(make, shared):  # noqa: F811
    lm = make()
    for inputs, error, words in [
        (3, ArgumentError, "inputs=3, expected a text, a chat, token ids"),
        (["a", 3], TextError, r"inputs\[1\]=3, expected a text"),
        ([None], TextError, r"inputs\[0\]=None, expected a text"),
        (["a", [1, 2]], TextError, r"inputs\[1\]=\[1, 2\]"),
        ([[1, SIZE]], TextError, rf"inputs\[0\]={SIZE}, expected token ids from 0 to {SIZE - 1}, the vocabulary of"),
        ([[1], [-1]], TextError, r"inputs\[1\]=-1, expected token ids from 0"),
        ([1] * (LONGEST + 1), TextError, rf"'{LONGEST + 1} tokens', expected at most {LONGEST} tokens, the positions"),
        ({"ids": [[1]]}, ArgumentError, "expected a dict with token_ids"),
        ({"token_ids": np.array([[1.5]])}, ArgumentError, "expected ints of shape"),
        ({"token_ids": np.ones((1, 2), "int32"), "padding_mask": np.ones((1, 3))}, ArgumentError, "expected ints of"),
        ({"token_ids": np.ones((1, 2), "int32"), "padding_mask": np.zeros((1, 2))}, ArgumentError, "at least one"),
    ]:
        with pytest.raises(error, match=words):
            lm.generate(inputs, max_new_tokens=2)
    with pytest.raises(ArgumentError, match="expected token ids, as the task has no tokenizer"):
        shared("gpt2").generate("a text")


@pytest.mark.keras(once=True)
@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"max_lenght": 3}, ArgumentError, "did you mean max_length"),
        ({"temperature": 0.0}, ArgumentError, "temperature=0.0"),
        ({"max_length": 3}, ArgumentError, "max_length=3, expected more than the 7 tokens of the prompt"),
        ({"batch_size": 0}, ArgumentError, "batch_size=0, expected an int of at least 1"),
        ({"stop_strings": ["a"]}, ArgumentError, "expected none, as the task has no tokenizer"),
        ({"bad_words": [[99]]}, ArgumentError, "bad_words=99, expected token ids below 61"),
        ({"adapters": ["one"]}, ArgumentError, "adapters='1 names', expected one for each of 5 prompts"),
        ({"adapters": "one"}, LoraStateError, "The model has no LoRA adapter"),
        ({"n": 2}, ArgumentError, "n=2, expected 1 for greedy"),
        ({"numbers": [1]}, ArgumentError, "numbers="),
    ],
    ids=str,
)
def test_options_that_are_wrong_are_named(options, error, words, shared):  # noqa: F811
    with pytest.raises(error, match=words):
        shared("gpt2").generate(PROMPTS, **options)


@pytest.mark.keras(once=True)
def test_a_stream_raises_errors_at_once(shared):  # noqa: F811
    model = shared("gpt2")
    for options, words in [({"max_length": 3}, "max_length=3"), ({"num_beams": 2}, "num_beams=2, expected 1: beams")]:
        with pytest.raises(ArgumentError, match=words):
            model.generate_stream(PROMPTS, **options)
    with pytest.raises(ArgumentError, match="expected one prompt"):
        model.cache_prompt(PROMPTS)
    with pytest.raises(TextError, match=r"inputs\[0\]=99, expected token ids"):
        model.cache_prompt([99])


@pytest.mark.keras(once=True)
def test_options_of_a_model_are_defaults(decoder):  # noqa: F811
    from vertebra_generation.sampling.options import GenerationOptions

    model = decoder("gpt2")
    model.generation_options = GenerationOptions(max_new_tokens=3)
    assert len(model.generate(PROMPTS[0], strip_prompt=True)) == 3
    assert len(model.generate(PROMPTS[0], len(PROMPTS[0]) + 5, strip_prompt=True)) == 5
    with pytest.raises(ArgumentError, match=r"generation_options=\{\}, expected a GenerationOptions"):
        model.generation_options = {}
