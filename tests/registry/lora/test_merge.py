"""Merging, unmerging and merged copies: outputs, restored values, and refusals."""

import keras
import numpy as np
import pytest

import vertebra
from vertebra._discovery.catalog import STRATEGIES, catalog
from vertebra._lora.state import adapters_of
from vertebra._weights.layer_paths import weight_names
from vertebra.errors import LoraStateError

pytestmark = pytest.mark.keras

STRATEGIES_INSTALLED = sorted({entry.name for entry in catalog(STRATEGIES)} - {"trainable_tokens"})  # for tables only


@pytest.fixture
def adapted(backbone):
    """Returns a function that gives the reference BERT an adapter with random values."""

    def adapt(backbone=backbone, name="default", **settings):
        backbone.enable_lora(3, ["all-linear", "token_embedding"], name=name, **settings)
        random = np.random.default_rng(0)
        for variable in adapters_of(backbone).layers_of(name).flat():
            if variable.trainable:
                variable.assign(variable.numpy() + random.normal(size=variable.shape) * 0.1)
        return backbone

    return adapt


def gap(found, expected):
    return max(np.abs(found[key].astype("float32") - expected[key].astype("float32")).max() for key in expected)


def bits(arrays):
    return {name: array.tobytes() for name, array in arrays.items()}


@pytest.mark.parametrize("strategy", STRATEGIES_INSTALLED)
def test_merged_it_computes_the_same_and_unmerged_it_is_what_it_was(adapted, run, values, strategy):
    backbone = adapted(strategy=strategy)
    before, outputs = values(backbone), run(backbone)
    receipt = backbone.merge_lora()
    assert gap(run(backbone), outputs) <= 1e-5
    assert len(receipt.layers) == 14
    assert 0 < receipt.largest_error <= 2e-7 * receipt.largest_value
    assert not [name for name in values(backbone) if "lora" in name]
    backbone.unmerge_lora()
    assert bits(values(backbone)) == bits(before)
    assert bits(run(backbone)) == bits(outputs)


def test_the_error_of_a_kernel_in_half_precision_is_reported(golden, adapted, run, values):
    backbone = adapted(vertebra.Backbone.from_preset(golden / "transformers", dtype="bfloat16"))
    before, outputs = values(backbone), run(backbone)
    receipt = backbone.merge_lora()
    assert 1e-4 <= receipt.largest_error <= receipt.largest_value / 2**8
    assert f"{receipt.largest_error:.1e}" in str(receipt)
    assert gap(run(backbone), outputs) <= 0.1
    backbone.unmerge_lora()
    assert bits(values(backbone)) == bits(before)


def test_several_are_merged_as_strongly_as_they_act(adapted, run):
    backbone = adapted(adapted(name="a"), name="b")
    backbone.activate_lora({"a": 0.5, "b": -0.25})
    outputs = run(backbone)
    assert backbone.merge_lora().adapters == ("a", "b")
    assert gap(run(backbone), outputs) <= 1e-5
    backbone.unmerge_lora()
    assert gap(run(backbone), outputs) == 0


def test_while_merged_adapters_do_not_change_and_can_be_saved(adapted, run, tmp_path, golden):
    backbone = adapted()
    outputs = run(backbone)
    backbone.merge_lora()
    changes = (
        backbone.merge_lora,
        backbone.disable_lora,
        backbone.unload_lora,
        lambda: backbone.enable_lora(2, name="other"),
        lambda: backbone.activate_lora("default"),
    )
    for change in changes:
        with pytest.raises(LoraStateError, match="are merged"):
            change()
    backbone.save_lora_weights(tmp_path / "adapter.safetensors")
    fresh = vertebra.Backbone.from_preset(golden / "transformers")
    fresh.load_lora_weights(tmp_path / "adapter.safetensors")
    assert gap(run(fresh), outputs) == 0


@pytest.mark.parametrize("verb", ["load_weights", "set_weights", "load_state_dict"])
def test_while_merged_no_weights_are_loaded(adapted, runtime, values, tmp_path, verb):
    """Unmerging would discard them."""
    backbone = adapted()
    if verb == "load_state_dict" and runtime != "torch":
        pytest.skip("only on torch a backbone is a module")
    backbone.merge_lora()
    backbone.save_weights(tmp_path / "merged.weights.h5")
    before = values(backbone)
    given = {
        "load_weights": lambda: tmp_path / "merged.weights.h5",
        "set_weights": lambda: [value + 1 for value in backbone.get_weights()],
        "load_state_dict": lambda: {name: tensor + 1 for name, tensor in backbone.state_dict().items()},
    }[verb]()
    with pytest.raises(LoraStateError, match=r"are merged \(default\)\. Call unmerge_lora\(\) first\. .*False\)"):
        getattr(backbone, verb)(given)
    assert bits(values(backbone)) == bits(before)
    backbone.unmerge_lora()
    if verb != "load_weights":  # the file has merged kernels, and no adapter
        backbone.unload_lora()
        getattr(backbone, verb)(given if verb == "set_weights" else {n: t for n, t in given.items() if "lora" not in n})


