"""The backbone's tensors in a checkpoint: prefixes of models and wrappers, heads, shared tensors, older names."""

import time

import pytest

from vertebra import TensorRule, Translation
from vertebra._formats.backbone_tensors import find_backbone
from vertebra._weights.tensor_entry import layout_of
from vertebra.errors import WeightsMismatchError


class Toy(Translation):
    prefixes = ("", "toy.")
    ignored = ("position_ids",)
    optional = ("pooler/*",)

    def arguments(self, config):
        return {}

    def config(self, arguments):
        return {}

    def rules(self, arguments):
        return {
            "dense/kernel": TensorRule("dense.weight", transpose=True),
            "dense/bias": TensorRule("dense.bias"),
            "pooler/kernel": TensorRule("pooler.weight"),
        }

    def current_name(self, tensor):
        return tensor.replace("old.", "dense.")


class Larger(Toy):
    def rules(self, arguments):
        return super().rules(arguments) | {"norm/gamma": TensorRule("norm.weight")}


class Tied(Toy):
    def rules(self, arguments):
        return super().rules(arguments) | {"table/embeddings": TensorRule("table.weight", tied="lm_head.weight")}


class Headed(Toy):
    def rules(self, arguments):
        return super().rules(arguments) | {"lm_head/kernel": TensorRule("lm_head.weight", outside=True)}


class Renamed(Toy):
    def rules(self, arguments):
        return super().rules(arguments) | {"norm/gamma": TensorRule("old_norm.weight", module="layers.norm")}


def entries(*names):
    return {name: layout_of(name, "float32", (1,)) for name in names}


def find(names, translation=Toy, **options):
    return find_backbone(translation(), translation().rules({}), entries(*names), **options)


def tensors(found):
    return {weight: rule.tensor for weight, rule in found.rules.items()}


def under(prefix, *others):
    return [f"{prefix}dense.weight", f"{prefix}dense.bias", *others]


# === Prefixes ===


@pytest.mark.parametrize("prefix", ["", "toy."])
@pytest.mark.parametrize("module", ["dense", "old"])
def test_names_are_found_with_and_without_prefix(prefix, module):
    names = [f"{prefix}{module}.weight", f"{prefix}{module}.bias"]
    found = find([*names, f"{prefix}position_ids"])
    assert found.rules["dense/kernel"] == TensorRule(names[0], transpose=True)
    assert list(found.own) == names
    assert found.notes == ()


@pytest.mark.parametrize("outer", ["", "module.", "student."])
@pytest.mark.parametrize("prefix", ["", "toy."])
def test_a_head_is_found_outside_of_the_prefix(outer, prefix):
    names = [*under(outer + prefix), f"{outer}lm_head.weight"]
    found = find(names, Headed)
    assert tensors(found)["lm_head/kernel"] == f"{outer}lm_head.weight"
    assert (list(found.own), found.outside) == (names, [])


@pytest.mark.parametrize("prefix", ["", "toy.", "student."])
@pytest.mark.parametrize("name", ["old_norm.weight", "layers.norm.weight"])
def test_a_tensor_has_its_own_name_or_that_of_its_module(prefix, name):
    found = find([*under(prefix), prefix + name], Renamed)
    assert tensors(found)["norm/gamma"] == prefix + name
    assert found.outside == []


WRAPPED = [
    *("module.", "_orig_mod.", "module._orig_mod.", "model.", "auto_model.", "0.auto_model.", "backbone.", "student."),
    *("base_model.", "base_model.model.", "module._orig_mod.model.", "net.anything.encoder.", "dense."),
]


@pytest.mark.parametrize("inner", ["", "toy."])
@pytest.mark.parametrize("prefix", WRAPPED)
def test_a_prefix_that_all_names_share_is_recognised_and_told(prefix, inner):
    found = find(under(prefix + inner, f"{prefix}{inner}position_ids"))
    assert tensors(found)["dense/bias"] == f"{prefix}{inner}dense.bias"
    assert list(found.own) == under(prefix + inner)
    assert found.outside == []
    assert found.notes == (f"its tensor names begin with {prefix + inner!r}, which is left out",)


