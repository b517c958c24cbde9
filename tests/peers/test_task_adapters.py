"""Adapters that PEFT saves for a task's model, or converts: their backbone computes the same in Vertebra."""

from pathlib import Path

import numpy as np
import pytest

import vertebra
from vertebra._lora.files import peft_config, peft_methods
from vertebra.cli import main
from vertebra.errors import AdapterMismatchError, AdapterNotFoundError, LoraConfigError, WeightsFileError

pytestmark = pytest.mark.keras

GOLDEN = Path(__file__).parents[1] / "golden"
PROJECTIONS = {"bert": ["query", "value"], "gpt2": ["c_attn"], "gemma": ["q_proj", "v_proj"]}
SAVES_TABLES = {"save_embedding_layers": True}


@pytest.fixture
def make(ask, transformers_peer, tmp_path):
    """Lets PEFT save an adapter of a model with a head; returns its folder, and the outputs of the backbone."""

    def save(architecture, model, settings, base=None, **options):
        config = {"r": 2, "lora_alpha": 6, "target_modules": PROJECTIONS[architecture]} | settings
        config |= {"fan_in_fan_out": True} if architecture == "gpt2" else {}
        folder, adapter = base or GOLDEN / architecture / "transformers", str(tmp_path / "theirs")
        arguments = {"adapter": adapter, "config": config, "model": model, **options}
        there = ask(transformers_peer, "make_task_adapter", folder, architecture, **arguments)
        return tmp_path / "theirs", there["outputs"]

    return save


@pytest.fixture
def load():
    return lambda architecture: vertebra.Backbone.from_preset(GOLDEN / architecture / "transformers")


WITH_HEADS = [
    ("bert", "AutoModelForSequenceClassification", {"task_type": "SEQ_CLS"}),
    ("bert", "AutoModelForTokenClassification", {"task_type": "TOKEN_CLS"}),
    ("bert", "AutoModelForQuestionAnswering", {"task_type": "QUESTION_ANS"}),
    ("bert", "AutoModelForMaskedLM", {"target_modules": "all-linear"}),
    ("bert", "AutoModelForMaskedLM", {"target_modules": ["query", "decoder"]}),
    ("gpt2", "AutoModelForSequenceClassification", {"task_type": "SEQ_CLS"}),
    ("gpt2", "AutoModelForCausalLM", {"target_modules": ["c_attn", "lm_head"]}),
    ("gemma", "AutoModelForCausalLM", {"target_modules": ["q_proj", "lm_head"]}),
    ("gemma", "AutoModelForSequenceClassification", {"task_type": "SEQ_CLS", "modules_to_save": ["score"]}),
]


@pytest.mark.parametrize(("architecture", "model", "settings"), WITH_HEADS, ids=str)
def test_a_head_is_left_out_by_the_way_that_the_error_names(architecture, model, settings, make, load, compute, agree):
    folder, outputs = make(architecture, model, settings)
    backbone = load(architecture)
    with pytest.raises(AdapterMismatchError, match=r"head.*strict=False") as caught:
        backbone.load_lora_weights(folder)
    receipt = backbone.load_lora_weights(folder, strict=False)
    assert sorted(receipt.unused) == sorted(caught.value.names)
    agree(compute(backbone, architecture), outputs, architecture)


@pytest.mark.parametrize("architecture", ["bert", "gpt2"])
def test_peft_answers_questions_without_segment_ids(architecture, make, load):
    """PEFT 0.21.2 drops token_type_ids, and the receipt says so if the architecture has them."""
    folder, _ = make(architecture, "AutoModelForQuestionAnswering", {"task_type": "QUESTION_ANS"})
    notes = load(architecture).load_lora_weights(folder, strict=False).notes
    told = "PEFT trained it without segment_ids, as for every task_type QUESTION_ANS: leave segment_ids out"
    assert any(note.startswith(told) for note in notes) == (architecture == "bert")


TABLES = [
    ("bert", "AutoModelForMaskedLM"),
    ("gpt2", "AutoModelForCausalLM"),
    ("gemma", "AutoModelForCausalLM"),
    ("gpt2", "AutoModel"),
    ("bert", "AutoModel"),
]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize(("architecture", "model"), TABLES)
def test_unchanged_tables_are_not_co_trained(architecture, model, dtype, make, load, compute, agree):
    """PEFT writes them, and the head that is tied to them, with save_embedding_layers."""
    folder, outputs = make(architecture, model, {}, saving=SAVES_TABLES)
    backbone = vertebra.Backbone.from_preset(GOLDEN / architecture / "transformers", dtype=dtype)
    strict = model != "AutoModelForMaskedLM"  # its decoder has a bias of its own
    receipt = backbone.load_lora_weights(folder, "one", strict=strict)
    assert receipt.trained == ()
    assert "copies of the base's weights are left out" in str(receipt)
    backbone.load_lora_weights(folder, "two", strict=strict)
    backbone.activate_lora({"one": 0.5, "two": 0.5})
    agree(compute(backbone, architecture), outputs, architecture, 1e-5 if dtype == "float32" else 0.3)


ROWS = [
    ("bert", "AutoModel", {"trainable_token_indices": [46, 28, 9]}),
    ("bert", "AutoModel", {"trainable_token_indices": {"embeddings.word_embeddings": [4], "position_embeddings": [2]}}),
    ("bert", "AutoModel", {"trainable_token_indices": {"position_embeddings": [2]}, "modules_to_save": ["pooler"]}),
    ("gpt2", "AutoModel", {"trainable_token_indices": {"wte": [15]}}),
    ("gpt2", "AutoModelForCausalLM", {"trainable_token_indices": {"transformer.wte": [15, 50]}}),
    ("gemma", "AutoModelForCausalLM", {"trainable_token_indices": [50, 2]}),
]


