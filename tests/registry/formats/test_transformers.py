"""The transformers format: outputs as in transformers, and every config field that changes them."""

import json
import shutil

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import vertebra
from vertebra._presets.convert import convert_preset
from vertebra.errors import PresetConfigError, WeightsMismatchError

pytestmark = pytest.mark.keras

WEIGHTS = "model.safetensors"


def gap(outputs, io, tag):
    """Returns the largest difference at positions that hold a token."""
    mask = io["padding_mask"].astype(bool)
    gaps = [np.abs(outputs["sequence_output"][mask] - io[f"{tag}/sequence_output"][mask]).max()]
    if f"{tag}/pooled_output" in io:
        gaps.append(np.abs(outputs["pooled_output"] - io[f"{tag}/pooled_output"]).max())
    return max(gaps)


@pytest.fixture
def copy(golden, tmp_path):
    """A copy of the reference preset whose config and tensors may be changed."""

    def make(name="transformers", config=None, tensors=None):
        folder = tmp_path / "copy"
        shutil.copytree(golden / name, folder)
        if config:
            fields = json.loads((folder / "config.json").read_text()) | config
            (folder / "config.json").write_text(json.dumps(fields))
        if tensors:
            save_file(tensors(load_file(folder / WEIGHTS)), folder / WEIGHTS)
        return folder

    return make


# === Outputs as in transformers ===


@pytest.mark.parametrize("preset", ["transformers", "transformers_sharded"])
def test_outputs_are_those_of_transformers(golden, io, run, preset):
    assert gap(run(vertebra.Backbone.from_preset(golden / preset)), io, "transformers") <= 1e-5


def test_a_checkpoint_with_a_head_holds_the_backbone_below_a_prefix(golden, io, run):
    with pytest.warns(UserWarning, match="initialised randomly"):
        backbone = vertebra.Backbone.from_preset(golden / "transformers_head")
    assert gap(run(backbone), io, "transformers_head") <= 1e-5


def test_weights_stored_as_bfloat16_are_close_to_the_original(golden, io, run):
    backbone = vertebra.Backbone.from_preset(golden / "transformers_bf16", dtype="float32")
    assert 1e-5 < gap(run(backbone), io, "transformers") <= 0.08


# === Weights ===


def test_a_missing_pooler_is_newly_initialised_and_reported(copy, backbone, run):
    folder = copy(tensors=lambda tensors: {k: v for k, v in tensors.items() if not k.startswith("pooler.")})
    with pytest.warns(UserWarning, match="pooled_dense/kernel, pooled_dense/bias"):
        loaded = vertebra.Backbone.from_preset(folder)
    assert loaded.get_layer("pooled_dense").kernel.numpy().any()
    assert np.array_equal(run(loaded)["sequence_output"], run(backbone)["sequence_output"])
    assert not np.array_equal(run(loaded)["pooled_output"], run(backbone)["pooled_output"])


def test_the_names_of_tensorflow_are_accepted(copy, io, run):
    def rename(tensors):
        old = {"LayerNorm.weight": "LayerNorm.gamma", "LayerNorm.bias": "LayerNorm.beta"}
        for new, name in old.items():
            tensors = {key.replace(new, name): value for key, value in tensors.items()}
        return tensors

    folder = copy(tensors=rename)
    assert sum("gamma" in name for name in load_file(folder / WEIGHTS)) == 5
    assert gap(run(vertebra.Backbone.from_preset(folder)), io, "transformers") <= 1e-5


def test_the_position_numbers_that_old_files_hold_are_not_weights(copy, io, run):
    folder = copy(tensors=lambda tensors: tensors | {"embeddings.position_ids": np.arange(16)[None]})
    assert gap(run(vertebra.Backbone.from_preset(folder)), io, "transformers") <= 1e-5