@pytest.mark.keras(once=True)
def test_a_model_that_is_trained_while_merged_is_merged_for_good(adapted):
    backbone = adapted()
    backbone.merge_lora()
    with pytest.raises(LoraStateError, match=r"To train the merged model .* merge with merge_lora\(reversible=False\)"):
        backbone.set_weights(backbone.get_weights())  # as EarlyStopping(restore_best_weights=True) does
    backbone.unmerge_lora()
    backbone.merge_lora(reversible=False)
    backbone.set_weights(backbone.get_weights())


@pytest.mark.parametrize("weight", ["kernel", "bias"])
def test_a_weight_that_was_changed_while_merged_is_not_overwritten(backbone, values, weight):
    backbone.enable_lora(2, bias="lora")
    before = values(backbone)
    backbone.merge_lora()
    name = f"transformer_layer_1/self_attention/value/{weight}"
    variable = backbone.named_weights()[name]
    merged = variable.numpy()
    variable.assign(merged + 1)
    with pytest.raises(LoraStateError, match=f"changed after merging.*: {name}"):
        backbone.unmerge_lora()
    assert np.array_equal(variable.numpy(), merged + 1)
    variable.assign(merged)
    backbone.unmerge_lora()
    assert bits(values(backbone)) == bits(before)


@pytest.mark.parametrize("format", ["native", "transformers", "kerashub"])
def test_a_merged_backbone_is_saved_as_a_preset_of_its_own(golden, arguments, adapted, run, tmp_path, format):
    base = vertebra.models.BertBackbone(**arguments, activation="gelu_approximate")
    backbone = adapted(base)
    outputs = run(backbone)
    backbone.merge_lora()
    backbone.save_to_preset(tmp_path / "merged", format=format)
    again = vertebra.Backbone.from_preset(tmp_path / "merged")
    assert again.lora_adapters == {}
    assert gap(run(again), outputs) <= 1e-5


def test_for_good_the_adapters_are_gone_and_the_model_trains_again(adapted, run, train):
    backbone = adapted()
    outputs = run(backbone)
    assert not backbone.merge_lora(reversible=False).reversible
    assert gap(run(backbone), outputs) <= 1e-5
    assert backbone.lora_adapters == {}
    assert len(backbone.trainable_weights) == len(backbone.weights)
    with pytest.raises(LoraStateError, match="has no LoRA adapter"):
        backbone.unmerge_lora()
    backbone.enable_lora(2)


def test_base_weights_of_the_adapter_are_merged_and_unmerged_with_it(backbone, run, train, values):
    base = values(backbone)
    backbone.enable_lora(2, bias="lora", train=["pooled_dense"])
    train(backbone, steps=2)
    outputs = run(backbone)
    backbone.merge_lora()
    assert gap(run(backbone), outputs) <= 1e-5
    backbone.unmerge_lora()
    assert gap(run(backbone), outputs) == 0
    backbone.unload_lora()
    assert bits(values(backbone)) == bits(base)


def test_what_cannot_be_merged_is_refused(adapted):
    backbone = adapted()
    backbone.disable_lora()
    with pytest.raises(LoraStateError, match="No adapter is active"):
        backbone.merge_lora()
    with pytest.raises(LoraStateError, match="No adapter is merged"):
        backbone.unmerge_lora()


@pytest.mark.parametrize("fails_at", [0, 1, 5, 13])
def test_merging_that_fails_leaves_everything_as_it_was(adapted, run, values, monkeypatch, fails_at):
    from vertebra._lora.layers.linear_view import DenseView, EmbeddingView

    backbone = adapted()
    before, outputs = values(backbone), run(backbone)
    calls = iter(range(99))
    for kind in (DenseView, EmbeddingView):
        original = kind.replace

        def replace(view, matrix, original=original):
            if next(calls) == fails_at:
                raise MemoryError
            original(view, matrix)

        monkeypatch.setattr(kind, "replace", replace)
    with pytest.raises(MemoryError):
        backbone.merge_lora()
    assert bits(values(backbone)) == bits(before)
    assert bits(run(backbone)) == bits(outputs)
    monkeypatch.undo()
    backbone.merge_lora()


def test_a_merged_copy_is_another_backbone(adapted, run, values):
    backbone = adapted()
    before, outputs = values(backbone), run(backbone)
    copy = backbone.merged_copy()
    assert gap(run(copy), outputs) <= 1e-5
    assert bits(values(backbone)) == bits(before)
    assert copy.lora_adapters == {}
    assert not {id(weight) for weight in weight_names(copy).values()} & {id(weight) for weight in backbone.weights}
    copy.get_layer("token_embedding").embeddings.assign(np.zeros((101, 16)))
    assert bits(run(backbone)) == bits(outputs)


def test_einsum_layers_are_merged_too(toy_class, ids, run):
    toy = toy_class()
    toy.enable_lora(2, ["attention/*", "dense"], seed=1)
    random = np.random.default_rng(0)
    for variable in toy.trainable_weights:
        variable.assign(random.normal(size=variable.shape) * 0.3)
    outputs = run(toy, ids)
    toy.merge_lora()
    assert np.abs(run(toy, ids) - outputs).max() <= 1e-5
    assert isinstance(toy.get_layer("attention").query, keras.layers.EinsumDense)
