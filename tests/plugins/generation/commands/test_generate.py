"""`vertebra generate`: the answers of Python, as text, JSON, a stream, and files."""

import json
import re

import pytest
from jsonschema import Draft202012Validator

import vertebra
from vertebra.cli import main
from vertebra_generation.commands import generate, schema
from vertebra_generation.commands.texts import harmless

pytestmark = pytest.mark.keras

PROMPT = "the quick brown"
FEW = ("--max-new-tokens", 6)
SAMPLED = ("--seed", 7, "--temperature", 1.5, "--top-k", 0)


def answer(model, prompt=PROMPT, **options):
    return model.generate(prompt, details=True, **{"max_new_tokens": 6, **options})


def shown(one):
    return f"{harmless(one.text)}\n"


def checked(document):
    Draft202012Validator(schema.GENERATE).validate(document)
    return document


def test_prints_the_answer_of_python(command, preset, model):
    assert command("generate", preset, PROMPT, *FEW) == shown(answer(model))


@pytest.mark.parametrize("words", [[], ["-"]])
def test_reads_the_prompt_from_standard_input(command, preset, model, typed, words):
    typed(f"{PROMPT}\n")
    assert command("generate", preset, *words, *FEW) == shown(answer(model))


def test_a_stream_prints_the_same(command, preset):
    words = ("generate", preset, PROMPT, "--max-new-tokens", 40, *SAMPLED)
    assert command(*words, "--stream") == command(*words)


def test_json_has_every_answer(command, preset, model):
    found = checked(command("generate", preset, PROMPT, *FEW, *SAMPLED, "-n", 2, "--json"))
    expected = answer(model, n=2, do_sample=True, seed=7, temperature=1.5, top_k=0)
    assert (found["prompt"], found["prompt_tokens"]) == (PROMPT, len(model.prompt_ids(PROMPT)))
    assert [one["token_ids"] for one in found["answers"]] == [one.token_ids for one in expected]
    assert [one["text"] for one in found["answers"]] == [one.text for one in expected]
    assert {one["finish_reason"] for one in found["answers"]} == {"length"}


def test_several_answers_are_parted_by_a_line(command, preset, model):
    beams = answer(model, num_beams=3, n=3)
    printed = command("generate", preset, PROMPT, *FEW, "--num-beams", 3, "-n", 3)
    assert printed == "\n---\n".join(harmless(one.text) for one in beams) + "\n"


def test_stop_strings_and_an_adapter(command, preset, model, tmp_path):
    model.enable_lora(2, seed=3)
    for variable in model.backbone.trainable_variables:
        variable.assign(variable + 0.5)
    model.save_lora_weights(tmp_path / "adapter.safetensors")
    expected = answer(model)
    found = command("generate", preset, PROMPT, *FEW, "--adapter", tmp_path / "adapter.safetensors", "--json")
    assert found["answers"][0]["token_ids"] == expected.token_ids
    first = expected.text[1]
    stopped = command(
        "generate", preset, PROMPT, *FEW, "--adapter", tmp_path / "adapter.safetensors", "--stop", first, "--json"
    )
    assert stopped["answers"][0]["finish_reason"] == "stop_string"
    assert first not in stopped["answers"][0]["text"]


# === Errors ===


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--temperature", "0"], "--temperature=0.0, expected a finite number above 0; .* pass --no-sample"),
        (["--num-beams", "2", "--sample"], "--sample=True, expected False with --num-beams above 1"),
        (["--penalty-alpha", "0.5", "--num-beams", "2"], "--penalty-alpha=0.5, expected 0 with --num-beams above 1"),
        (["-n", "2", "--no-sample"], "-n=2, expected 1 for greedy"),
        (["--seed", "-1"], "--seed=-1, expected a whole number from 0"),
    ],
)
def test_a_wrong_option_is_named_as_in_the_command_before_anything_loads(command, tmp_path, words, message):
    error = command("generate", tmp_path / "nothing", PROMPT, *words, status=1)
    assert re.search(message, error), error


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["x", "--bogus"], "unrecognized arguments: --bogus"),
        (["x", "--temprature", "1"], "Did you mean --temperature"),
        (["x", "-o", "out.jsonl"], "name them with --input"),
        (["--input", "a.txt"], "--input needs -o OUT"),
        (["x", "--input", "a.txt", "-o", "out.jsonl"], "a prompt and --input cannot be combined"),
        (["x", "--stream", "--json"], "--stream and --json cannot be combined"),
        (["x", "--stream", "-n", "2"], "--stream and -n cannot be combined"),
        (["x", "--stream", "--num-beams", "2"], "--stream and --num-beams cannot be combined"),
        (["--input", "a.txt", "-o", "out.jsonl", "--batch-size", "0"], "at least 1"),
    ],
)
def test_wrong_usage_is_status_2(words, message, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["generate", "a_preset", *words])
    assert ended.value.code == 2
    assert message in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize("prompt", ["", "\n"])
def test_an_empty_prompt_is_an_error(command, typed, prompt):
    typed(prompt)
    words = [""] if not prompt else []
    assert "PROMPT='', expected a text" in command("generate", "a_preset", *words, status=1)


