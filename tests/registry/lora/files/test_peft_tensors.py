"""Names of tensors in PEFT's files: one meaning is accepted and told, several are refused, and a head is told apart."""

import json
import shutil

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from vertebra.errors import AdapterMismatchError

pytestmark = pytest.mark.keras(once=True)

CONFIG, TENSORS = "adapter_config.json", "adapter_model.safetensors"
PREFIX = "base_model.model."


@pytest.fixture
def renamed(golden, tmp_path):
    """A copy of PEFT's adapter with other names or further tensors; returns its folder."""

    def make(rename=lambda name: name, extra=None, method="peft_lora", **config):
        folder = tmp_path / "renamed"
        shutil.copytree(golden / method, folder)
        tensors = {rename(name): array for name, array in load_file(folder / TENSORS).items()}
        save_file(tensors | (extra or {}), folder / TENSORS)
        fields = json.loads((folder / CONFIG).read_text()) | config
        (folder / CONFIG).write_text(json.dumps(fields))
        return folder

    return make


@pytest.fixture
def outputs(golden, run, plain):
    """The outputs of the reference BERT with PEFT's adapter, from a file whose names are PEFT's own."""

    def compute(method):
        plain.load_lora_weights(golden / method)
        found = run(plain)["sequence_output"]
        plain.unload_lora()
        return found

    return compute


def named(adapter):
    """Puts the name of an adapter back, as in `model.state_dict()`."""

    def rename(name):
        for matrix in ("lora_A", "lora_B", "lora_magnitude_vector"):
            name = name.replace(f".{matrix}", f".{matrix}.{adapter}")
        return name + ".weight" if name.endswith(f"magnitude_vector.{adapter}") else name

    return rename


@pytest.mark.parametrize("method", ["peft_lora", "peft_dora", "peft_rslora"])
@pytest.mark.parametrize(
    ("rename", "note"),
    [
        (named("default"), "'default'"),
        (named("my_legal"), "'my_legal'"),
        (named("weight"), "'weight'"),
        (lambda name: name.removeprefix(PREFIX), None),
        (lambda name: name.replace(PREFIX, "bert."), None),
        (lambda name: f"module.{name}", "'module.base_model.model.'"),
        (lambda name: f"_orig_mod.{name}", "_orig_mod"),
        (lambda name: name.replace(PREFIX, f"{PREFIX}_orig_mod."), "_orig_mod"),
        (lambda name: name.replace(".attention.", "._orig_mod.attention."), "_orig_mod"),
        (lambda name: f"_fsdp_wrapped_module.{name.replace('.self.', '.self._fsdp_wrapped_module.')}", "_fsdp"),
        (lambda name: f"{PREFIX}{name}", f"'{PREFIX}{PREFIX}'"),
        (lambda name: name.replace(PREFIX, f"{PREFIX}auto_model."), "'base_model.model.auto_model.'"),
        (lambda name: name.replace(PREFIX, f"{PREFIX}language_model.bert."), "'base_model.model.language_model.'"),
    ],
)
def test_names_with_one_meaning_are_read_and_told(renamed, outputs, plain, run, rename, note, method):
    expected = outputs(method)
    receipt = plain.load_lora_weights(renamed(rename, method=method))
    assert np.array_equal(run(plain)["sequence_output"], expected)
    assert (receipt.notes == ()) == (note is None)
    assert note is None or note in str(receipt)


def test_the_config_names_modules_with_the_prefix_of_the_wrapper(renamed, plain, adapters):
    folder = renamed(
        lambda name: name.replace(PREFIX, f"{PREFIX}tower."),
        alpha_pattern={"^tower.encoder.layer.0.attention.self.query": 12},
    )
    plain.load_lora_weights(folder)
    assert [layer.scale for layer in adapters(plain).values()] == [3, 2, 2, 2]


