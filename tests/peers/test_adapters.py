"""Adapters written by Vertebra compute the same in PEFT and KerasHub, and adapters written by these in Vertebra."""

import json
from pathlib import Path

import numpy as np
import pytest

import vertebra
from vertebra._lora.layers.adapter_layers import build_adapter_layers
from vertebra._lora.layers.linear_view import view_of
from vertebra._lora.plan import plan_layers
from vertebra._lora.targets import find_targets
from vertebra._weights.abstract import abstract_build
from vertebra.errors import LoraConfigError

pytestmark = pytest.mark.keras

GOLDEN = Path(__file__).parents[1] / "golden"
ARCHITECTURES = ("bert", "gpt2", "gemma", "gemma2", "gemma3")
CAPPED = "gemma2"
BASES = {"bert": "BertModel", "gpt2": "GPT2Model", "gemma": "GemmaModel", "gemma2": "Gemma2Model"}
BASES |= {"gemma3": "Gemma3TextModel"}
QKV = ["query", "key", "value"]


@pytest.fixture
def preset():
    """Returns the folder of an architecture's preset in a format."""

    def find(architecture, format="transformers"):
        return GOLDEN / architecture / format

    return find


@pytest.fixture
def disturb():
    """Moves all trainable weights away from their initial values, as training would."""

    def move(backbone):
        draws = np.random.default_rng(0)
        for variable in backbone.trainable_weights:
            variable.assign(variable.numpy() + 0.2 * draws.standard_normal(variable.shape))

    return move


@pytest.fixture
def moved(compute):
    """Asserts that an adapter changes the outputs; returns the outputs with the adapter."""

    def check(backbone, architecture):
        adapted = compute(backbone, architecture)
        backbone.disable_lora()
        plain = compute(backbone, architecture)
        backbone.activate_lora("default")
        assert np.abs(adapted["sequence_output"] - plain["sequence_output"]).max() > 1e-3
        return adapted

    return check


# === Written by Vertebra, loaded by PEFT ===

LAST_NORM = {"bert": "embeddings_layer_norm", "gpt2": "layer_norm"}
TARGETS = [
    ["position_embedding"],
    ["query", "value"],
    QKV,
    ["attention_output"],
    ["mlp"],
    ["all-linear"],
    ["token_embedding"],
]
WRITTEN = [
    *((architecture, {"strategy": strategy}) for architecture in ARCHITECTURES for strategy in ("lora", "rslora")),
    *((architecture, {"strategy": "dora", "target_names": QKV}) for architecture in ARCHITECTURES),
    *(("gpt2", {"strategy": "dora", "target_names": names}) for names in (["query", "value"], ["key"])),
    *(
        (architecture, {"strategy": strategy})
        for architecture in ("bert", "gpt2", "gemma")
        for strategy in ("pissa", "vera", "lora_plus", "keras")
    ),
    *(
        (architecture, {"target_names": names})
        for architecture in ("bert", "gpt2", "gemma")
        for names in TARGETS
        if names != ["position_embedding"] or architecture != "gemma"
    ),
    ("bert", {"target_names": ["position_embedding", "segment_embedding"], "strategy": "dora"}),
    ("gpt2", {"target_names": ["position_embedding"], "strategy": "rsdora"}),
    ("bert", {"rank": 70}),
    ("gpt2", {"rank": 70, "strategy": "rsdora", "target_names": QKV}),
    *((architecture, {"strategy": "dora", "target_names": ["all-linear"]}) for architecture in ("bert", "gpt2")),
    *(("bert", {"strategy": name, "target_names": ["token_embedding", "key"]}) for name in ("rslora", "dora", "pissa")),
    *(
        (architecture, {"rank_pattern": {"value": 1}, "alpha_pattern": {"query": 3.5}, "strategy": strategy})
        for architecture in ("bert", "gpt2", "gemma")
        for strategy in ("lora", "rslora", "keras")
    ),
    ("bert", {"rank_pattern": {"transformer_layer_1/*": 4}, "alpha_pattern": {"transformer_layer_0/*/query": 1}}),
    ("bert", {"strategy": "dora", "rank_pattern": {"value": 1}}),
    *((architecture, {"bias": bias}) for architecture in ("bert", "gpt2") for bias in ("lora", "all")),
    ("gpt2", {"bias": "lora", "target_names": QKV}),
    ("bert", {"bias": "all", "target_names": ["all-linear"]}),
    *((architecture, {"train": [name]}) for architecture, name in LAST_NORM.items()),
    ("gemma", {"train": ["final_normalization"]}),  # `norm`, with which the names of other norms end
    ("bert", {"train": ["pooled_dense"]}),
    ("bert", {"train": ["pooled_dense", "embeddings_layer_norm"], "bias": "lora", "strategy": "dora"}),
    ("bert", {"train": ["pooled_dense"], "bias": "all"}),
    *((architecture, {"train": ["position_embedding"]}) for architecture in ("bert", "gpt2")),
    *((architecture, {"dropout": 0.5}) for architecture in ("bert", "gpt2", "gemma")),
]
"""Architecture and settings of an adapter."""