def test_bytes_that_are_no_text_are_an_error(command, typed):
    typed(b"fox \xff")
    assert "UTF-8; byte 5 is not" in command("generate", "a_preset", status=1)


def test_a_prompt_that_is_longer_than_the_context_is_an_error(command, make, tmp_path):
    make(max_sequence_length=8).save_to_preset(tmp_path / "short", certificate=False)
    error = command("generate", tmp_path / "short", PROMPT * 9, status=1)
    assert "tokens', expected at most 8 tokens, the positions of GPT2Backbone" in error


def test_a_preset_without_a_tokenizer_is_an_error(command, model, tmp_path):
    model.backbone.save_to_preset(tmp_path / "bare", certificate=False)
    assert "expected a preset with a tokenizer" in command("generate", tmp_path / "bare", PROMPT, status=1)


@pytest.mark.filterwarnings("ignore:.*initialised randomly")
def test_a_preset_without_its_head_is_an_error(command, make, tmp_path):
    make(own_head=True).save_to_preset(tmp_path / "preset", format="transformers", certificate=False)
    from safetensors.numpy import load_file, save_file

    weights = load_file(tmp_path / "preset" / "model.safetensors")
    kept = {name: value for name, value in weights.items() if not name.startswith("lm_head")}
    save_file(kept, tmp_path / "preset" / "model.safetensors", {"format": "pt"})
    error = command("generate", tmp_path / "preset", PROMPT, status=1)
    assert "it has no trained head for CausalLM, so the answers would be random" in error


def test_an_encoder_is_no_decoder(command, tmp_path, tokenizer):
    backbone = vertebra.models.BertBackbone(300, num_layers=1, num_heads=1, hidden_dim=8, intermediate_dim=8)
    backbone.save_to_preset(tmp_path / "bert", certificate=False)
    assert "expected a decoder, such as GPT2Backbone" in command("generate", tmp_path / "bert", PROMPT, status=1)


# === Files ===

PROMPTS = ["the quick", "a good dog, a bad fox and so on", "Paris", "the lazy dog", "fox"]


@pytest.fixture
def files(tmp_path, preset):
    """Returns the words of a run over a file with prompts, and the path of its output."""

    def files(prompts=PROMPTS, out="out.jsonl", **others):
        (tmp_path / "in.jsonl").write_text("".join(json.dumps({"text": text, **others}) + "\n" for text in prompts))
        words = ("generate", preset, "--input", tmp_path / "in.jsonl", "-o", tmp_path / out, "--json", *FEW)
        return words, tmp_path / out

    return files


def rows(out):
    return [json.loads(line) for line in out.read_text().splitlines()]


def test_files_get_the_answers_of_python_also_after_an_interruption(command, files, model, monkeypatch):
    prompts = PROMPTS[1:4] * 3
    words, out = files(prompts)
    words = (*words, *SAMPLED, "--batch-size", 2, "-n", 2)
    calls = []
    encode = generate._ids

    def interrupted(task, text, number, args):
        calls.append(number)
        if number == 5 and calls.count(5) == 1:
            raise KeyboardInterrupt
        return encode(task, text, number, args)

    monkeypatch.setattr(generate, "_ids", interrupted)
    monkeypatch.setattr(generate, "_BATCHES", 1)
    command(*words, status=130)
    assert not out.exists()
    summary = checked(command(*words))
    assert (summary["records"], summary["continued"], summary["bad_count"]) == (9, 4, 0)
    assert (calls.count(3), calls.count(4), calls.count(5)) == (1, 2, 2)
    answers = [row["answers"] for row in rows(out)]
    whole = answer(model, prompts, n=2, do_sample=True, seed=7, temperature=1.5, top_k=0)  # in one batch
    assert [[one["text"] for one in row] for row in answers] == [[one.text for one in row] for row in whole]
    assert len({json.dumps(row) for row in answers}) == 9  # each record has draws of its own
    assert answers[0][0].keys() == {"text", "finish_reason", "tokens", "score"}


def test_records_without_an_answer(command, files, preset):
    words, out = files(["fox", "", "a\ud800", "the " * 5000, "dog"])
    assert "in.jsonl, record 2: its prompt is empty" in command(*words, status=1)
    assert "record 2" in command(*words, status=1)
    summary = command(*words, "--skip-bad")
    assert (summary["records"], summary["bad_count"], summary["continued"]) == (5, 3, 1)
    found = rows(out)
    assert found[0].keys() == {"text", "finish_reason", "tokens", "score"}
    assert ["error" in row for row in found] == [False, True, True, True, False]
    assert "lone surrogate" in found[2]["error"]
    assert "expected at most 4,096 tokens" in found[3]["error"]


def test_a_run_with_other_options_is_another_run(command, files):
    words, _ = files(["fox", ""])
    command(*words, status=1)
    error = command(*words, "--repetition-penalty", 2, status=1)
    assert "it is of another run: repetition_penalty was None and is 2.0" in error
    command(*words, "--repetition-penalty", 2, "--restart", "--skip-bad")
