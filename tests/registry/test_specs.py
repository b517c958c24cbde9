"""Frozen dataclasses: values out of range are refused."""

import dataclasses
import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vertebra import BackboneSpec, CacheLayer, CacheLayout, HeadSpec, LoraConfig, LoraReceipt, PresetFile, TensorRule
from vertebra.errors import LoraConfigError, PresetConfigError
from vertebra.specs import resolve_reference
from vertebra.specs.caches import checked_layers
from vertebra.tasks import head_of_architecture


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("rank", value) for value in (0, -1, 65_537, 10**9, 1.0, "8", None, True)),
        *(("alpha", value) for value in (0, -1.0, float("nan"), float("inf"), 1e308, "16", True)),
        *(("dropout", value) for value in (1, 2, -0.1, float("nan"), "0.1", None, True)),
        *(("strategy", value) for value in (None, 1, ["lora"])),
        *(("seed", value) for value in (1.5, "1", True)),
    ],
)
def test_a_setting_out_of_range_is_refused_by_name(field, value):
    with pytest.raises(LoraConfigError) as caught:
        LoraConfig(**{"rank": 8, field: value})
    assert (caught.value.field, caught.value.value) == (field, value) or value != value


def test_settings_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        LoraConfig(8).rank = 4


def test_a_receipt_says_what_was_done():
    text = str(LoraReceipt(LoraConfig(8, 16), ("a/query", "a/value"), 1000, 2000, 98_000, scale=2.0))
    for part in ("lora", "rank 8", "scale 2", "2 layers", "1,000", "2,000", "2.00 %", "98,000"):
        assert part in text
    assert str(LoraReceipt(LoraConfig(8), (), 0, 0, 0))


def test_a_reference_leads_to_an_attribute():
    assert resolve_reference("vertebra.specs:LoraConfig") is LoraConfig


@pytest.mark.parametrize(
    "reference", ["", "os", "os.system", "os:", ":system", "os:path.join", "os:a b", "os;x:y", "os:system()", "os:x\n"]
)
def test_what_is_no_reference_is_not_imported(reference):
    with pytest.raises(ValueError):
        resolve_reference(reference)


@pytest.mark.parametrize(
    "wrong",
    [{"axes": (1, 0)}, {"axes": (1, 0), "shape": (2, 3), "transpose": True}, {"axes": (1, 0), "transpose": True}],
)
def test_an_order_of_axes_needs_their_sizes_and_is_not_reversed_as_well(wrong):
    with pytest.raises(TypeError, match="axes"):
        TensorRule("x", **wrong)


@pytest.mark.parametrize("version", [0, -1, 1.0, "2", True, None])
def test_a_version_is_a_positive_int(version):
    with pytest.raises(TypeError, match=r"BackboneSpec: version=.*, expected an int of at least 1"):
        BackboneSpec("Net", "net:Net", version=version)


def test_a_migration_is_a_reference():
    with pytest.raises(TypeError, match="BackboneSpec: got <function"):
        BackboneSpec("Net", "net:Net", version=2, migrate=lambda arguments, version: arguments)


@pytest.mark.parametrize(
    ("layer", "problem"),
    [
        ({"kind": "Dropout", "rate": "x"}, r"HeadSpec\.Dropout: rate='x', expected a number in \[0, 1\)"),
        ({"kind": "Dropout", "rate": float("nan")}, "rate=nan"),
        ({"kind": "Dropout", "rate": True}, "rate=True"),
        ({"kind": "Dense", "module": 5}, "module=5, expected a text"),
        ({"kind": "Dense", "module": "a", "width": ["hidden"]}, "width="),
        ({"kind": "Dense", "module": "a", "activation": {"class_name": "Softmax"}}, "activation="),
        ({"kind": "Dense", "module": "a", "use_bias": "no"}, "use_bias='no', expected True or False"),
        ({"kind": "Norm", "module": "a", "epsilon": 0}, "epsilon=0, expected a number above 0"),
        ({"kind": "Vocabulary", "bias": "a", "matrix": None}, "matrix=None"),
        ({"kind": "Vocabulary", "bias": "a", "tied": 1}, "tied=1"),
        ({"kind": ["Dense"]}, "is not the config of a head"),
        ({"kind": "Dense", "module": "a", "more": 1}, "is not the config of a head"),
    ],
)
def test_the_config_of_a_head_is_checked(layer, problem):
    with pytest.raises(ValueError, match=problem):
        HeadSpec.from_config({"pooling": "", "layers": [layer]})


def test_a_head_is_read_from_its_config():
    head = HeadSpec("first", (HeadSpec.Dropout(0), HeadSpec.Dense("a", "hidden", "gelu"), HeadSpec.Norm("b", 1e-5)))
    assert HeadSpec.from_config(head.to_config()) == head


def test_a_field_that_a_head_cannot_be_made_from_is_named():
    config = {"classifier_activation": "x", "unused": 1}
    with pytest.raises(PresetConfigError, match=r"config\.json: classifier_activation is 'x', which the head of Text"):
        head_of_architecture("TextClassifier", "ModernBertBackbone", {"layer_norm_epsilon": 1e-5}, config)


