"""`vertebra lora check`: the rules of each engine, on adapters that PEFT wrote and on changes of them."""

import json
import re
import shutil

import numpy as np
import pytest

from checked_json import check
from vertebra._lora.engines.check import check_adapter
from vertebra._lora.engines.table import engines
from vertebra._weights.safetensors.writing import write_tensors
from vertebra._weights.tensor_entry import layout_of
from vertebra.cli import main
from vertebra.errors import AdapterNotFoundError, LoraConfigError, LoraStateError

LAYER = "base_model.model.model.layers.0"
QUERY, VALUE = f"{LAYER}.self_attn.q_proj", f"{LAYER}.self_attn.v_proj"


def pair(module, rank=4):
    return {f"{module}.lora_A.weight": (rank, 8), f"{module}.lora_B.weight": (8, rank)}


@pytest.fixture
def adapter(tmp_path):
    """Returns a function that writes an adapter in PEFT's layout, and returns the findings for an engine."""

    def make(engine, tensors=None, base=None, max_rank=None, **config):
        shapes = pair(QUERY) | pair(VALUE) | (tensors or {})
        layouts = {name: layout_of(name, "float32", shape) for name, shape in shapes.items()}
        values = {name: lambda shape=shape: np.zeros(shape, "float32") for name, shape in shapes.items()}
        write_tensors(tmp_path / "adapter_model.safetensors", values, layouts, {})
        plain = {"peft_type": "LORA", "r": 4, "lora_alpha": 8, "target_modules": ["q_proj", "v_proj"]}
        (tmp_path / "adapter_config.json").write_text(json.dumps(plain | config))
        facts = check_adapter(tmp_path, engine, base, max_rank)
        check("lora-check", facts)
        return [(finding["effect"], finding["field"] or finding["tensors"]) for finding in facts["findings"]]

    return make


@pytest.mark.parametrize("engine", ["peft", "vllm", "sglang"])
def test_plain_lora_is_used_by_all(engine, adapter):
    assert adapter(engine, bias="none", use_dora=False, rank_pattern={}, init_lora_weights=True) == []


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("use_dora", True),
        ("lora_bias", True),
        ("bias", "all"),
        ("modules_to_save", ["lm_head"]),
        ("init_lora_weights", "pissa"),
        ("alora_invocation_tokens", [1]),
        ("layer_replication", [[0, 1]]),
        ("use_bdlora", {"nblocks": 2}),
        ("use_qalora", True),
        ("r", None),
    ],
)
def test_vllm_refuses_settings(field, value, adapter):
    assert ("refused", field) in adapter("vllm", **{field: value})


def test_vllm_accepts_variants_that_it_computes(adapter):
    accepted = {"use_rslora": True, "rank_pattern": {"q_proj": 8}, "alpha_pattern": {"v_proj": 3}}
    assert adapter("vllm", init_lora_weights="EVA", modules_to_save=["score"], **accepted) == []


def test_the_rank_is_compared_with_that_of_the_server(adapter):
    assert adapter("vllm", r=17) == [("refused", "r")]
    assert adapter("vllm", rank_pattern={"q_proj": 32}) == [("refused", "r")]
    assert adapter("vllm", max_rank=32, rank_pattern={"q_proj": 32}) == []


def test_vllm_tensors(adapter):
    table = f"{LAYER}.embed_tokens.base_layer.weight"
    assert adapter("vllm", {table: (8, 8)}) == [("ignored", [table])]
    assert adapter("vllm", {f"{QUERY}.bias": (8,)}) == [("refused", [f"{QUERY}.bias"])]
    head = "base_model.model.score.weight"
    assert adapter("vllm", {head: (8, 8)}) == [("refused", [head])]
    assert adapter("vllm", {head: (8, 8)}, modules_to_save=["classifier", "score"]) == []


def test_sglang_ignores_settings_that_change_the_result(adapter):
    assert adapter("sglang", use_rslora=True) == [("changed", "use_rslora")]
    assert adapter("sglang", alpha_pattern={"q_proj": 3}) == [("changed", "alpha_pattern")]
    assert adapter("sglang", target_modules=r".*\.(q|v)_proj") == [("refused", "target_modules")]
    assert adapter("sglang", target_modules="all-linear") == []
    assert adapter("sglang", peft_type="IA3") == [("refused", "peft_type")]