def test_segments_of_wrappers_within_names_are_left_out():
    names = ["toy._orig_mod.dense.weight", "toy.dense._checkpoint_wrapped_module.bias", "lm_head.weight"]
    found = find(names)
    assert list(found.own) == names[:2]
    assert found.outside == names[2:]
    segments = "_checkpoint_wrapped_module, _orig_mod"
    assert found.notes == (f"its tensor names have segments of wrappers, which are left out: {segments}",)


def test_a_module_may_have_the_name_of_a_wrapper():
    class Module(Toy):
        def rules(self, arguments):
            return {"dense/kernel": TensorRule("module.dense.weight")}

    assert tensors(find(["module.dense.weight"], Module)) == {"dense/kernel": "module.dense.weight"}
    assert find(["module.module.dense.weight"], Module).notes == (
        "its tensor names begin with 'module.', which is left out",
    )


OTHERS = {
    "ema": ("toy.", "ema.toy.", "ema.lm_head.weight"),
    "ema of a wrapped model": ("module.", "ema.module.", "ema.module.lm_head.weight"),
    "ema within a wrapped model": ("module.toy.", "module.ema.toy.", "module.ema.lm_head.weight"),
    "wrapped model and plain ema": ("module.", "ema.", "ema.lm_head.weight"),
    "teacher": ("toy.", "teacher.", "teacher.lm_head.weight"),
    "teacher within the model": ("toy.", "toy.teacher.", "toy.teacher.lm_head.weight"),
    "plain and wrapped": ("", "module.", "module.lm_head.weight"),
    "plain and compiled": ("toy.", "_orig_mod.toy.", "_orig_mod.lm_head.weight"),
    "model in a module": ("net.", "ema.net.", "ema.lm_head.weight"),
    "ema in the same module": ("net.", "net.ema.", "net.ema.lm_head.weight"),
    "two towers": ("toy.", "ctx_encoder.toy.", "ctx_encoder.score.weight"),
}
"""For each kind of two backbones: the prefix of the one that is read, of the other, and a head of the other."""


@pytest.mark.parametrize(("prefix", "other", "head"), OTHERS.values(), ids=OTHERS)
def test_another_backbone_is_told_and_not_read(prefix, other, head):
    own_head = f"{prefix.removesuffix('toy.')}lm_head.weight"
    found = find([*under(other, head), *under(prefix), own_head])
    assert list(found.own) == under(prefix)
    assert found.outside == [own_head]
    assert [note for note in found.notes if "another" in note] == [f"another backbone under {other!r} is not read"]
    assert [repr(prefix) in note for note in found.notes[:-1]] == [True] * (prefix not in Toy.prefixes)


def test_several_other_backbones_are_told():
    found = find(under("toy.", *under("teacher."), *under("ema.toy.")))
    assert list(found.own) == under("toy.")
    assert found.outside == []
    assert found.notes == tuple(f"another backbone under {other!r} is not read" for other in ("ema.toy.", "teacher."))


def test_another_backbone_may_lack_tensors():
    found = find(under("toy.", *under("teacher."), "teacher.lm_head.weight", "toy.norm.weight"), Larger)
    assert list(found.own) == under("toy.", "toy.norm.weight")
    assert found.outside == []
    assert found.notes == ("another backbone under 'teacher.' is not read",)


class Long(Toy):
    def rules(self, arguments):
        layers = {f"layer_{n}/kernel": TensorRule(f"layers.{n}.weight") for n in range(9)}
        return (
            super().rules(arguments) | layers | {"table/embeddings": TensorRule("table.weight", tied="lm_head.weight")}
        )


LONG = [rule.tensor for rule in Long().rules({}).values()]
PARTS = {
    "token table": ["table.weight"],
    "some layers": ["layers.0.weight", "layers.1.weight", "layers.2.weight"],
    "layers and table": ["layers.0.weight", "table.weight"],
}