def test_only_the_pooler_may_be_missing_and_nothing_may_be_left_over(copy):
    def change(tensors):
        del tensors["encoder.layer.1.output.dense.weight"]
        return tensors | {"encoder.layer.2.output.dense.weight": np.zeros((16, 32), "float32")}

    with pytest.raises(WeightsMismatchError) as caught:
        vertebra.Backbone.from_preset(copy(tensors=change))
    assert caught.value.missing == ["transformer_layer_1/feedforward_output_dense/kernel"]
    assert caught.value.unused == ["encoder.layer.2.output.dense.weight"]


def test_a_head_beside_the_prefix_is_ignored_and_a_stray_below_it_is_not(copy):
    folder = copy("transformers_head", tensors=lambda t: t | {"bert.stray[0]": np.zeros(1, "float32")})
    with pytest.raises(WeightsMismatchError) as caught:
        vertebra.Backbone.from_preset(folder)
    assert caught.value.unused == ["bert.stray[0]"]


# === Config ===


@pytest.mark.keras(once=True)
@pytest.mark.parametrize(
    ("field", "value", "argument", "expected"),
    [
        ("hidden_act", "gelu", "activation", "gelu"),
        ("hidden_act", "gelu_new", "activation", "gelu_approximate"),
        ("hidden_act", "gelu_pytorch_tanh", "activation", "gelu_approximate"),
        ("hidden_act", "relu", "activation", "relu"),
        ("hidden_act", "swish", "activation", "silu"),
        ("layer_norm_eps", 1e-3, "layer_norm_epsilon", 1e-3),
        ("num_attention_heads", 4, "num_heads", 4),
        ("hidden_dropout_prob", 0.2, "dropout", 0.2),
        ("attention_probs_dropout_prob", 0.3, "attention_dropout", 0.3),
        ("initializer_range", 0.5, "initializer_range", 0.5),
    ],
)
def test_a_config_field_reaches_the_constructor(copy, field, value, argument, expected):
    backbone = vertebra.Backbone.from_preset(copy(config={field: value}))
    assert backbone.get_config()[argument] == expected


@pytest.mark.parametrize("change", [{"hidden_act": "relu"}, {"layer_norm_eps": 0.1}, {"num_attention_heads": 4}])
def test_a_config_field_that_changes_the_mathematics_changes_the_outputs(copy, io, run, change):
    assert gap(run(vertebra.Backbone.from_preset(copy(config=change))), io, "transformers") > 1e-3


@pytest.mark.keras(once=True)
@pytest.mark.parametrize(
    "change",
    [
        {"hidden_act": "prelu"},
        {"is_decoder": True},
        {"add_cross_attention": True},
        {"position_embedding_type": "relative_key"},
        {"embedding_size": 8},
        {"pruned_heads": {"0": [1]}},
        {"quantization_config": {"bits": 4}},
        {"hidden_size": "16"},
        {"hidden_dropout_prob": 1.5},
        {"num_attention_heads": 3},
        {"num_hidden_layers": 0},
        {"num_hidden_layers": 10**9},
        {"model_type": "alberta"},
        {"model_type": ["bert"]},
        {"hidden_act": ["gelu"]},
    ],
    ids=str,
)
def test_a_config_that_means_something_else_is_refused(copy, change):
    (value,) = change.values()
    with pytest.raises(PresetConfigError) as caught:
        vertebra.Backbone.from_preset(copy(config=change))
    assert str(value) in str(caught.value)


# === Fields that are not read ===

UNREAD = {
    "bos_token_id": 11,
    "eos_token_id": [12, 13],
    "pad_token_id": 14,
    "id2label": {"0": "SAD", "1": "GLAD"},
    "label2id": {"SAD": 0, "GLAD": 1},
    "transformers_version": "4.8.2",
    "task_specific_params": None,
    "of_a_later_release": {"x": [1.5]},
}
EXPECTED = {
    "bert": UNREAD,
    "gpt2": UNREAD | {"reorder_and_upcast_attn": False, "summary_type": "mean"},
    "gemma": UNREAD | {"max_position_embeddings": 77, "tie_word_embeddings": False},
    "gemma2": UNREAD | {"max_position_embeddings": 77, "cache_implementation": "hybrid"},
}