def test_sglang_drops_tensors_without_a_number_of_a_layer(adapter):
    other = pair("base_model.model.encoder.layer.0.attention.self.query")
    assert adapter("sglang", other) == [("ignored", list(other))]
    table = {"base_model.model.model.embed_tokens.lora_embedding_A": (4, 9)}
    assert adapter("sglang", table) == [("ignored", list(table))]
    assert adapter("sglang", table, target_modules=["q_proj", "v_proj", "embed_tokens"]) == []


def test_sglang_needs_the_modules_that_it_fuses(adapter):
    only = pair(f"{LAYER}.self_attn.k_proj".replace("layers.0", "layers.1"))
    assert adapter("sglang", only) == [("refused", list(only))]


def test_peft_leaves_out_tensors_of_modules_that_the_config_does_not_name(adapter):
    other = pair(f"{LAYER}.mlp.up_proj")
    assert adapter("peft", other) == [("ignored", list(other))]
    vector = {f"{QUERY}.lora_magnitude_vector": (8,)}
    assert adapter("peft", vector) == [("ignored", list(vector))]
    assert adapter("peft", vector, use_dora=True) == []
    assert adapter("peft", target_modules="(" * 40) == []  # an expression that is not read is taken to match
    assert adapter("peft", r=5)[0][0] == "refused"


def test_the_base_is_compared(adapter, golden):
    gemma = str(golden.parent / "gemma" / "transformers")
    assert adapter("vllm", {}, gemma) == []
    missing = pair("base_model.model.model.layers.9.self_attn.q_proj")
    assert adapter("vllm", missing, gemma) == [("ignored", list(missing))]
    assert adapter("vllm", {}, str(golden.parent / "gpt2" / "transformers"))[0][0] == "refused"
    with pytest.raises(LoraStateError, match="vertebra convert"):
        adapter("vllm", {}, str(golden / "kerashub"))


def test_other_forms_are_refused_with_the_command_that_converts(golden):
    facts = check_adapter(golden / "kerashub_lora.lora.h5", "vllm")
    assert facts["refused"]
    assert "vertebra lora convert" in facts["findings"][0]["reason"]


def test_errors(golden, tmp_path):
    with pytest.raises(AdapterNotFoundError):
        check_adapter(tmp_path / "nothing", "peft")
    shutil.copytree(golden / "peft_lora", tmp_path / "broken")
    (tmp_path / "broken/adapter_config.json").write_text("[]")
    with pytest.raises(LoraConfigError, match="JSON object"):
        check_adapter(tmp_path / "broken", "peft")


def test_the_command(golden, capsys):
    adapter = str(golden / "peft_dora")
    assert main(["lora", "check", adapter, "--for", "peft"]) == 0
    assert "uses all of its 12 tensors" in capsys.readouterr().out
    assert main(["lora", "check", adapter, "--for", "vllm"]) == 1
    assert "use_dora=True is refused: DoRA is not supported" in capsys.readouterr().out
    assert main(["lora", "check", adapter, "--for", "sglang", "--json"]) == 1
    check("lora-check", json.loads(capsys.readouterr().out))
    with pytest.raises(SystemExit, match="2"):
        main(["lora", "check", adapter, "--for", "vllm", "--max-rank", "0"])


@pytest.mark.parametrize("engine", engines().values(), ids=engines())
def test_each_rule_has_a_source_and_a_valid_pattern(engine):
    rules = [*engine.rules["settings"], *engine.rules["tensors"], *engine.rules["together"]]
    rules += [engine.rules[name] for name in ("rank", "ranks", "missing") if name in engine.rules]
    assert all(re.match(r"[a-z]+/[\w/]+\.py", rule["source"]) for rule in rules)
    assert all(re.compile(rule["pattern"]) for rule in engine.rules["tensors"])
    assert re.fullmatch(r"\d+(\.\d+)+", engine.version)
