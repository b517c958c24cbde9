"""PEFT's folders: read as PEFT does, and written so that PEFT reads them."""

import json
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

import vertebra
from vertebra._discovery.catalog import Catalog, peft_methods
from vertebra._lora.files.peft_config import read_config
from vertebra.errors import (
    AdapterMismatchError,
    LoraConfigError,
    LoraError,
    LoraStateError,
    WeightsFileError,
)

pytestmark = pytest.mark.keras

CONFIG, TENSORS = "adapter_config.json", "adapter_model.safetensors"


TUNER = "base_model.model.encoder.layer.{}.attention.self.{}"


def gap(outputs, io, tag="peft_lora"):
    """Returns the largest difference at positions that hold a token."""
    mask = io["padding_mask"].astype(bool)
    sequence = np.abs(outputs["sequence_output"][mask] - io[f"{tag}/sequence_output"][mask]).max()
    return max(sequence, np.abs(outputs["pooled_output"] - io[f"{tag}/pooled_output"]).max())


@pytest.fixture
def copy(golden, tmp_path):
    """A copy of PEFT's own folder whose config and tensors may be changed."""

    def make(config=None, tensors=None, name="peft_lora"):
        folder = tmp_path / "copy"
        shutil.copytree(golden / name, folder)
        fields = json.loads((folder / CONFIG).read_text()) | (config or {})
        (folder / CONFIG).write_text(json.dumps(fields))
        if tensors:
            save_file(tensors(load_file(folder / TENSORS)), folder / TENSORS)
        return folder

    return make


def zeros(name, *shape, dtype="float32"):
    return {f"base_model.model.{name}": np.zeros(shape, dtype)}


# === Reading ===


def test_outputs_are_those_of_peft(backbone, golden, run, io):
    assert gap(run(backbone), io) > 0.01  # the adapter has an effect
    receipt = backbone.load_lora_weights(golden / "peft_lora")
    assert gap(run(backbone), io) <= 1e-5
    assert (receipt.config.rank, receipt.scale) == (4, 2)
    assert (receipt.parameters_added, receipt.parameters_trained) == (512, 512)


def test_prefixes_of_models_with_a_head_are_accepted(backbone, copy, run, io):
    def below_a_head(tensors):
        return {name.replace("base_model.model.", "base_model.model.bert."): array for name, array in tensors.items()}

    backbone.load_lora_weights(copy(tensors=below_a_head))
    assert gap(run(backbone), io) <= 1e-5


def test_weights_that_peft_trained_in_full_are_loaded(backbone, copy, run, io):
    pooler = np.eye(16, dtype="float32")
    pooler[0, 1] = 2  # distinguishes the two axes
    folder = copy(
        config={"modules_to_save": ["pooler"]},
        tensors=lambda tensors: tensors | {"base_model.model.pooler.dense.weight": pooler},
    )
    backbone.load_lora_weights(folder)
    layer = backbone.get_layer("pooled_dense")
    assert np.array_equal(layer.kernel.numpy(), pooler.T)
    assert layer.kernel.trainable
    assert not layer.bias.trainable


@pytest.mark.keras(once=True)
@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("rank_pattern", {"(?=query)": 8}),
        ("alpha_pattern", {r"(q)\1": 8}),
        ("rank_pattern", {"query": 0}),
        ("rank_pattern", {"query": "8"}),
        ("rank_pattern", ["query"]),
        ("rank_pattern", "query"),
        ("alpha_pattern", {"query": -1}),
        ("layer_replication", [[0, 2]]),
        ("trainable_token_indices", [1]),
        ("target_parameters", ["weight"]),
        ("lora_bias", True),
        ("use_qalora", True),
        ("megatron_config", {"a": 1}),
        ("enable_lora", [True, False, True]),
        ("arrow_config", {"top_k": 3}),
        ("init_lora_weights", "pissa"),
        ("init_lora_weights", "pissa_niter_16"),
        ("init_lora_weights", "loftq"),
        ("init_lora_weights", "a_start_of_the_future"),
        ("init_lora_weights", "olora"),
        ("peft_type", "BOFT"),
        ("r", 0),
        ("r", -4),
        ("r", "4"),
        ("r", 10**9),
        ("lora_alpha", -1),
        ("lora_alpha", 1e308),
        ("lora_dropout", 2),
        ("a_field_of_the_future", 1),
        ("a_field_of_the_future", 0),
        ("a_field_of_the_future", True),
        ("a_field_of_the_future", "text"),
        ("tokenizer_kwargs", {"trust_remote_code": True}),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_setting_that_is_not_computed_here_is_refused_by_name(backbone, inputs, state, copy, field, value):
    """LO-01 to LO-03, for PEFT's config."""
    before = state(backbone, inputs)
    with pytest.raises(LoraConfigError) as caught:
        backbone.load_lora_weights(copy(config={field: value}))
    ours = {"r": "rank", "lora_alpha": "alpha", "lora_dropout": "dropout"}
    assert caught.value.field.partition("[")[0] == ours.get(field, field)
    assert state(backbone, inputs) == before