@pytest.mark.parametrize(
    ("prefix", "other"), [("net.", "ema.net."), ("toy.", "ema.toy."), ("", "ema."), ("m.", "m.ema.")]
)
@pytest.mark.parametrize("part", PARTS.values(), ids=PARTS)
def test_a_part_of_another_backbone_is_no_head(part, prefix, other):
    own = [prefix + name for name in LONG]
    found = find([*own, *(other + name for name in part), "score.weight"], Long)
    assert list(found.own) == own
    assert found.outside == ["score.weight"]
    assert found.notes[-1] == f"another backbone under {other!r} is not read"


def test_a_head_may_have_names_of_the_backbone():
    head = ["score.dense.weight", "score.dense.bias", "score.out.weight"]
    found = find([*(f"toy.{name}" for name in LONG), *head], Long)
    assert (found.outside, found.notes) == (head, ())


def test_a_head_next_to_an_incomplete_backbone_stays_a_head():
    found = find(under("", *under("toy."), "toy.norm.weight", "lm_head.weight"), Larger)
    assert list(found.own) == under("toy.", "toy.norm.weight")
    assert found.outside == ["lm_head.weight"]
    assert found.notes == ("another backbone under '' is not read",)


AMBIGUOUS = [
    *[("student.", "teacher."), ("", "toy."), ("a.toy.", "b.toy."), ("m.", "m.toy."), ("model.", "ema_model.")],
    *[("question_encoder.bert_model.", "ctx_encoder.bert_model."), ("module.query.", "module.context.")],
    *[("module.", "_orig_mod."), ("encoder_q.", "encoder_k.", "ema.encoder_q.")],
]


@pytest.mark.parametrize("prefixes", AMBIGUOUS)
def test_several_backbones_are_refused_by_their_prefixes(prefixes):
    with pytest.raises(WeightsMismatchError) as caught:
        find([name for prefix in prefixes for name in under(prefix)], checkpoint="here")
    assert all(repr(prefix.removeprefix("module.") or prefix) in caught.value.cause for prefix in prefixes)
    assert caught.value.subject == "here"


def test_the_names_of_another_backbone_may_have_segments_of_wrappers():
    found = find(under("", "ema._orig_mod.dense.weight", "ema.dense._fsdp_wrapped_module.bias"))
    assert list(found.own) == under("")
    assert found.outside == []
    assert found.notes == ("another backbone under 'ema.' is not read",)


def test_a_prefix_with_which_not_all_fits_is_named():
    found = find(under("net."), Larger)
    assert "'net.'" in found.cause
    assert tensors(found)["norm/gamma"] == "net.norm.weight"


def test_names_with_nothing_of_the_backbone_are_unused_as_a_whole():
    found = find(["a.b", "c"])
    assert list(found.own) == ["a.b", "c"]
    assert tensors(found)["dense/kernel"] == "dense.weight"


def test_names_of_many_segments_take_no_time():
    names = [f"{'a.' * 10_000}{number}" for number in range(200)]
    before = time.process_time()
    find(names)
    assert time.process_time() - before < 2


# === Heads ===


def test_a_head_is_outside_and_an_unknown_tensor_under_the_prefix_is_not():
    found = find(under("toy.", "toy.unknown", "head.weight"))
    assert list(found.own) == under("toy.", "toy.unknown")
    assert found.outside == ["head.weight"]


@pytest.mark.parametrize("prefix", ["", "net."])
def test_a_head_may_have_the_same_prefix_as_the_backbone(prefix):
    head = [f"{prefix}lm_head.weight", f"{prefix}classifier.dense.weight"]
    found = find(under(prefix, f"{prefix}dense.unknown", *head))
    assert list(found.own) == under(prefix, f"{prefix}dense.unknown")
    assert found.outside == head


def test_an_ignored_pattern_does_not_hide_a_weight():
    class Odd(Toy):
        ignored = ("dense.*",)

    assert list(find(under("", "dense.mask"), Odd).own) == under("")


def test_a_large_head_is_outside_as_a_whole():
    names = [f"toy.x{number}" for number in range(2_000)] + [f"y{number}" for number in range(2_000)]
    found = find(under("toy.", *names))
    assert len(found.own) - 2 == len(found.outside) == 2_000


