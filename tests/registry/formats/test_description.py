"""The backbone's tensors in a checkpoint: names under a prefix, older names, and lookalikes of weights."""

import pytest

from vertebra import TensorRule, Translation
from vertebra._formats.description import translated_rules
from vertebra._weights.tensor_entry import layout_of


class Toy(Translation):
    prefixes = ("", "toy.")
    ignored = ("position_ids",)

    def arguments(self, config):
        return {}

    def config(self, arguments):
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
    _, own, outside = translated_rules(Toy(), {}, entries("toy.dense.weight", "toy.stranger", "head.weight"))
    assert own.keys() == {"toy.dense.weight", "toy.stranger"}
    assert outside == ["head.weight"]


def test_without_a_prefix_everything_is_the_backbones():
    _, own, outside = translated_rules(Toy(), {}, entries("dense.weight", "head.weight"))
    assert own.keys() == {"dense.weight", "head.weight"}
    assert outside == []


def test_what_only_looks_like_a_weight_is_kept_where_a_weight_is_there():
    class Odd(Toy):
        ignored = ("dense.*",)

    _, own, _ = translated_rules(Odd(), {}, entries("dense.weight", "dense.mask"))
    assert own.keys() == {"dense.weight"}


def test_a_large_head_is_outside_as_a_whole():
    names = [f"toy.x{number}" for number in range(2_000)] + [f"y{number}" for number in range(2_000)]
    _, own, outside = translated_rules(Toy(), {}, entries(*names))
    assert len(own) == len(outside) == 2_000


class WithHead(Toy):
    optional = ("head/*",)

    def rules(self, arguments):
        return super().rules(arguments) | {"head/kernel": TensorRule("lm_head.weight")}


def test_a_weight_may_lie_outside_the_prefix():
    held = entries("toy.dense.weight", "lm_head.weight", "score.weight")
    rules, own, outside = translated_rules(WithHead(), {}, held)
    assert rules["head/kernel"] == TensorRule("lm_head.weight")
    assert own.keys() == {"toy.dense.weight", "lm_head.weight"}
    assert outside == ["score.weight"]


def test_a_weight_under_the_prefix_comes_before_one_outside():
    held = entries("toy.dense.weight", "toy.lm_head.weight", "lm_head.weight", "dense.weight")
    rules, _, outside = translated_rules(WithHead(), {}, held)
    assert {weight: rule.tensor for weight, rule in rules.items()} == {
        "dense/kernel": "toy.dense.weight",
        "head/kernel": "toy.lm_head.weight",
    }
    assert outside == ["lm_head.weight", "dense.weight"]


def test_a_weight_outside_the_prefix_may_be_lacking():
    rules, own, outside = translated_rules(WithHead(), {}, entries("toy.dense.weight"))
    assert rules["head/kernel"].tensor not in own
    assert outside == []