def attention_for(architecture):
    """transformers' fused attention knows no cap."""
    return "eager" if architecture == CAPPED else None


@pytest.mark.parametrize(("architecture", "settings"), WRITTEN, ids=str)
def test_peft_computes_the_same(
    architecture, settings, preset, disturb, moved, ask, agree, transformers_peer, tmp_path
):
    backbone = vertebra.Backbone.from_preset(preset(architecture))
    backbone.enable_lora(**{"rank": 2, "alpha": 6, "seed": 0} | settings)
    disturb(backbone)
    backbone.save_lora_weights(tmp_path / "adapter")
    there = ask(
        transformers_peer,
        "adapt",
        preset(architecture),
        architecture,
        adapter=str(tmp_path / "adapter"),
        attention=attention_for(architecture),
    )
    assert there["complaints"] == []
    agree(moved(backbone, architecture), there["outputs"], architecture)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("settings", [{}, {"strategy": "ia3"}], ids=str)
def test_peft_finds_the_base_and_its_class(
    architecture, settings, preset, disturb, moved, ask, agree, transformers_peer, tmp_path
):
    backbone = vertebra.Backbone.from_preset(preset(architecture))
    backbone.enable_lora(**settings | ({"rank": 2} if not settings else {}))
    disturb(backbone)
    backbone.save_lora_weights(tmp_path / "adapter")
    there = ask(transformers_peer, "adapt_alone", preset(architecture), architecture, adapter=str(tmp_path / "adapter"))
    assert there["base"] == BASES[architecture]
    agree(moved(backbone, architecture), there["outputs"], architecture)


# === Written by PEFT, loaded by Vertebra ===