def config_of(folder):
    return json.loads((folder / "config.json").read_text())


@pytest.fixture
def checkpoint(golden, tmp_path):
    """Returns a function that copies a reference checkpoint of an architecture with further fields."""

    def make(architecture, **fields):
        folder = shutil.copytree(golden.parent / architecture / "transformers", tmp_path / f"checkpoint_{architecture}")
        (folder / "config.json").write_text(json.dumps(config_of(folder) | fields))
        return folder

    return make


@pytest.mark.keras(once=True)
@pytest.mark.parametrize("through", [(), ("native",), ("native", "native"), ("native", "kerashub")])
@pytest.mark.parametrize("architecture", EXPECTED)
def test_fields_that_are_not_read_are_carried_through_other_formats(architecture, through, checkpoint, tmp_path):
    fields = EXPECTED[architecture]
    if "kerashub" in through:  # which holds no other
        fields = fields | ({"hidden_act": "gelu_new"} if architecture == "bert" else {})
    folder = checkpoint(architecture, **fields)
    before = config_of(folder)
    for number, format in enumerate((*through, "transformers")):
        done = convert_preset(folder, tmp_path / str(number), format)
        folder = done.target
    after = config_of(folder)
    assert {name: after[name] for name in fields} == fields
    as_by_default = {"add_cross_attention", "is_decoder", "use_bidirectional_attention", "initializer_range"}
    assert after.keys() >= before.keys() - as_by_default
    assert done.assets.fields_left_out == ()


@pytest.mark.keras(once=True)
def test_no_field_of_another_architecture_is_carried(checkpoint, tmp_path, caplog):
    bert, gpt2 = (checkpoint(name, type_vocab_size=7, own_field=name) for name in ("bert", "gpt2"))
    plain = vertebra.Backbone.from_preset(gpt2)
    plain.save_to_preset(tmp_path / "plain", format="transformers", assets=False)
    caplog.clear()
    plain.save_to_preset(tmp_path / "named", format="transformers", assets=bert)
    assert config_of(tmp_path / "named") == config_of(tmp_path / "plain")
    (message,) = [record.getMessage() for record in caplog.records if "saved without" in record.getMessage()]
    left_out = message.rpartition("; ")[2].removesuffix(" (fields of its config)").split(", ")
    assert {"model_type", "own_field", "type_vocab_size", "hidden_act"} <= {*left_out}
    assert len(left_out) == len({*left_out})


@pytest.mark.keras(once=True)
def test_fields_that_are_read_say_what_is_written(checkpoint, tmp_path):
    """In Gemma's first configs, `gelu` means the approximation; some releases read it as the exact function."""
    folder = checkpoint("gemma", hidden_act="gelu", rope_theta=5e5, rope_parameters=None, eos_token_id=9)
    written = config_of(convert_preset(folder, tmp_path / "target", "transformers").target)
    assert written["hidden_act"] == "gelu_pytorch_tanh"
    assert written["rope_parameters"]["rope_theta"] == 5e5
    assert written["eos_token_id"] == 9


@pytest.mark.keras(once=True)
def test_an_argument_that_was_changed_wins_and_the_rest_is_carried(checkpoint, tmp_path):
    folder = checkpoint("bert", pad_token_id=3)
    vertebra.Backbone.from_preset(folder, dropout=0.3).save_to_preset(tmp_path / "target", format="transformers")
    written = config_of(tmp_path / "target")
    assert (written["hidden_dropout_prob"], written["attention_probs_dropout_prob"]) == (0.3, 0.3)
    assert written["pad_token_id"] == 3