@pytest.mark.parametrize(
    ("rename", "extra", "problem"),
    [
        (lambda n: n, {f"{PREFIX}encoder.layer.0.attention.self.query.lora_A.b.weight": (4, 16)}, "a tensor twice"),
        (
            lambda n: named("a" if "query" in n else "b")(n),
            {},
            "several adapters: ",
        ),
        (
            lambda n: n.replace(PREFIX, f"{PREFIX}{'query' if 'layer.0' in n else 'document'}_tower."),
            {},
            "several parts of a larger model",
        ),
        (lambda n: n, {f"{PREFIX}bert.encoder.layer.0.attention.self.query.lora_A.weight": (4, 16)}, "a tensor twice"),
        (
            lambda n: n,
            {f"{PREFIX}{top}embeddings.LayerNorm.weight": (16,) for top in ("", "bert.")},
            "a tensor twice",
        ),
        (lambda n: n.replace(".lora_A.weight", "_A.weight").replace(".lora_B.weight", "_B.weight"), {}, "no LoRA"),
        (lambda n: n, {f"{PREFIX}encoder.layer.9.attention.self.query.lora_A.weight": (4, 16)}, "no layer"),
        (lambda n: n, {f"{PREFIX}encoder.layer.0.crossattention.self.query.lora_A.weight": (4, 16)}, "no layer"),
    ],
)
def test_names_without_one_meaning_are_refused_and_nothing_changes(renamed, plain, state, rename, extra, problem):
    before = state(plain)
    folder = renamed(rename, {name: np.full(shape, i, "float32") for i, (name, shape) in enumerate(extra.items())})
    with pytest.raises(AdapterMismatchError, match=problem) as caught:
        plain.load_lora_weights(folder)
    assert "strict=False" not in str(caught.value)
    assert state(plain) == before


def test_a_tensor_twice_with_the_same_values_is_one(renamed, plain):
    """PEFT writes the biases of fully trained modules twice, with bias="all"."""
    bias = np.ones(16, "float32")
    names = ("pooler.dense.bias", "pooler.modules_to_save.default.dense.bias")
    receipt = plain.load_lora_weights(renamed(extra={f"{PREFIX}{name}": bias for name in names}))
    assert receipt.trained == ("pooled_dense/bias",)


HEADS = [
    ["classifier.weight", "classifier.bias"],
    ["score.modules_to_save.default.weight"],
    ["cls.predictions.transform.dense.lora_A.weight", "cls.predictions.transform.dense.lora_B.weight"],
    ["lm_head.lora_A.weight", "lm_head.lora_B.weight"],
    ["v_head.summary.weight"],
    ["qa_outputs.lora_A.default.weight", "qa_outputs.lora_B.default.weight"],
]


@pytest.mark.parametrize("names", HEADS, ids=lambda names: names[0])
def test_a_head_is_left_out_by_strict_false_as_the_error_says(renamed, outputs, plain, run, names):
    expected = outputs("peft_lora")
    head = {f"{PREFIX}{name}": np.ones((4, 4), "float32") for name in names}
    folder = renamed(extra=head)
    with pytest.raises(AdapterMismatchError, match=r"strict=False \(on the command line, --no-strict\)") as caught:
        plain.load_lora_weights(folder)
    assert sorted(caught.value.names) == sorted(head)
    receipt = plain.load_lora_weights(folder, strict=False)
    assert sorted(receipt.unused) == sorted(head)
    assert np.array_equal(run(plain)["sequence_output"], expected)


@pytest.mark.parametrize(
    ("name", "shape", "texts"),
    [
        ("embeddings.word_embeddings.weight", (103, 16), ["[103, 16]", "[101, 16]", "vocabulary_size=103"]),
        ("bert.embeddings.word_embeddings.base_layer.weight", (90, 16), ["[90, 16]", "vocabulary_size=90"]),
        ("embeddings.word_embeddings.modules_to_save.default.weight", (103, 16), ["vocabulary_size=103"]),
        ("embeddings.position_embeddings.weight", (64, 16), ["[64, 16]", "max_sequence_length=64"]),
        ("embeddings.word_embeddings.weight", (101, 8), ["[101, 8]", "the architecture that it was trained on"]),
        ("pooler.dense.weight", (16, 8), ["[16, 8]", "[16, 16]", "the architecture that it was trained on"]),
        ("embeddings.LayerNorm.weight", (8,), ["[8]", "[16]"]),
    ],
)
@pytest.mark.parametrize("strict", [True, False])
def test_a_known_weight_of_another_shape_is_never_a_head(renamed, plain, state, name, shape, texts, strict):
    before = state(plain)
    folder = renamed(extra={f"{PREFIX}{name}": np.ones(shape, "float32")})
    with pytest.raises(AdapterMismatchError) as caught:
        plain.load_lora_weights(folder, strict=strict)
    assert all(text in str(caught.value) for text in texts)
    assert state(plain) == before
