"""Generation configs: fields become options, other fields stay, contradictions are explained."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vertebra import open_files
from vertebra.errors import PresetConfigError
from vertebra_generation.generation_config import GenerationConfig
from vertebra_generation.sampling.options import GenerationOptions

LLAMA = {
    "bos_token_id": 128000,
    "do_sample": True,
    "eos_token_id": [128001, 128008],
    "temperature": 0.6,
    "top_p": 0.9,
    "transformers_version": "4.42.3",
    "_from_model_config": True,
    "something_new": {"a": [1]},
}


def test_fields_become_options_and_others_stay():
    config = GenerationConfig.of(LLAMA)
    expected = GenerationOptions(do_sample=True, stop_tokens=[128001, 128008], temperature=0.6, top_p=0.9)
    assert config.options == expected
    assert (config.bos_token, config.notes) == (128000, ())
    assert config.to_json() == LLAMA


def test_changed_options_are_written():
    options = GenerationOptions(stop_tokens=[7], bad_words=[[1, 2]], n=2, num_beams=2, seed=3, temperature=0.6)
    written = GenerationConfig.of(LLAMA).with_options(options).to_json()
    assert written == {name: LLAMA[name] for name in LLAMA if name not in ("do_sample", "top_p")} | {
        "eos_token_id": 7,
        "bad_words_ids": [[1, 2]],
        "num_return_sequences": 2,
        "num_beams": 2,
        "seed": 3,
    }
    assert GenerationConfig.of(json.loads(json.dumps(written))).options == options


SOME = st.fixed_dictionaries(
    {},
    optional={
        "temperature": st.floats(0.1, 3),
        "top_k": st.integers(0, 99),
        "min_p": st.floats(0, 1),
        "stop_tokens": st.lists(st.integers(0, 9), max_size=3),
        "stop_strings": st.lists(st.text(min_size=1), max_size=2),
        "max_new_tokens": st.integers(1, 99),
        "early_stopping": st.sampled_from([True, False, "never"]),
        "presence_penalty": st.floats(-2, 2),
        "do_sample": st.booleans(),
    },
)


@given(SOME, SOME)
def test_options_survive_a_file(first, second):
    config = GenerationConfig().with_options(GenerationOptions(**first))
    again = GenerationConfig.of(json.loads(json.dumps(config.to_json())))
    assert again.options == config.options
    changed = again.with_options(GenerationOptions(**second))
    assert GenerationConfig.of(json.loads(json.dumps(changed.to_json()))).options == changed.options


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ({"temperature": 0.6}, "temperature=0.6 has no effect without do_sample=true"),
        ({"temperature": 0.0}, "temperature=0 means that nothing is drawn"),
        ({"length_penalty": 2.0}, "length_penalty=2.0 has no effect without num_beams above 1"),
        ({"typical_p": 0.5}, "typical_p=0.5 has no effect in Vertebra"),
        ({"suppress_tokens": [3]}, "suppress_tokens=[3] has no effect in Vertebra"),
    ],
)
def test_fields_without_effect_are_noted(document, words):
    (note,) = GenerationConfig.of(document).notes
    assert words in note


def test_neutral_fields_are_not_noted():
    neutral = {"typical_p": 1.0, "min_length": 0, "suppress_tokens": [], "early_stopping": False, "penalty_alpha": 0.0}
    config = GenerationConfig.of(neutral | {"top_k": None, "bos_token_id": -1, "eos_token_id": -1})
    assert (config.notes, config.options, config.bos_token) == ((), GenerationOptions(), None)


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ({"num_beams": 2, "num_return_sequences": 3}, "num_return_sequences=3, expected at most num_beams=2"),
        ({"do_sample": True, "num_beams": 2}, "do_sample=True, expected False with num_beams above 1"),
        ({"eos_token_id": "</s>"}, "eos_token_id='</s>', expected"),
        ({"do_sample": True, "temperature": 0}, "temperature=0, expected"),
        ({"top_p": 3}, "top_p=3, expected a number from 0 to 1"),
    ],
)
def test_wrong_fields_are_explained(document, words):
    with pytest.raises(PresetConfigError, match=r"generation_config\.json") as caught:
        GenerationConfig.of(document)
    assert words in str(caught.value)


def test_configs_are_read_from_presets(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    assert GenerationConfig.read(open_files(tmp_path)) == GenerationConfig()
    (tmp_path / "generation_config.json").write_text(json.dumps(LLAMA))
    assert GenerationConfig.read(open_files(tmp_path)).document == LLAMA
    (tmp_path / "generation_config.json").write_text('{"bos_token_id": "x"}')
    with pytest.raises(PresetConfigError, match="bos_token_id='x', expected a token id"):
        _ = GenerationConfig.read(open_files(tmp_path)).bos_token