@pytest.mark.keras(once=True)
def test_fields_that_tell_of_a_head_or_of_one_object_are_named(checkpoint, tmp_path):
    private = {"_name_or_path": "here", "_attn_implementation_internal": "user/code"}
    folder = checkpoint("bert", architectures=["BertForMaskedLM"], torch_dtype="float16", **private)
    done = convert_preset(folder, tmp_path / "target", "transformers", dtype="bfloat16")
    assert {*done.assets.fields_left_out} == {"architectures", *private}
    written = config_of(done.target)
    assert (written["architectures"], written["dtype"]) == (["BertModel"], "bfloat16")
    assert not {"torch_dtype", *private} & written.keys()


@pytest.mark.keras(once=True)
def test_a_config_of_a_great_many_fields_is_not_compared_field_by_field(checkpoint, tmp_path):
    many = {f"field_{number}": number for number in range(100_000)}
    done = convert_preset(checkpoint("bert", **many), tmp_path / "target", "transformers")
    assert {*done.assets.fields_left_out} >= many.keys()
    assert len(config_of(done.target)) < 50


@pytest.mark.keras(once=True)
def test_tensors_of_a_head_are_named(golden, tmp_path):
    done = convert_preset(golden.parent / "gpt2" / "transformers", tmp_path / "base", "transformers")
    assert done.unused == ()
    tensors = load_file(done.target / WEIGHTS)
    save_file({f"transformer.{k}": v for k, v in tensors.items()} | {"score.w": np.ones(2)}, done.target / WEIGHTS)
    assert convert_preset(done.target, tmp_path / "again").unused == ("score.w",)


# === Configs that Python reads, and that are not strict JSON ===


def rewritten(folder, change):
    path = folder / "config.json"
    path.write_bytes(change(path.read_text()).encode())
    return folder


@pytest.mark.keras(once=True)
@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace("{", '{"classifier_dropout": NaN, ', 1),
        lambda text: text.replace("{", '{"some_score": [-Infinity, 1e999], ', 1),
        lambda text: text.replace("{", '{"sep_token_id": 4, "sep_token_id": 5, ', 1),
        lambda text: "\ufeff" + text,
    ],
    ids=["nan", "infinity", "twice", "byte order mark"],
)
def test_what_does_not_matter_is_read_as_by_transformers(copy, golden, io, run, change, tmp_path, caplog):
    folder = rewritten(copy(), change)
    assert gap(run(vertebra.Backbone.from_preset(folder)), io, "transformers") <= 1e-5
    told = [record.getMessage() for record in caplog.records if "not clear" in record.getMessage()]
    assert len(told) == (0 if (folder / "config.json").read_text().startswith("\ufeff") else 1)
    done = convert_preset(folder, tmp_path / "again", format="transformers")
    assert "pad_token_id" not in done.assets.fields_left_out
    assert "NaN" not in (tmp_path / "again" / "config.json").read_text()
    vertebra.Backbone.from_preset(folder).save_to_preset(folder, format="transformers")
    assert gap(run(vertebra.Backbone.from_preset(folder)), io, "transformers") <= 1e-5


@pytest.mark.keras(once=True)
@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda text: text.replace("{", '{"hidden_size": 24, ', 1), "hidden_size has two values, 24 and"),
        (lambda text: text.replace("{", '{"model_type": "gpt2", ', 1), "model_type has two values, 'gpt2' and"),
        (lambda text: text.replace("1e-12", "NaN"), "layer_norm_eps is nan"),
        (lambda text: text + "{}", "Extra data"),
        (lambda text: text.replace('"', "'"), "not valid JSON"),
    ],
    ids=["a field", "the architecture", "a number", "trailing", "quotes"],
)
def test_what_matters_and_is_not_clear_is_refused_by_name(copy, change, told):
    with pytest.raises(PresetConfigError) as caught:
        vertebra.Backbone.from_preset(rewritten(copy(), change))
    assert told in str(caught.value)
    assert "config.json" in str(caught.value)
