"""The options of `generate` that a call does not give: read, set and written."""

import json
import logging
from dataclasses import replace

import pytest

import vertebra
from vertebra.errors import ArgumentError, PresetConfigError
from vertebra_generation import GenerationOptions
from vertebra_generation.generation_config import FILE

pytestmark = pytest.mark.keras(once=True)


@pytest.fixture
def saved(make, tmp_path):
    """Returns a function that saves a model with the content of a generation config, and loads it."""

    def saved(document):
        folder = tmp_path / "preset"
        make().save_to_preset(folder)
        (folder / FILE).write_text(json.dumps(document))
        return vertebra.models.CausalLM.from_preset(folder)

    return saved


def test_the_end_token_is_the_stop_token_if_nothing_else_is_said(make, tokenizer):
    end = tokenizer.end_token_id
    assert make().generation_options == GenerationOptions(stop_tokens=() if end is None else (end,))


def test_the_options_of_a_preset_are_read(saved):
    lm = saved({"max_new_tokens": 3, "eos_token_id": [5, 6], "do_sample": True, "temperature": 0.5, "top_k": 7})
    options = lm.generation_options
    assert (options.max_new_tokens, options.stop_tokens, options.do_sample) == (3, (5, 6), True)
    assert (options.temperature, options.top_k) == (0.5, 7)
    assert len(lm.generate("ab", do_sample=False, stop_token_ids=None, details=True).token_ids) == 3


def test_an_option_of_the_call_comes_first(saved):
    lm = saved({"max_new_tokens": 3})
    answers = [lm.generate("ab", max_new_tokens=5, stop_token_ids=None, details=True)]
    answers.append(lm.generate("ab", 7, stop_token_ids=None, details=True))  # max_length, as in KerasHub
    assert [len(answer.token_ids) for answer in answers] == [5, 5]


def test_fields_without_effect_are_named(saved, caplog):
    with caplog.at_level(logging.WARNING, "vertebra"):
        saved({"typical_p": 0.5})
    assert "typical_p=0.5 has no effect in Vertebra" in caplog.text


def test_a_wrong_value_is_an_error_of_the_preset(saved):
    with pytest.raises(PresetConfigError, match=r"generation_config.json.*top_p=7"):
        saved({"top_p": 7})


def test_options_that_are_set_are_written(make, tmp_path):
    lm = make()
    lm.generation_options = replace(lm.generation_options, max_new_tokens=4, seed=9)
    lm.save_to_preset(tmp_path / "saved")
    assert json.loads((tmp_path / "saved" / FILE).read_text())["max_new_tokens"] == 4
    again = vertebra.models.CausalLM.from_preset(tmp_path / "saved")
    assert again.generation_options == lm.generation_options
    with pytest.raises(ArgumentError, match="a GenerationOptions"):
        lm.generation_options = {"max_new_tokens": 4}


def test_an_empty_prompt_begins_with_the_start_token_of_the_config(saved, make):
    lm = saved({"bos_token_id": 7, "max_new_tokens": 4})
    found, expected = (lm.generate(prompt, stop_token_ids=None, details=True).token_ids for prompt in ("", [7]))
    assert found == expected
    assert lm.start_token_id == 7 != make().start_token_id