@pytest.mark.keras(once=True)
@pytest.mark.parametrize(
    ("field", "value", "method", "way_out"),
    [
        ("peft_type", "HRA", "HRA", "merge_and_unload"),
        ("peft_type", "PROMPT_TUNING", "PROMPT_TUNING", "PEFT cannot merge it"),
        ("lora_bias", True, "LoRA with a bias", "merge_and_unload"),
        ("use_bdlora", {"nblocks": 2}, "BD-LoRA", "save_as_lora(path, model, rank)"),
        ("velora_config", {"num_groups": 4}, "VeLoRA", "save_as_lora(path, model, rank)"),
        ("monteclora_config", {"num_samples": 8}, "MonteCLoRA", "save_as_lora(path, model, rank)"),
        ("kasa_config", {"beta": 1e-4}, "KaSA", "save_as_lora cannot convert it"),
        ("target_parameters", ["a.weight"], "parameters that are not a layer's kernel", "merge_and_unload"),
        ("layer_replication", [[0, 2]], "layer replication", "PEFT cannot merge it"),
        ("enable_lora", [True, False], "LoRA on some slices of a fused projection", "merge_and_unload"),
        ("alora_invocation_tokens", [1], "aLoRA", "PEFT cannot merge it"),
        ("use_qalora", True, "QALoRA", "PEFT cannot merge it"),
        ("init_lora_weights", "pissa_niter_4", "PiSSA", "path_initial_model_for_weight_conversion"),
        ("init_lora_weights", "OLoRA", "OLoRA", "path_initial_model_for_weight_conversion"),
        ("init_lora_weights", "loftq", "LoftQ", "merge_and_unload"),
        ("use_future", True, "with peft_type 'LORA' the field is unknown", "remove it from adapter_config.json"),
    ],
)
def test_a_refusal_says_which_method_it_is_and_the_way_out(copy, field, value, method, way_out):
    with pytest.raises(LoraConfigError) as caught:
        read_config("adapter", copy(config={field: value}) / CONFIG)
    assert method in caught.value.expected
    assert way_out in str(caught.value)
    assert "Correct the value" not in str(caught.value)


@pytest.mark.parametrize("value", [None, False, [], {}, "", "none"], ids=str)
@pytest.mark.parametrize("field", ["use_future", "enable_lora", "lora_bias", "velora_config"])
def test_a_field_that_is_off_changes_nothing_known_or_not(backbone, copy, run, io, field, value):
    """Fields of PEFT before 0.4, and of versions later than the supported one."""
    backbone.load_lora_weights(copy(config={field: value, "merge_weights": False}))
    assert gap(run(backbone), io) <= 1e-5


@pytest.mark.parametrize("start", [None, False, "gaussian", "Gaussian", "eva", "orthogonal", "mica"], ids=str)
def test_a_start_that_leaves_the_base_alone_is_plain_lora(backbone, copy, run, io, start):
    settings = {"eva_config": {"rho": 2.0}, "corda_config": {"cache_file": "x"}}  # of starts, which it is not
    backbone.load_lora_weights(copy(config={"init_lora_weights": start, **settings}))
    assert gap(run(backbone), io) <= 1e-5