@pytest.mark.parametrize("content", [b"", b"text", bytes(range(256)) * 5_000])
def test_a_file_to_upload_is_described(tmp_path, content):
    (tmp_path / "x").write_bytes(content)
    described = PresetFile.of("assets/x.txt", tmp_path / "x")
    assert described == PresetFile("assets/x.txt", len(content), None, f"sha256:{hashlib.sha256(content).hexdigest()}")


DIGITS = {"sha256": 64, "sha512": 128, "md5": 32, "git": 40}


@pytest.mark.parametrize(
    ("fields", "error", "problem"),
    [
        ({"digest": "1" * 64}, ValueError, "digest '1{64}': expected sha256: and 64 hexadecimal digits"),
        ({"digest": "sha256:" + "1" * 40}, ValueError, "digest 'sha256:1{40}': expected sha256: and 64"),
        ({"digest": "sha1:" + "1" * 40}, ValueError, "digest 'sha1:1{40}': expected "),
        ({"digest": b"1"}, TypeError, "digest b'1': expected "),
        ({"path": "sha256:" + "1" * 64}, TypeError, "path 'sha256:1{64}': expected a Path or None"),
        ({"size": "714"}, TypeError, "size '714': expected an int"),
        ({"size": 7.0}, TypeError, "size 7.0: expected an int"),
        ({"size": True}, TypeError, "size True: expected an int"),
        ({"size": -1}, ValueError, "size -1: expected 0 to 1,125,899,906,842,624 bytes"),
        ({"size": 2**50 + 1}, ValueError, "size 1,125,899,906,842,625: expected 0 to"),
        ({"name": None}, TypeError, "name None: expected a str"),
    ],
)
def test_a_wrong_field_of_a_file_is_named(fields, error, problem):
    with pytest.raises(error, match=f"PresetFile .*: {problem}"):
        PresetFile(**{"name": "model.bin", "size": 714} | fields)


@pytest.mark.parametrize(("algorithm", "digits"), DIGITS.items())
def test_digests_of_sources_are_accepted(algorithm, digits):
    assert PresetFile("x", 0, digest=f"{algorithm}:{'A' * digits}").digest == f"{algorithm}:{'A' * digits}"


# === Caches ===


@pytest.mark.parametrize(
    "arguments", [(0, 4), (2, -1), (2, 4, 0), (True, 4), (2.0, 4), (2, None), (2, 4, "5")], ids=str
)
def test_the_sizes_of_a_cache_are_ints_above_0(arguments):
    with pytest.raises(TypeError, match=r"CacheLayer: (heads|width|window)=.*, expected an int above 0"):
        CacheLayer(*arguments)


def test_a_window_has_a_ring_if_there_are_more_slots():
    layers = (CacheLayer(2, 4), CacheLayer(1, 8, 5), CacheLayer(2, 4))
    layout = CacheLayout(layers, 12, gap=2)
    assert layout.windows == (None, 5)
    assert [layout.length(window) for window in (None, 5, 40)] == [12, 7, 12]
    assert [layout.is_ring(window) for window in (None, 5, 10, 40)] == [False, True, False, False]
    keys_and_values = 2 * 3 * 2 * (2 * 4 * 12 + 1 * 8 * 7 + 2 * 4 * 12)
    assert layout.bytes(3, 2) == keys_and_values + 3 * 4 * (12 + 7)


@given(slots=st.integers(1, 5000), gap=st.integers(0, 500), most=st.integers(1, 5000))
def test_sizes_are_few_and_large_enough(slots, gap, most):
    layout = CacheLayout.for_prompts([CacheLayer(1, 1, 9)], slots, gap, most)
    assert layout.capacity >= slots + min(most, 256)
    assert gap <= layout.gap
    assert layout.gap == 0 or gap
    for size in (layout.capacity, layout.gap or 64):
        assert size % 2 ** (size.bit_length() - 2) == 0  # a power of two, or one and a half of it
    larger = layout.grown(layout.capacity + 1, slots + most)
    assert larger.gap == layout.gap
    assert layout.capacity < larger.capacity <= max(64, 3 * layout.capacity)


@given(st.integers(1, 10_000))
def test_prompts_that_are_compiled_have_few_lengths(tokens):
    assert CacheLayout.prompt_slots(tokens, is_compiled=False) == tokens
    padded = CacheLayout.prompt_slots(tokens, is_compiled=True)
    assert tokens <= padded < max(tokens + 16, 1.25 * tokens + 1)
    assert padded % 16 == 0 or padded % 2 ** (padded.bit_length() - 3) == 0


@pytest.mark.parametrize("wrong", [None, CacheLayer(1, 1), [CacheLayer(1, 1), 3], "layers"], ids=str)
def test_what_declares_a_cache_is_checked(wrong):
    assert checked_layers([CacheLayer(1, 1)], "acme:cache") == (CacheLayer(1, 1),)
    with pytest.raises(TypeError, match=r"acme:cache returned .*, expected a sequence of vertebra\.CacheLayer"):
        checked_layers(wrong, "acme:cache")