PROJECTIONS = {"bert": ["query", "value"], "gpt2": ["c_attn"], "gemma": ["q_proj", "v_proj"]}
PROJECTIONS["gemma2"] = PROJECTIONS["gemma3"] = PROJECTIONS["gemma"]
EMBEDDING = {"bert": "word_embeddings", "gpt2": "wte"}
NORM = {"bert": "LayerNorm", "gpt2": "ln_f", "gemma": "norm"}
VARIANTS = [
    {},
    {"use_rslora": True},
    {"use_dora": True},
    {"use_dora": True, "use_rslora": True},
    {"init_lora_weights": "gaussian"},
    {"lora_dropout": 0.3},
]
READ = [
    *((architecture, variant) for architecture in ARCHITECTURES for variant in VARIANTS),
    *(
        (architecture, {"target_modules": "all-linear", **variant})
        for architecture in ARCHITECTURES
        for variant in ({}, {"use_dora": True}, {"use_rslora": True})
    ),
    *((architecture, {"modules_to_save": [name]}) for architecture, name in NORM.items()),
    *((architecture, {"bias": bias}) for architecture in ("bert", "gpt2") for bias in ("all", "lora_only")),
    *(
        (architecture, {"target_modules": [name], **variant})
        for architecture, name in EMBEDDING.items()
        for variant in ({}, {"use_dora": True})
    ),
    *(("gemma", {"target_modules": ["embed_tokens"], **variant}) for variant in ({}, {"use_dora": True})),
    ("bert", {"modules_to_save": ["pooler"], "bias": "all"}),
    ("bert", {"modules_to_save": ["pooler"]}),
    ("bert", {"modules_to_save": ["pooler.dense", "position_embeddings"]}),
    ("gpt2", {"modules_to_save": ["wpe"], "bias": "lora_only", "use_dora": True}),
    ("bert", {"rank_pattern": {"value": 1}, "alpha_pattern": {"query": 5}}),
    ("bert", {"rank_pattern": {"layer.1.attention.self.value": 4}, "use_rslora": True}),
    ("bert", {"rank_pattern": {"^encoder.layer.0.attention.self.query": 1}, "alpha_pattern": {"value": 1}}),
    ("gpt2", {"target_modules": ["c_attn", "c_fc"], "rank_pattern": {"c_attn": 5}, "alpha_pattern": {"c_fc": 3}}),
    ("gpt2", {"target_modules": ["attn.c_proj", "mlp.c_proj"], "fan_in_fan_out": True}),
    ("gemma", {"rank_pattern": {"q_proj": 1, "v_proj": 3}, "use_dora": True}),
    ("bert", {"rank_pattern": {r".*layer\.1\..*query": 4}, "alpha_pattern": {r".*layer\.1\..*query": 32}}),
    ("bert", {"alpha_pattern": {"attention.s.lf.quer.": 17, "query": 50, r"\d.+value": 1}}),
    (
        "bert",
        {"alpha_pattern": {"1.attention.self.query": 17, "layer.0.*": 11}, "rank_pattern": {"^encoder.*[12].*e": 3}},
    ),
    ("bert", {"alpha_pattern": {"encoder)|(nothing": 30}}),
    ("bert", {"target_modules": r".*\.(query|value)", "exclude_modules": r".*layer\.0.*"}),
    ("bert", {"target_modules": r"(?:.*?(?:text|layer).*?(?:query|value).*?)|(?:\bmodel\.layers\.[\d]{1,}\.query)"}),
    ("gpt2", {"target_modules": r"h\.\d+\.attn\.c_attn", "rank_pattern": {r"h\.[1-9]\d*\.attn\..*": 1}}),
    ("gemma", {"rank_pattern": {r"[^0]\.self_attn\.(q|v)_proj": 3}, "alpha_pattern": {r"[qv]_proj": 12}}),
    ("gemma2", {"alpha_pattern": {r"layers\.(?:1|3)\..*": 5}, "use_rslora": True, "use_dora": False}),
    *(
        (architecture, {"target_modules": names, **variant})
        for architecture, names in (("bert", ["position_embeddings", "token_type_embeddings"]), ("gpt2", ["wpe"]))
        for variant in ({}, {"use_dora": True}, {"use_rslora": True}, {"modules_to_save": ["ln_1", "LayerNorm"]})
    ),
    *((architecture, {"r": 70}) for architecture in ARCHITECTURES),
    ("bert", {"r": 70, "target_modules": "all-linear", "use_dora": True}),
    ("bert", {"r": 70, "target_modules": ["word_embeddings"]}),
    ("bert", {"init_lora_weights": "orthogonal"}),
    ("bert", {"layers_to_transform": [1]}),
    ("bert", {"layers_to_transform": [1], "layers_pattern": "layer"}),
    ("bert", {"target_modules": ["query", "key"], "exclude_modules": ["encoder.layer.0.attention.self.key"]}),
]
"""Architecture and settings of PEFT's LoRA configuration."""


@pytest.fixture
def made(preset, ask, transformers_peer, tmp_path):
    """Lets PEFT save an adapter with random values; returns its folder, and PEFT's outputs and parameter counts."""

    def make(architecture, settings):
        config = {"r": 2, "lora_alpha": 6, "target_modules": PROJECTIONS[architecture]} | settings
        config |= {"fan_in_fan_out": True} if architecture == "gpt2" else {}
        there = ask(
            transformers_peer,
            "make_adapter",
            preset(architecture),
            architecture,
            adapter=str(tmp_path / "theirs"),
            config=config,
            attention=attention_for(architecture),
        )
        return tmp_path / "theirs", there

    return make


@pytest.mark.parametrize(("architecture", "settings"), READ, ids=str)
def test_what_peft_saves_computes_the_same_here(architecture, settings, made, preset, moved, agree):
    folder, there = made(architecture, settings)
    backbone = vertebra.Backbone.from_preset(preset(architecture))
    receipt = backbone.load_lora_weights(folder)
    assert receipt.unused == ()
    assert receipt.parameters_added == there["added"]
    assert receipt.parameters_trained == there["trained"]
    agree(moved(backbone, architecture), there["outputs"], architecture)