@pytest.mark.parametrize(
    "targets",
    [
        None,
        "all-linear",
        ["query", "value"],
        r".*\.\d+\.attention\.self\.(query|value)",
        r"(?!.*vision)(?:.*?(?:language|text).*?(?:query|value).*?)|(?:\bmodel\.layers\.[\d]{1,}\.(?:query|value))",
        "(a+)+$",
    ],
    ids=str,
)
def test_what_names_the_modules_is_not_evaluated_as_the_tensors_say_it(backbone, copy, run, io, targets):
    folder = copy(config={"target_modules": targets, "exclude_modules": targets, "layers_to_transform": [0, 1]})
    backbone.load_lora_weights(folder)
    assert gap(run(backbone), io) <= 1e-5


@pytest.mark.parametrize("field", ["auto_mapping", "megatron_core", "revision", "runtime_config"])
def test_what_only_describes_is_text_and_nothing_is_imported_for_it(backbone, copy, run, io, field):
    names = {"parent_library": "this_module_does_not_exist", "base_model_class": "Nothing"}
    backbone.load_lora_weights(copy(config={field: names}))
    assert gap(run(backbone), io) <= 1e-5


def test_a_rank_that_the_tensors_do_not_have_is_refused(backbone, inputs, state, copy):
    before = state(backbone, inputs)
    with pytest.raises(AdapterMismatchError) as caught:
        backbone.load_lora_weights(copy(config={"r": 8}))
    assert caught.value.names == [
        f"encoder.layer.{i}.attention.self.{name} (rank 4, declared as 8)"
        for i in (0, 1)
        for name in ("query", "value")
    ]
    assert "both files from the same adapter" in str(caught.value)
    assert state(backbone, inputs) == before


@pytest.mark.keras(once=True)
def test_a_variant_that_no_strategy_computes_is_refused(backbone, copy, inputs, state, monkeypatch):
    before = state(backbone, inputs)
    others = Catalog("method of PEFT", [entry for entry in peft_methods() if entry.value.name != "rsdora"])
    monkeypatch.setattr("vertebra._lora.files.peft_config.peft_methods", lambda: others)
    with pytest.raises(LoraConfigError) as caught:
        backbone.load_lora_weights(copy(config={"use_dora": True, "use_rslora": True}))
    assert caught.value.field == "use_dora and use_rslora"
    assert "vertebra-lora-variants" in str(caught.value)
    assert state(backbone, inputs) == before


@pytest.mark.keras(once=True)
@pytest.mark.parametrize("value", ["no", 0, 1, [], "false"])
def test_a_switch_is_on_or_off(backbone, copy, value):
    with pytest.raises(LoraConfigError) as caught:
        backbone.load_lora_weights(copy(config={"use_rslora": value}))
    assert (caught.value.field, caught.value.expected) == ("use_rslora", "true or false")


@pytest.mark.parametrize("text", ["{", "[]", '{"r": 4, "r": 4}', '{"lora_alpha": NaN}', "\0"], ids=str)
def test_a_config_that_is_no_json_object_is_an_adapters_error(backbone, copy, text):
    folder = copy()
    (folder / CONFIG).write_text(text)
    with pytest.raises(LoraError):
        backbone.load_lora_weights(folder)


def test_no_pattern_takes_for_ever(copy):
    """LO-02: Python's `re` would need years for each of the keys."""
    keys = {"(.*.*)*x": 4, "(?:.*.*)*(?:.*.*)*y": 4, "(e+)*(n|.+)+z": 4}
    folder = copy(config={"target_modules": "(a+)+$", "rank_pattern": keys, "auto_mapping": "a" * 100_000})

    def read():
        start = time.process_time()
        assert read_config("adapter", folder / CONFIG).layer("encoder.layer.0.attention.self.query" * 5).rank == 4
        return time.process_time() - start

    assert min(read() for _ in range(5)) < 0.05


