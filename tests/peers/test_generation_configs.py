"""Generation configs: transformers reads ours, and we read its."""

import json

import pytest

from vertebra import open_files
from vertebra_generation.generation_config import GenerationConfig
from vertebra_generation.sampling.options import GenerationOptions

pytestmark = pytest.mark.keras(once=True)

PAIRS = [
    ({"do_sample": True, "temperature": 0.5, "top_k": 7, "top_p": 0.9, "min_p": 0.1}, {}),
    ({"num_beams": 3, "n": 2, "length_penalty": 2.0, "early_stopping": "never"}, {"n": "num_return_sequences"}),
    (
        {"stop_tokens": [3, 5], "bad_words": [[1], [2, 3]]},
        {"stop_tokens": "eos_token_id", "bad_words": "bad_words_ids"},
    ),
    ({"stop_tokens": [3], "repetition_penalty": 1.5, "no_repeat_ngram_size": 3}, {"stop_tokens": "eos_token_id"}),
    ({"max_new_tokens": 9, "min_new_tokens": 3, "stop_strings": ["a", "b"]}, {}),
]


@pytest.mark.parametrize(("options", "names"), PAIRS)
def test_options_are_those_of_transformers_in_both_directions(options, names, folder, generation_peer):
    ours = GenerationConfig({}, {"pad_token_id": 4, "mine": 1}).with_options(GenerationOptions(**options))
    read = generation_peer("read_config_text", text=json.dumps(ours.to_json()))
    for name, value in options.items():
        found = read[names.get(name, name)]
        assert ([found] if isinstance(value, list) and not isinstance(found, list) else found) == value
    assert (read["pad_token_id"], read["mine"]) == (4, 1)
    generation_peer(
        "save_config", folder=str(folder), options={names.get(name, name): value for name, value in options.items()}
    )
    (folder / "config.json").write_text("{}")
    assert GenerationConfig.read(open_files(folder)).options == ours.options


def test_defaults_are_those_of_transformers(generation_peer):
    theirs = generation_peer("defaults")
    ours = GenerationOptions()
    same = ["do_sample", "temperature", "top_k", "top_p", "repetition_penalty", "no_repeat_ngram_size"]
    same += ["num_beams", "length_penalty", "early_stopping"]
    assert {name: theirs[name] for name in same} == {name: getattr(ours, name) for name in same}
    assert (theirs["num_return_sequences"], theirs["max_length"]) == (ours.n, ours.most_new_tokens(100))
