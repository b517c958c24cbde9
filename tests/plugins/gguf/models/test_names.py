"""transformers' names are those of the table in the `gguf` package."""

import pytest

from vertebra_gguf.models.names import translated
from vertebra_gguf.models.table import ARCHITECTURES
from vertebra_gguf.reading.container import READ_WITH_HEADER


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_names_are_those_of_the_package(name):
    gguf = pytest.importorskip("gguf")
    arch = next(arch for arch, text in gguf.MODEL_ARCH_NAMES.items() if text == name)
    table = gguf.get_tensor_name_map(arch, 12)
    for ours in ARCHITECTURES[name].names:
        for kind in (".weight", ".bias"):
            theirs = translated(ours.format(11) + kind, ARCHITECTURES[name].names)
            assert table.get_name(theirs, try_suffixes=(kind,)) == ours.format(11) + kind


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_all_names_of_the_package_are_known_or_of_another_variant(name):
    gguf = pytest.importorskip("gguf")
    arch = next(arch for arch, text in gguf.MODEL_ARCH_NAMES.items() if text == name)
    stems = {gguf.TENSOR_NAMES[one].format(bid="{}") for one in gguf.MODEL_TENSORS[arch]}
    computed = {one.removesuffix(".weight") for one in READ_WITH_HEADER} | {"blk.{}.attn_rot_embd"}
    unread = {stem for stem in stems - ARCHITECTURES[name].names.keys() if "exp" not in stem and "inp" not in stem}
    variants = {"blk.{}.attn_q", "blk.{}.attn_k", "blk.{}.attn_v"} if name == "phi3" else set()
    assert unread <= computed | variants


@pytest.mark.parametrize("name", ["blk.0.unknown.weight", "blk.01.attn_q.weight", "token_embd", "token_embd.scale", ""])
def test_other_names_have_no_translation(name):
    assert translated(name, ARCHITECTURES["llama"].names) is None