CANARY = """
import sys
folder, preset = sys.argv[1:]
touched = []
def watch(event, arguments):
    if event == "open" and str(arguments[0]).endswith((".bin", "canary.py")):
        touched.append(arguments[0])
    if event == "import" and "canary" in arguments[0]:
        touched.append(arguments[0])
    if event in ("socket.connect", "socket.getaddrinfo", "urllib.Request", "subprocess.Popen", "os.system"):
        touched.append(event)
import vertebra
backbone = vertebra.Backbone.from_preset(preset)
sys.path.insert(0, folder)
sys.addaudithook(watch)
try:
    print(backbone.load_lora_weights(folder).parameters_added)
except vertebra.errors.VertebraError as error:
    print(type(error).__name__)
print(touched)
"""


@pytest.fixture
def touched(copy, golden, child):
    """Loads a changed copy in a separate process; returns the result, and forbidden side effects."""

    def load(config=None, change=lambda folder: None):
        folder = copy(config)
        (folder / "canary.py").write_text("raise SystemExit")
        (folder / "adapter_model.bin").write_bytes(b"cos\nsystem\n(S'false'\ntR.")  # a pickle that runs a command
        change(folder)
        return child(CANARY, folder, golden / "transformers").split("\n")[:2]

    return load


@pytest.mark.keras(once=True)
def test_nothing_that_a_config_names_is_imported_or_fetched(touched):
    """LO-01, and LO-05 if both files are present."""
    named = {"base_model_class": "Canary", "parent_library": "canary"}
    config = {"auto_mapping": named, "megatron_core": "canary", "base_model_name_or_path": "https://example.com/model"}
    assert touched(config | {"revision": "https://example.com/model"}) == ["512", "[]"]


@pytest.mark.keras(once=True)
def test_a_pickle_is_never_opened(touched):
    """LO-05."""
    assert touched(change=lambda folder: (folder / TENSORS).unlink()) == ["WeightsFileError", "[]"]


@pytest.mark.keras(once=True)
@pytest.mark.parametrize("name", [CONFIG, TENSORS])
def test_a_folder_without_one_of_its_files_is_refused(backbone, copy, name):
    folder = copy()
    (folder / name).unlink()
    with pytest.raises((LoraConfigError, WeightsFileError)):
        backbone.load_lora_weights(folder)


@pytest.mark.keras(once=True)
def test_the_tensors_alone_do_not_say_the_scale(backbone, golden):
    with pytest.raises(LoraConfigError) as caught:
        backbone.load_lora_weights(golden / "peft_lora" / TENSORS)
    assert "folder" in caught.value.expected


@pytest.mark.parametrize(
    "change",
    [
        lambda t: {name: array for name, array in t.items() if "layer.0.attention.self.query.lora_B" not in name},
        lambda t: t | zeros("encoder.layer.0.attention.self.query.lora_C.weight", 4, 16),
        lambda t: t | zeros("encoder.layer.7.attention.self.query.lora_A.weight", 4, 16),
        lambda t: t | zeros("embeddings.LayerNorm.lora_A.weight", 4, 16),
        lambda t: t | zeros("classifier.weight", 2, 16),
        lambda t: t | zeros("pooler.dense.weight", 16, 8),
        lambda t: t | zeros("pooler.dense.weight", 16, 16, dtype="int32"),
        lambda t: {name: array.astype("int32") for name, array in t.items()},
        lambda t: {name: array[..., :-1] if "lora_A" in name else array for name, array in t.items()},
        lambda t: {name: array[..., None] for name, array in t.items()},
        lambda t: zeros("pooler.dense.bias", 16),
        lambda t: {},
    ],
    ids=[
        "b missing",
        "unknown tensor",
        "no such layer",
        "layer that takes none",
        "head",
        "weight of other shape",
        "weight of ints",
        "ints",
        "other input size",
        "another axis",
        "no adapter",
        "empty",
    ],
)
def test_tensors_that_do_not_fit_are_refused_and_nothing_changes(backbone, inputs, state, copy, change):
    """LO-04, for PEFT's tensors."""
    before = state(backbone, inputs)
    with pytest.raises(AdapterMismatchError):
        backbone.load_lora_weights(copy(tensors=change))
    assert state(backbone, inputs) == before