class WithHead(Toy):
    optional = ("head/*",)

    def rules(self, arguments):
        return {"dense/kernel": TensorRule("dense.weight"), "head/kernel": TensorRule("lm_head.weight")}


@pytest.mark.parametrize("wrapper", ["", "module.", "net."])
def test_a_weight_may_lie_outside_the_prefix(wrapper):
    names = [f"{wrapper}toy.dense.weight", f"{wrapper}lm_head.weight", f"{wrapper}score.weight"]
    found = find(names, WithHead)
    assert found.rules["head/kernel"] == TensorRule(names[1])
    assert list(found.own) == names[:2]
    assert found.outside == names[2:]


def test_a_weight_under_the_prefix_comes_before_one_outside():
    found = find(["toy.dense.weight", "toy.lm_head.weight", "lm_head.weight"], WithHead)
    assert tensors(found)["head/kernel"] == "toy.lm_head.weight"
    assert found.outside == ["lm_head.weight"]


def test_a_weight_outside_the_prefix_may_be_lacking():
    found = find(["toy.dense.weight"], WithHead)
    assert found.rules["head/kernel"].tensor not in found.own
    assert found.outside == []


# === Shared tensors ===


@pytest.mark.parametrize("wrapper", ["", "module.", "net."])
@pytest.mark.parametrize("prefix", ["", "toy."])
def test_a_table_that_is_missing_is_read_from_a_tied_head(prefix, wrapper):
    found = find(under(wrapper + prefix, f"{wrapper}lm_head.weight"), Tied)
    assert tensors(found)["table/embeddings"] == f"{wrapper}lm_head.weight"
    assert found.outside == []
    assert "lm_head.weight" in found.notes[-1]


def test_a_head_is_no_table_if_the_config_says_so():
    found = find(under("toy.", "lm_head.weight"), Tied, untied="tie_word_embeddings=false")
    assert found.rules["table/embeddings"].tensor not in found.own
    assert "lm_head.weight" in found.cause
    assert "tie_word_embeddings=false" in found.cause


def test_a_head_is_not_read_if_the_table_is_there():
    found = find(under("toy.", "toy.table.weight", "lm_head.weight"), Tied)
    assert tensors(found)["table/embeddings"] == "toy.table.weight"
    assert found.outside == ["lm_head.weight"]
    assert found.notes == ()


@pytest.mark.parametrize("wrapper", ["", "module."])
def test_a_dropped_tensor_is_read_from_the_one_that_was_kept(wrapper):
    """safetensors' `save_model` notes in the metadata which of two shared tensors it dropped."""
    names = [f"{wrapper}toy.dense.weight", f"{wrapper}score.bias"]
    found = find(names, metadata={f"{wrapper}toy.dense.bias": names[1], "format": "pt"})
    assert tensors(found)["dense/bias"] == names[1]
    assert found.outside == []
    assert "score.bias" in found.notes[-1]


def test_a_note_about_another_tensor_is_not_told():
    found = find(under("toy."), metadata={"head.bias": "toy.dense.bias"})
    assert tensors(found)["dense/bias"] == "toy.dense.bias"
    assert found.notes == ()


def test_a_note_does_not_replace_a_tensor_that_is_there():
    found = find(under("toy.", "head.bias"), metadata={"toy.dense.bias": "head.bias", "toy.dense.weight": "missing"})
    assert tensors(found)["dense/bias"] == "toy.dense.bias"
    assert found.outside == ["head.bias"]


# === Adapters ===


def test_an_adapter_that_is_not_merged_is_named():
    names = ["base_model.model.dense.base_layer.weight", "base_model.model.dense.lora_A.default.weight"]
    with pytest.raises(WeightsMismatchError, match=r"PEFT.*base_layer, lora_A.*merge_and_unload"):
        find([*names, "base_model.model.dense.bias"])


def test_an_adapter_on_the_head_alone_leaves_the_backbone_readable():
    head = ["score.base_layer.weight", "score.lora_A.default.weight"]
    assert find(under("base_model.model.toy.", *head)).outside == head
