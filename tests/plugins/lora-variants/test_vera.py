"""VeRA: two random matrices shared by all layers; each layer uses as many rows and columns as it has."""

import json

import numpy as np
import pytest

import vertebra
from vertebra._weights.safetensors.format import MappedTensors

pytestmark = pytest.mark.keras

LARGEST = 32  # the tiny BERT's feed-forward layers are 16 × 32 and 32 × 16


@pytest.fixture
def adapted(backbone):
    """The tiny BERT with layers of three sizes adapted."""
    backbone.enable_lora(4, ["query", "mlp"], strategy="vera", seed=3)
    return backbone


def test_all_layers_share_one_pair_of_matrices_of_the_largest_size(adapted, adapter_layers):
    shared = {id(adapter_layer.shared) for adapter_layer in adapter_layers(adapted).values()}
    assert len(shared) == 1
    matrices = next(iter(adapter_layers(adapted).values())).shared
    assert (tuple(matrices.a.shape), tuple(matrices.b.shape)) == ((LARGEST, 4), (4, LARGEST))


def test_only_the_vectors_train(adapted):
    shapes = sorted({tuple(variable.shape) for variable in adapted.trainable_weights})
    assert shapes == [(4,), (16,), (32,)]
    receipt = adapted.lora_adapters["default"]
    vectors = 2 * ((4 + 16) + (4 + 32) + (4 + 16))  # query, up and down in each of two layers
    assert receipt.parameters_trained == vectors
    assert receipt.parameters_added == vectors + 2 * LARGEST * 4


def test_the_matrices_are_of_he_and_not_each_others(adapted, adapter_layers):
    shared = next(iter(adapter_layers(adapted).values())).shared
    a, b = shared.a.numpy(), shared.b.numpy()
    for matrix, inputs in ((a, LARGEST), (b, 4)):
        bound = np.sqrt(6 / inputs)
        assert 0.9 * bound < np.abs(matrix).max() <= bound
    assert not np.array_equal(a / np.abs(a).max(), b.T / np.abs(b).max())


def test_the_vectors_start_as_in_the_paper(backbone, adapter_layers):
    backbone.enable_lora(4, strategy="vera", d_initial=0.25)
    for adapter_layer in adapter_layers(backbone).values():
        assert (adapter_layer.d.numpy() == 0.25).all()
        assert not adapter_layer.b.numpy().any()


@pytest.mark.parametrize(("alpha", "scale"), [(None, 1), (6, 2)])
def test_it_computes_the_papers_equation(alpha, scale, single, adapter_layer, call, disturb):
    model, inputs = single("dense", activation=None)
    before, _ = call(model, inputs)
    vertebra.lora.enable(model, 3, ["target"], strategy="vera", alpha=alpha)
    disturb(model)
    own = adapter_layer(model)
    path = inputs @ own.shared.a.numpy() * own.d.numpy() @ own.shared.b.numpy() * own.b.numpy()
    np.testing.assert_allclose(call(model, inputs)[0], before + scale * path, atol=1e-5)


def test_a_smaller_layer_takes_the_first_rows_and_columns(adapted, adapter_layers):
    for adapter_layer in adapter_layers(adapted).values():
        a, b = adapter_layer.strategy.factors(adapter_layer, adapter_layer.view)
        rows, columns = adapter_layer.view.in_features, adapter_layer.view.out_features
        np.testing.assert_allclose(
            np.asarray(a.detach() if hasattr(a, "detach") else a), adapter_layer.shared.a.numpy()[:rows] * 0.1
        )
        assert tuple(b.shape) == (4, columns)


def test_smaller_ranks_take_the_first_ones(backbone, adapter_layers):
    backbone.enable_lora(4, strategy="vera", rank_pattern={"query": 2})
    shapes = {tuple(adapter_layer.d.shape) for adapter_layer in adapter_layers(backbone).values()}
    assert shapes == {(4,), (2,)}
    assert next(iter(adapter_layers(backbone).values())).shared.a.shape[1] == 4


def test_the_matrices_are_in_the_file_once_and_come_back(adapted, golden, disturb, run, tmp_path):
    disturb(adapted)
    expected = run(adapted)
    adapted.save_lora_weights(tmp_path / "vera.safetensors")
    header = MappedTensors(tmp_path / "vera.safetensors").header
    assert [name for name in header.entries if name.startswith("*")] == ["*/lora/a", "*/lora/b"]
    assert json.loads(header.metadata["vertebra.adapter"])["config"]["strategy"] == "vera"
    fresh = vertebra.Backbone.from_preset(golden / "transformers")
    fresh.load_lora_weights(tmp_path / "vera.safetensors")
    assert all(np.array_equal(run(fresh)[name], expected[name]) for name in expected)