def test_a_scale_other_than_that_of_a_trained_adapter_is_refused(backbone, golden, inputs, state, fill):
    backbone.enable_lora(4)
    fill(backbone)
    before = state(backbone, inputs)
    with pytest.raises(LoraStateError) as caught:
        backbone.load_lora_weights(golden / "peft_lora")
    assert "scale 1" in caught.value.problem
    assert "scale 2" in caught.value.problem
    assert state(backbone, inputs) == before


@pytest.fixture
def patterned(copy):
    """PEFT's adapter, whose query in layer 1 has rank 2, in one of the ways that PEFT's config can express it."""

    def make(**config):
        names = [TUNER.format(1, "query") + suffix for suffix in (".lora_A.weight", ".lora_B.weight")]

        def cut(tensors):
            a, b = (tensors[name] for name in names)
            return tensors | dict(zip(names, (a[:2].copy(), b[:, :2].copy()), strict=True))

        return copy(config, cut)

    return make


@pytest.mark.parametrize(
    "pattern",
    [
        "encoder.layer.1.attention.self.query",
        "^encoder.layer.1.attention.self.query",
        "1.attention.self.query",
        "layer.1.attention.self.query",
        r".*layer\.1\..*query",
        r"^encoder\.layer\.[1-9]\.(attention|crossattention)\.self\.query$",
        r"[1].+query|nothing",
    ],
)
def test_rank_patterns_name_modules_in_full_or_from_a_dot_on(backbone, patterned, adapters, run, pattern):
    backbone.load_lora_weights(patterned(rank_pattern={pattern: 2}))
    found = {path: (layer.rank, layer.scale) for path, layer in adapters(backbone).items()}
    assert found.pop("transformer_layer_1/self_attention/query") == (2, 4)  # alpha, 8, is that of all
    assert set(found.values()) == {(4, 2)}
    assert np.isfinite(run(backbone)["pooled_output"]).all()


@pytest.mark.keras(once=True)
@pytest.mark.parametrize("pattern", ["^layer.1.attention.self.query", "1.attention.self.quer", "elf.query", "query$"])
def test_rank_patterns_are_no_parts_of_names(backbone, patterned, inputs, state, pattern):
    before = state(backbone, inputs)
    with pytest.raises((AdapterMismatchError, LoraConfigError)):
        backbone.load_lora_weights(patterned(rank_pattern={pattern: 2}))
    assert state(backbone, inputs) == before


@pytest.mark.keras(once=True)
def test_of_several_patterns_the_first_counts_as_in_peft(backbone, copy, adapters):
    patterns = {"layer.0.attention.self.query": 12, r"\d.+q\w+": 6, "self.value": 2, "value": 99}
    backbone.load_lora_weights(copy({"alpha_pattern": patterns}))
    scales = [layer.scale for layer in adapters(backbone).values()]
    assert scales == [3, 0.5, 1.5, 0.5]  # query and value of both layers, over rank 4


@pytest.mark.keras(once=True)
def test_a_dot_is_any_character_as_in_peft(backbone, copy, adapters):
    backbone.load_lora_weights(copy({"alpha_pattern": {"attention.s.lf.query": 12}}))
    assert [layer.scale for layer in adapters(backbone).values()] == [3, 2, 3, 2]


def test_biases_that_peft_trained_are_loaded_whichever_way_it_wrote_them(backbone, copy):
    """An adapted module has its own weights under `base_layer`."""
    bias, beta = np.arange(16, dtype="float32"), np.ones(16, "float32")
    names = {f"{TUNER.format(0, 'query')}.base_layer.bias": bias, f"{TUNER.format(0, 'key')}.bias": 2 * bias}
    norm = {"base_model.model.encoder.layer.1.output.LayerNorm.bias": beta}
    receipt = backbone.load_lora_weights(copy({"bias": "all"}, lambda tensors: tensors | names | norm))
    attention = backbone.transformer_layers[0].attention
    assert np.array_equal(attention.query.bias.numpy(), bias)
    assert np.array_equal(attention.key.bias.numpy(), 2 * bias)
    assert np.array_equal(backbone.transformer_layers[1].feedforward_norm.beta.numpy(), beta)
    assert sorted(receipt.trained) == [
        "transformer_layer_0/self_attention/key/bias",
        "transformer_layer_0/self_attention/query/bias",
        "transformer_layer_1/feedforward_layer_norm/beta",
    ]
    assert receipt.parameters_trained == 512 + 3 * 16