@pytest.mark.parametrize("variant", [{}, {"use_dora": True}], ids=str)
@pytest.mark.parametrize(("architecture", "table"), [("gpt2", "wte"), ("gemma", "embed_tokens")])
def test_logits_of_a_tied_table_are_pefts_merged_and_unmerged(
    architecture, table, variant, preset, ask, agree, compute, transformers_peer, tmp_path
):
    """PEFT does not change the projection before it merges, and neither does Vertebra with PEFT's adapter."""
    config = {"r": 2, "lora_alpha": 6, "target_modules": [table], **variant}
    adapter = str(tmp_path / "theirs")
    there = ask(transformers_peer, "adapt_tied", preset(architecture), architecture, adapter=adapter, config=config)
    backbone = vertebra.Backbone.from_preset(preset(architecture))
    backbone.load_lora_weights(adapter)
    ours = {"sequence_output": compute(backbone, architecture)["logits"]}
    agree(ours, {"sequence_output": there["unmerged"]}, architecture)
    assert backbone.merge_lora().changed_projections == ("token_embedding",)
    merged = {"sequence_output": compute(backbone, architecture)["logits"]}
    agree(merged, {"sequence_output": there["merged"]}, architecture, 1e-4)
    assert np.abs(merged["sequence_output"] - ours["sequence_output"]).max() > 1e-2


def test_an_adapter_whose_start_is_of_minor_components_is_plain_lora(made, preset, moved, agree):
    folder, there = made("bert", {"init_lora_weights": "mica"})
    backbone = vertebra.Backbone.from_preset(preset("bert"))
    backbone.load_lora_weights(folder)
    agree(moved(backbone, "bert"), there["outputs"], "bert")


@pytest.mark.parametrize("settings", [{}, {"use_dora": True, "bias": "all"}, {"modules_to_save": ["ln_f"]}], ids=str)
@pytest.mark.parametrize("architecture", ["bert", "gpt2", "gemma"])
def test_an_adapter_of_peft_goes_back_to_peft(
    architecture, settings, made, preset, ask, agree, transformers_peer, tmp_path
):
    settings = settings | ({"modules_to_save": [NORM[architecture]]} if "modules_to_save" in settings else {})
    folder, there = made(architecture, settings)
    backbone = vertebra.Backbone.from_preset(preset(architecture))
    backbone.load_lora_weights(folder)
    backbone.save_lora_weights(tmp_path / "ours")
    again = ask(transformers_peer, "adapt", preset(architecture), architecture, adapter=str(tmp_path / "ours"))
    assert again["complaints"] == []
    assert again["added"] == there["added"]
    agree({name: np.array(array) for name, array in there["outputs"].items()}, again["outputs"], architecture)


@pytest.mark.parametrize(
    ("settings", "field"),
    [
        ({"lora_bias": True}, "lora_bias"),
        ({"init_lora_weights": "pissa"}, "init_lora_weights"),
        ({"init_lora_weights": "olora"}, "init_lora_weights"),
        ({"rank_pattern": {r"(?!.*value).*query": 1}}, "rank_pattern"),
        ({"alpha_pattern": {r".*(e)\3?ry": 1}}, "alpha_pattern"),
    ],
    ids=str,
)
def test_what_cannot_be_said_here_is_refused_by_its_field(settings, field, made, preset, compute):
    folder, _ = made("bert", settings)
    backbone = vertebra.Backbone.from_preset(preset("bert"))
    before = compute(backbone, "bert")
    with pytest.raises(LoraConfigError) as caught:
        backbone.load_lora_weights(folder)
    assert caught.value.field == field
    assert all(np.array_equal(compute(backbone, "bert")[name], array) for name, array in before.items())


# === Counted as PEFT counts ===

COUNTED = [
    ("bert", ["query", "value"], ["query", "value"]),
    ("bert", QKV, QKV),
    ("bert", ["mlp.up"], ["intermediate.dense"]),
    ("bert", ["attention_output"], ["attention.output.dense"]),
    ("bert", ["all-linear"], "all-linear"),
    ("bert", ["token_embedding"], ["word_embeddings"]),
    ("gpt2", ["mlp.up", "mlp.down"], ["c_fc", "mlp.c_proj"]),
    ("gpt2", ["token_embedding"], ["wte"]),
    ("gemma", ["attention"], ["q_proj", "k_proj", "v_proj", "o_proj"]),
    ("gemma", ["mlp"], ["gate_proj", "up_proj", "down_proj"]),
    ("gemma2", ["all-linear"], "all-linear"),
    ("gemma3", ["all-linear"], "all-linear"),
]
"""Architecture, and targets in Vertebra and in PEFT."""


@pytest.mark.parametrize("dora", [False, True])
@pytest.mark.parametrize(("architecture", "targets", "modules"), COUNTED, ids=str)
def test_as_many_parameters_as_peft_has(architecture, targets, modules, dora, preset, transformers_peer):
    backbone = vertebra.Backbone.from_preset(preset(architecture))
    receipt = backbone.enable_lora(3, targets, strategy="dora" if dora else "lora")
    config = {"r": 3, "target_modules": modules, "use_dora": dora, "fan_in_fan_out": architecture == "gpt2"}
    there = transformers_peer("count_adapter", folder=str(preset(architecture)), config=config)
    assert (receipt.parameters_added, receipt.parameters_trained) == (there["added"], there["trained"])