@pytest.mark.parametrize("saving", [{}, SAVES_TABLES], ids=str)
@pytest.mark.parametrize(("architecture", "model", "settings"), ROWS, ids=str)
def test_rows_of_a_table_with_and_without_the_table(architecture, model, settings, saving, make, load, compute, agree):
    """With it, PEFT also writes the table, and for a tied head the table and the rows again."""
    folder, outputs = make(architecture, model, settings, saving=saving)
    backbone = load(architecture)
    receipt = backbone.load_lora_weights(folder)
    assert receipt.unused == ()
    assert "token_embedding/embeddings" not in receipt.trained
    agree(compute(backbone, architecture), outputs, architecture)


def test_rows_and_a_lora_of_one_table_are_not_made_by_peft(make):
    """So a file with both is refused here, too."""
    with pytest.raises(AssertionError, match=r"trainable_token_indices cannot be applied to .*lora\.layer\.Embedding"):
        make("bert", "AutoModel", {"target_modules": ["word_embeddings"], "trainable_token_indices": [4]})


@pytest.mark.parametrize("settings", [{}, {"target_modules": ["c_attn", "wte"]}, {"modules_to_save": ["wte"]}], ids=str)
def test_a_resized_vocabulary_names_both_sizes_and_the_argument(settings, make, load, compute):
    folder, _ = make("gpt2", "AutoModelForCausalLM", settings, size=64, saving=SAVES_TABLES)
    backbone = load("gpt2")
    rows = backbone.token_embedding.input_dim
    before = compute(backbone, "gpt2")
    for strict in (True, False):
        with pytest.raises(AdapterMismatchError, match="vocabulary_size=64") as caught:
            backbone.load_lora_weights(folder, strict=strict)
        assert "64, " in str(caught.value)
        assert f"{rows}, " in str(caught.value)
    assert all(np.array_equal(compute(backbone, "gpt2")[name], array) for name, array in before.items())


@pytest.mark.parametrize(
    "settings",
    [
        {"init_lora_weights": "pissa"},
        {"init_lora_weights": "pissa_niter_4"},
        {"init_lora_weights": "olora"},
        {"init_lora_weights": "pissa", "rank_pattern": {"query": 3}},
        {"init_lora_weights": "pissa", "use_rslora": True},
    ],
    ids=str,
)
def test_an_adapter_that_peft_converted_to_plain_lora(settings, ask, transformers_peer, load, compute, agree, tmp_path):
    config = {"r": 2, "lora_alpha": 6, "target_modules": ["query", "value"]} | settings
    folder, adapter = GOLDEN / "bert" / "transformers", tmp_path / "theirs"
    there = ask(transformers_peer, "make_converted_adapter", folder, "bert", adapter=str(adapter), config=config)
    backbone = load("bert")
    with pytest.raises(LoraConfigError, match="path_initial_model_for_weight_conversion"):
        backbone.load_lora_weights(f"{adapter}_unconverted")
    backbone.load_lora_weights(adapter)
    agree(compute(backbone, "bert"), there["outputs"], "bert")


@pytest.mark.parametrize("settings", [{"init_lora_weights": "eva", "eva_config": {"rho": 1.0}}], ids=str)
def test_settings_of_an_initialisation_do_not_matter_afterwards(settings, make, load, compute, agree):
    folder, outputs = make("bert", "AutoModel", settings)
    backbone = load("bert")
    backbone.load_lora_weights(folder)
    agree(compute(backbone, "bert"), outputs, "bert")


def test_each_field_and_type_of_peft_is_known(transformers_peer):
    """A field that is new in PEFT needs a decision: whether it changes what an adapter computes."""
    known = transformers_peer("known_to_peft")
    assert set(known["fields"]) <= peft_config._HONOURED | peft_config._DESCRIPTIVE | peft_methods.FIELDS.keys()
    assert set(known["types"]) >= peft_methods.CONVERTIBLE | peft_methods.UNMERGEABLE


def test_two_adapters_of_one_file_are_mixed_as_peft_adds_them(make, load, compute, agree):
    """The same adapter at two strengths whose sum is 1."""
    folder, outputs = make("bert", "AutoModel", {})
    backbone = load("bert")
    for name in ("one", "two"):
        backbone.load_lora_weights(folder, name)
    backbone.activate_lora({"one": 0.25, "two": 0.75})
    agree(compute(backbone, "bert"), outputs, "bert")


@pytest.mark.parametrize("with_base", [False, True])
def test_a_pickle_is_converted(make, load, compute, agree, with_base):
    folder, outputs = make("bert", "AutoModel", {}, saving={"safe_serialization": False})
    with pytest.raises(WeightsFileError, match=rf"adapter_model\.bin.*vertebra lora convert {folder} TARGET"):
        load("bert").load_lora_weights(folder)
    base = ["--base", str(GOLDEN / "bert" / "transformers")] if with_base else []
    assert main(["lora", "convert", str(folder), str(folder.parent / "converted"), *base]) == 0
    backbone = load("bert")
    backbone.load_lora_weights(folder.parent / "converted")
    agree(compute(backbone, "bert"), outputs, "bert")


def test_the_folder_of_an_adapter_with_a_name_is_suggested(make, load):
    folder, _ = make("bert", "AutoModel", {})
    (folder.parent / "checkpoint").mkdir()
    folder.rename(folder.parent / "checkpoint" / "legal")
    with pytest.raises(AdapterNotFoundError) as caught:
        load("bert").load_lora_weights(folder.parent / "checkpoint")
    assert caught.value.suggestions == [str(folder.parent / "checkpoint" / "legal")]