def test_tensors_of_a_head_are_left_out_only_if_that_was_asked_for(backbone, copy, run, io):
    head = zeros("classifier.weight", 2, 16) | zeros("classifier.bias", 2)
    folder = copy({"modules_to_save": ["classifier"]}, lambda tensors: tensors | head)
    with pytest.raises(AdapterMismatchError) as caught:
        backbone.load_lora_weights(folder)
    assert sorted(caught.value.names) == sorted(head)
    receipt = backbone.load_lora_weights(folder, strict=False)
    assert sorted(receipt.unused) == sorted(head)
    assert "classifier.weight" in str(receipt)
    assert gap(run(backbone), io) <= 1e-5


def test_lenience_does_not_extend_to_tensors_of_the_layers_themselves(backbone, copy, inputs, state):
    before, missing = state(backbone, inputs), f"{TUNER.format(0, 'query')}.lora_B.weight"
    folder = copy(tensors=lambda tensors: {name: array for name, array in tensors.items() if name != missing})
    with pytest.raises(AdapterMismatchError):
        backbone.load_lora_weights(folder, strict=False)
    assert state(backbone, inputs) == before


FIELDS = sorted(json.loads((Path(__file__).parents[3] / "golden" / "bert" / "peft_lora" / CONFIG).read_text()))
JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=8,
)


@pytest.mark.keras(once=True)
@given(changes=st.dictionaries(st.sampled_from(FIELDS) | st.text(max_size=9), JUNK, min_size=1, max_size=4))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_a_config_holds_it_is_read_or_refused(backbone, copy, changes):
    folder = copy(changes)
    try:
        backbone.load_lora_weights(folder)
        backbone.unload_lora()
    except vertebra.errors.VertebraError:
        assert not backbone.lora_adapters
    finally:
        shutil.rmtree(folder)


# === Writing ===


def test_the_written_folder_is_the_one_that_was_read(backbone, golden, tmp_path, run, io):
    backbone.load_lora_weights(golden / "peft_lora")
    backbone.save_lora_weights(tmp_path / "adapter")
    theirs, ours = load_file(golden / "peft_lora" / TENSORS), load_file(tmp_path / "adapter" / TENSORS)
    assert {name: (a.shape, a.dtype) for name, a in ours.items()} == {n: (a.shape, a.dtype) for n, a in theirs.items()}
    assert all(np.array_equal(ours[name], theirs[name]) for name in theirs)
    again = vertebra.Backbone.from_preset(golden / "transformers")
    again.load_lora_weights(tmp_path / "adapter")
    assert gap(run(again), io) <= 1e-5


@pytest.mark.keras(once=True)
def test_the_written_config_is_one_that_peft_would_write(backbone, golden, tmp_path):
    backbone.load_lora_weights(golden / "peft_lora")
    backbone.save_lora_weights(tmp_path / "adapter")
    theirs = json.loads((golden / "peft_lora" / CONFIG).read_text())
    ours = json.loads((tmp_path / "adapter" / CONFIG).read_text())
    assert ours.keys() <= theirs.keys()
    named = {"base_model_name_or_path", "target_modules"}
    assert {k: v for k, v in ours.items() if k not in named} == {
        k: v for k, v in theirs.items() if k in ours and k not in named
    }
    assert ours["target_modules"] == [
        f"encoder.layer.{i}.attention.self.{name}" for i in (0, 1) for name in ("query", "value")
    ]
    assert ours["base_model_name_or_path"].endswith("bert/transformers")