def test_bert_base_has_294_912(transformers_peer, tmp_path):
    """Query and value projections at rank 8; neither side allocates the model's weights."""
    config = {"model_type": "bert", "architectures": ["BertModel"]}  # what transformers leaves out is BERT-base
    (tmp_path / "config.json").write_text(json.dumps(config))
    there = transformers_peer(
        "count_adapter", folder=str(tmp_path), config={"r": 8, "target_modules": ["query", "value"]}
    )
    with abstract_build():
        backbone = vertebra.models.BertBackbone(
            vocabulary_size=30_522, num_layers=12, num_heads=12, hidden_dim=768, intermediate_dim=3072
        )
        layers = find_targets(backbone, backbone.default_lora_layer_names(), backbone.lora_roles)
        sites = {path: view_of(layer) for path, layer in layers.items()}
        plan = plan_layers(vertebra.LoraConfig(8), sites, layers, backbone.lora_roles)
        added = sum(int(np.prod(variable.shape)) for variable in build_adapter_layers(plan, sites, 0).flat())
    assert added == there["added"] == there["trained"] == 294_912


# === KerasHub's `.lora.h5` ===

EVERYWHERE = {
    "bert": ["query", "key", "value", "attention_output", "feedforward_intermediate_dense", "pooled_dense"],
    "gpt2": ["query", "key", "value", "attention_output", "feedforward_output_dense"],
    "gemma": ["query", "key", "value", "attention_output", "ffw_gating", "ffw_gating_2", "ffw_linear"],
}
EVERYWHERE["gemma2"] = EVERYWHERE["gemma3"] = EVERYWHERE["gemma"]


@pytest.mark.parametrize("everywhere", [False, True])
@pytest.mark.parametrize("strategy", ["keras", "lora"])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_kerashub_computes_the_same(
    architecture, strategy, everywhere, preset, disturb, moved, ask, agree, kerashub_peer, tmp_path
):
    targets = EVERYWHERE[architecture] if everywhere else None
    backbone = vertebra.Backbone.from_preset(preset(architecture, "kerashub"))
    receipt = backbone.enable_lora(2, targets, alpha=3, strategy=strategy, seed=0)
    disturb(backbone)
    file = tmp_path / "adapter.lora.h5"
    backbone.save_lora_weights(file)
    folder = preset(architecture, "kerashub")
    there = ask(kerashub_peer, "adapt", folder, architecture, adapter=str(file), targets=targets)
    if strategy == "keras":
        assert there["added"] == receipt.parameters_added
    agree(moved(backbone, architecture), there["outputs"], architecture)


@pytest.mark.parametrize("everywhere", [False, True])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_what_kerashub_saves_computes_the_same_here(
    architecture, everywhere, preset, moved, ask, agree, kerashub_peer, tmp_path
):
    targets = EVERYWHERE[architecture] if everywhere else None
    folder, file = preset(architecture, "kerashub"), tmp_path / "theirs.lora.h5"
    there = ask(kerashub_peer, "make_adapter", folder, architecture, adapter=str(file), rank=3, targets=targets)
    backbone = vertebra.Backbone.from_preset(folder)
    receipt = backbone.load_lora_weights(file)
    assert receipt.config.strategy == "keras"
    assert receipt.parameters_added == receipt.parameters_trained == there["added"]
    agree(moved(backbone, architecture), there["outputs"], architecture)


@pytest.mark.parametrize("strategy", ["rslora", "lora_plus", "vera", "pissa"])
def test_kerashub_computes_what_other_strategies_amount_to(
    strategy, preset, disturb, moved, ask, agree, kerashub_peer, tmp_path
):
    backbone = vertebra.Backbone.from_preset(preset("bert", "kerashub"))
    backbone.enable_lora(2, strategy=strategy, rank_pattern={"value": 1}, seed=0)
    disturb(backbone)
    backbone.save_lora_weights(tmp_path / "adapter.lora.h5")
    file = str(tmp_path / "adapter.lora.h5")
    there = ask(kerashub_peer, "adapt", preset("bert", "kerashub"), "bert", adapter=file)
    agree(moved(backbone, "bert"), there["outputs"], "bert")
