"""The names of tensors in new checkpoints, and in the models of other libraries."""

from vertebra import TensorRule
from vertebra._formats.translation import as_written, checkpoint_names, in_module

RULES = {
    "query/kernel": TensorRule("layer.0.query.weight", module="layers.0.q_proj"),
    "norm/gamma": TensorRule("norm.weight"),
}
HEAD = {"lm_head/kernel": TensorRule("lm_head.weight", transpose=True, outside=True)}


def test_the_names_of_a_base_model_have_no_prefix():
    assert as_written(RULES, ("", "model.")) == RULES


def test_next_to_a_head_tensors_and_modules_have_the_first_prefix():
    written = as_written(RULES | HEAD, ("", "model.", "transformer."))
    assert written["query/kernel"] == TensorRule("model.layer.0.query.weight", module="model.layers.0.q_proj")
    assert written["norm/gamma"].tensor == "model.norm.weight"
    assert written["lm_head/kernel"] == HEAD["lm_head/kernel"]
    assert as_written(RULES | HEAD, ("",)) == RULES | HEAD


def test_a_module_has_the_last_part_of_the_tensor_s_name():
    assert [in_module(rule) for rule in RULES.values()] == ["layers.0.q_proj.weight", "norm.weight"]


def test_a_name_that_is_a_tensor_s_own_is_no_other_one_s():
    swapped = [TensorRule("a.weight", module="b"), TensorRule("b.weight", module="c")]
    assert checkpoint_names(RULES.values()) == {"layers.0.q_proj.weight": "layer.0.query.weight"}
    assert checkpoint_names(swapped) == {"c.weight": "b.weight"}