def test_an_embedding_and_modules_trained_in_full_have_pefts_names(backbone, tmp_path):
    backbone.enable_lora(2, ["token_embedding"])
    backbone.get_layer("pooled_dense").trainable = True
    backbone.get_layer("transformer_layer_1").feedforward_norm.trainable = True
    backbone.save_lora_weights(tmp_path / "adapter")
    config = json.loads((tmp_path / "adapter" / CONFIG).read_text())
    assert config["modules_to_save"] == ["encoder.layer.1.output.LayerNorm", "pooler.dense"]
    assert {name: array.shape for name, array in load_file(tmp_path / "adapter" / TENSORS).items()} == {
        "base_model.model.embeddings.word_embeddings.lora_embedding_A": (2, 101),
        "base_model.model.embeddings.word_embeddings.lora_embedding_B": (16, 2),
        "base_model.model.pooler.dense.weight": (16, 16),
        "base_model.model.pooler.dense.bias": (16,),
        "base_model.model.encoder.layer.1.output.LayerNorm.weight": (16,),
        "base_model.model.encoder.layer.1.output.LayerNorm.bias": (16,),
    }


@pytest.mark.parametrize("architecture", ["bert", "gpt2", "gemma", "gemma2"])
@pytest.mark.parametrize("method", ["peft_lora", "peft_rslora", "peft_dora"])
def test_outputs_are_those_of_peft_before_and_after_it_is_written_again(reference, architecture, method, tmp_path):
    peft = reference(architecture)
    first, second = peft.load(), peft.load()
    assert peft.gap(first, method) > 0.01  # the adapter has an effect
    first.load_lora_weights(peft.folder / method)
    assert peft.gap(first, method) <= 1e-5
    first.save_lora_weights(tmp_path / "adapter")
    second.load_lora_weights(tmp_path / "adapter")
    assert np.array_equal(peft.outputs(second), peft.outputs(first))
    theirs, ours = load_file(peft.folder / method / TENSORS), load_file(tmp_path / "adapter" / TENSORS)
    assert theirs.keys() == ours.keys()
    assert all(np.array_equal(theirs[name], ours[name]) for name in theirs)


def test_ranks_and_alphas_of_layers_are_written_as_patterns(backbone, golden, fill, tmp_path, run):
    backbone.enable_lora(2, ["query", "mlp.up"], alpha=3, rank_pattern={"mlp": 5}, alpha_pattern={"*_1/*/query": 7})
    fill(backbone)
    backbone.save_lora_weights(tmp_path / "adapter")
    config = json.loads((tmp_path / "adapter" / CONFIG).read_text())
    modules = [f"encoder.layer.{i}.{name}" for i in (0, 1) for name in ("attention.self.query", "intermediate.dense")]
    assert config["target_modules"] == modules
    assert config["rank_pattern"] == dict(zip((f"^{module}" for module in modules), (2, 5, 2, 5), strict=True))
    assert config["alpha_pattern"] == dict(zip((f"^{module}" for module in modules), (3, 3, 7, 3), strict=True))
    again = vertebra.Backbone.from_preset(golden / "transformers")
    again.load_lora_weights(tmp_path / "adapter")
    assert np.array_equal(run(again)["pooled_output"], run(backbone)["pooled_output"])


@pytest.mark.parametrize(("bias", "written"), [("none", "none"), ("lora", "lora_only"), ("all", "all")])
def test_trained_biases_are_written_as_pefts_bias(backbone, golden, fill, tmp_path, values, bias, written):
    backbone.enable_lora(2, bias=bias)
    fill(backbone)
    for variable in backbone.trainable_weights:
        variable.assign(variable.numpy() + 0.5)
    backbone.save_lora_weights(tmp_path / "adapter")
    assert json.loads((tmp_path / "adapter" / CONFIG).read_text())["bias"] == written
    names = load_file(tmp_path / "adapter" / TENSORS).keys()
    assert (f"{TUNER.format(0, 'query')}.base_layer.bias" in names) == (bias != "none")
    assert (f"{TUNER.format(0, 'key')}.bias" in names) == (bias == "all")
    again = vertebra.Backbone.from_preset(golden / "transformers")
    again.load_lora_weights(tmp_path / "adapter")
    found, expected = values(again), values(backbone)
    assert all(np.array_equal(found[name], expected[name]) for name in expected)


