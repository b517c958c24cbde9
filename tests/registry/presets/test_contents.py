"""What is the backbone's in a checkpoint: names under a prefix, older names, and what only looks like a weight."""

import pytest

from vertebra import TensorRule, Translation
from vertebra._presets.contents import translated_rules
from vertebra._weights.safetensors import layout_of


class Toy(Translation):
    prefixes = ("", "toy.")
    ignored = ("position_ids",)

    def arguments(self, config):
        return {}

    def rules(self, arguments):
        return {"dense/kernel": TensorRule("dense.weight", transpose=True)}

    def current_name(self, tensor):
        return tensor.replace("old.", "dense.")


def entries(*names):
    return {name: layout_of(name, "float32", (1,)) for name in names}


@pytest.mark.parametrize("prefix", ["", "toy."])
@pytest.mark.parametrize("module", ["dense", "old"])
def test_names_are_found_with_and_without_prefix(prefix, module):
    name = f"{prefix}{module}.weight"
    rules, own, _ = translated_rules(Toy(), {}, entries(name, f"{prefix}position_ids"))
    assert rules == {"dense/kernel": TensorRule(name, transpose=True)}
    assert own.keys() == {name}


def test_a_head_is_outside_and_a_stranger_is_not():
    _, own, _ = translated_rules(Toy(), {}, entries("toy.dense.weight", "toy.stranger", "head.weight"))
    assert own.keys() == {"toy.dense.weight", "toy.stranger"}


def test_a_large_head_is_outside_as_a_whole():
    names = [f"toy.x{number}" for number in range(20_000)] + [f"y{number}" for number in range(20_000)]
    _, own, _ = translated_rules(Toy(), {}, entries(*names))
    assert len(own) == 20_000