@pytest.mark.keras(once=True)
@pytest.mark.parametrize("field", ['"revision": NaN', '"revision": "a", "revision": "b"'])
def test_a_value_that_is_not_clear_is_read_if_it_does_not_matter(backbone, copy, run, io, field):
    folder = copy()
    text = (folder / CONFIG).read_text().replace('"revision": null', field)
    (folder / CONFIG).write_text(text)
    assert field in text
    backbone.load_lora_weights(folder)
    assert gap(run(backbone), io) <= 1e-5


@pytest.mark.keras(once=True)
def test_a_lora_and_rows_of_one_table_are_refused_with_the_way_out(backbone, copy):
    table = "base_model.model.embeddings.word_embeddings"
    shapes = {
        "lora_embedding_A": (4, 101),
        "lora_embedding_B": (16, 4),
        "token_adapter.trainable_tokens_delta": (1, 16),
    }
    both = {f"{table}.{name}": np.zeros(shape, "float32") for name, shape in shapes.items()}
    folder = copy({"trainable_token_indices": [3]}, lambda tensors: tensors | both)
    with pytest.raises(
        AdapterMismatchError, match=r"at once: token_embedding.*train a LoRA of that table, or rows of it"
    ):
        backbone.load_lora_weights(folder)


@pytest.mark.keras(once=True)
@pytest.mark.parametrize("field", ["r", "lora_alpha"])
def test_a_scale_that_is_null_is_refused_as_peft_fails_to_load_it(backbone, copy, field):
    with pytest.raises(LoraConfigError, match=f"{field}=None, expected a number: PEFT fails to load null"):
        backbone.load_lora_weights(copy({field: None}))


@pytest.mark.keras(once=True)
@pytest.mark.parametrize(
    ("field", "told"),
    [('"r": 5, ', "r has two values, 5 and"), ('"rank_pattern": {"query": 2}, ', "rank_pattern has two values")],
)
def test_a_value_that_matters_and_is_not_clear_is_refused_by_name(backbone, copy, field, told):
    folder = copy()
    (folder / CONFIG).write_text((folder / CONFIG).read_text().replace("{", "{" + field, 1))
    with pytest.raises(LoraConfigError, match=told):
        backbone.load_lora_weights(folder)


def test_a_config_names_the_base_and_the_class_that_transformers_has_for_it(arguments, golden, tmp_path):
    def config_of(backbone):
        backbone.enable_lora(2)
        backbone.save_lora_weights(tmp_path / backbone.name)
        return json.loads((tmp_path / backbone.name / CONFIG).read_text())

    bert = {"base_model_class": "BertModel", "parent_library": "transformers.models.bert.modeling_bert"}
    loaded = config_of(vertebra.Backbone.from_preset(golden / "transformers"))
    assert (loaded["base_model_name_or_path"], loaded["revision"]) == (str(golden / "transformers"), None)
    assert loaded["auto_mapping"] == bert
    made = config_of(vertebra.models.BertBackbone(**arguments))
    assert (made["base_model_name_or_path"], made["auto_mapping"]) == (None, bert)
    gated = vertebra.models.GPT2Backbone(11, 1, 2, 8, 8, activation="mish", attention_dropout=0.5)
    assert "auto_mapping" in config_of(gated)


def test_a_base_in_a_package_is_named_by_its_handle(golden, tmp_path, monkeypatch):
    shutil.copytree(golden / "transformers", tmp_path / "acme_package_of_a_base" / "bert")
    monkeypatch.syspath_prepend(tmp_path)
    backbone = vertebra.Backbone.from_preset("package://acme_package_of_a_base/bert")
    backbone.enable_lora(2)
    backbone.save_lora_weights(tmp_path / "adapter")
    named = json.loads((tmp_path / "adapter" / CONFIG).read_text())
    assert (named["base_model_name_or_path"], named.get("revision")) == ("package://acme_package_of_a_base/bert", None)


@pytest.mark.parametrize(("task", "told"), [("QUESTION_ANS", True), ("SEQ_CLS", False), (["QUESTION_ANS"], False)])
def test_a_task_for_which_peft_drops_an_input_is_noted(backbone, copy, task, told):
    receipt = backbone.load_lora_weights(copy({"task_type": task}))
    assert [("segment_ids" in note, "pass zeros" in note) for note in receipt.notes] == [(True, True)] * told
