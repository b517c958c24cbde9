"""The private Keras APIs, one by one: the name of a failing test names the API that changed."""

import ast
import pickle
import re
from pathlib import Path

import keras
import numpy as np
import pytest

from vertebra import layers
from vertebra._keras import internals
from vertebra._weights.abstract import abstract_build

pytestmark = pytest.mark.keras

TESTED = set()
"""The private Keras names that the tests below cover."""


def of(*parts):
    """Adds the private Keras names that a test covers to its id."""
    TESTED.update(name for part in parts for name in re.findall(r"\w+", part))
    return pytest.mark.parametrize("part_of_keras", [" ".join(parts)], indirect=True)


@pytest.fixture(autouse=True)
def part_of_keras(request):
    """The names given to `of`."""
    return getattr(request, "param", "")


def dense(**arguments):
    layer = keras.layers.Dense(3, **arguments)
    layer.build((None, 2))
    return layer


def network():
    inner = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3, name="low")], name="inner")
    return keras.Sequential([keras.Input((2,)), inner, keras.layers.Dense(1, name="high")])


def test_every_private_part_has_a_test():
    """The names are collected from the module's source: attributes, imports from `keras.src`, and string constants."""
    tree = ast.parse(Path(internals.__file__).read_text(encoding="utf-8"))
    own = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr.startswith("_"):
            found.add(node.attr)
        elif isinstance(node, ast.ImportFrom) and str(node.module).startswith("keras."):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.Constant) and re.fullmatch(r"[a-z]*(_[a-z0-9]+)+", str(node.value)):
            found.add(node.value)
    assert len(found) > 15
    assert found - own <= TESTED


# === Names in files ===


@of("to_snake_case")
def test_snake_case():
    assert internals.snake_case("BatchNormalization") == keras.layers.BatchNormalization().name.rstrip("_0123456789")


@of("KerasSaveable")
def test_is_saved():
    assert internals.is_saved(dense())
    assert not internals.is_saved([dense()])


@of("_walk_saveable")
def test_saved_attributes_begin_with_the_layers_of_a_model():
    model = network()
    name, layers = internals.saved_attributes(model)[0]
    assert (name, list(layers)) == ("layers", model.layers)


# === Variables ===


@of("Variable._value")
def test_has_value():
    with abstract_build():
        abstract = dense()
    assert not internals.has_value(abstract.kernel)
    assert internals.has_value(dense().kernel)


@of("Variable._initialize")
def test_give_value_takes_the_tensor_as_it_is(address):
    with abstract_build():
        abstract = dense()
    tensor = keras.ops.ones((2, 3))
    internals.give_value(abstract.kernel, tensor)
    assert address(abstract.kernel.value) == address(tensor)


@of("Variable._initializer")
def test_give_value_makes_the_initialiser_superfluous():
    with abstract_build():
        abstract = dense()
    assert callable(abstract.kernel._initializer)
    internals.give_value(abstract.kernel, keras.ops.ones((2, 3)))
    assert vars(dense().kernel).keys() == vars(abstract.kernel).keys()  # no attribute that Keras has not
    assert dense().kernel._initializer is abstract.kernel._initializer is None


@of("Variable._layout")
def test_a_divided_value_brings_the_layout_of_later_ones(runtime):
    with abstract_build():
        abstract = dense()
    tensor = keras.ops.ones((2, 3))
    internals.give_divided(abstract.kernel, tensor)
    assert abstract.kernel._layout == getattr(tensor, "sharding", None)
    assert (abstract.kernel._layout is not None) == (runtime == "jax")
    abstract.kernel.assign(np.zeros((2, 3)))
    assert not abstract.kernel.numpy().any()
    assert vars(dense().kernel).keys() == vars(abstract.kernel).keys()  # no attribute that Keras has not


@of("Variable._deferred_initialize")
def test_run_initializer():
    with abstract_build():
        abstract = dense(bias_initializer="ones")
    internals.run_initializer(abstract.bias)
    assert np.array_equal(abstract.bias.numpy(), np.ones(3))


@of("global_state.uninitialized_variables")
def test_pending_variables_are_the_ones_that_keras_initialises_next():
    with keras.StatelessScope(initialize_variables=False):
        waiting = dense()
    assert internals.pending_variables() == [waiting.kernel, waiting.bias]
    del internals.pending_variables()[1]
    with keras.StatelessScope():
        pass
    assert internals.pending_variables() == []
    assert [internals.has_value(variable) for variable in (waiting.kernel, waiting.bias)] == [True, False]


@of("global_state.set_global_attribute")
def test_a_block_has_pending_variables_of_its_own_whose_number_can_be_limited():
    def admit_one(count):
        if count == 1:
            raise RuntimeError("one is enough")

    with keras.StatelessScope(initialize_variables=False):
        waiting = dense()
        with internals.own_pending(lambda count: None) as own:
            inner = dense()
        with pytest.raises(RuntimeError, match="one is enough"), internals.own_pending(admit_one) as limited:
            dense()
    assert own == [inner.kernel, inner.bias]
    assert len(limited) == 1
    assert internals.pending_variables() == [waiting.kernel, waiting.bias]
    internals.pending_variables().clear()


@of("Variable._autocast")
def test_is_autocast():
    assert internals.is_autocast(keras.Variable(np.ones(2)))
    assert not internals.is_autocast(keras.Variable(np.ones(2), autocast=False))


@of("AutocastScope")
def test_autocast():
    variable = keras.Variable(np.ones(2, "float32"))
    with internals.autocast("float16"):
        assert keras.backend.standardize_dtype(variable.value.dtype) == "float16"
        with internals.autocast(None):
            assert keras.backend.standardize_dtype(variable.value.dtype) == "float32"
    assert keras.backend.standardize_dtype(variable.value.dtype) == "float32"


# === Layers below a layer, and their variables ===


@of("Layer._flatten_layers")
def test_layers_below_a_layer():
    model = network()
    inner = model.get_layer("inner")
    below = {"inner", "low", "high"}
    assert {layer.name for layer in internals.all_layers(model, include_self=False)} >= below
    assert internals.all_layers(model)[0] is model
    assert [layer.name for layer in internals.child_layers(model) if layer.name in below] == ["inner", "high"]
    assert inner.get_layer("low") in internals.child_layers(inner)


@of("Layer._trainable_variables", "Layer._non_trainable_variables")
def test_tracked_weights():
    model = network()
    assert internals.tracked_weights(model.get_layer("inner")) == []
    layer = keras.layers.BatchNormalization()
    layer.build((None, 2))
    assert [variable.name for variable in internals.tracked_weights(layer)] == [
        *("gamma", "beta"),
        *("moving_mean", "moving_variance"),
    ]


@of("Layer._seed_generators")
def test_seed_generators():
    layer = keras.layers.Dropout(0.5, seed=3)
    assert internals.seed_generators(layer) == [layer.seed_generator]
    assert internals.seed_generators(dense()) == []


@of("Layer._trainable")
def test_set_trainable_is_about_the_layer_alone():
    model = network()
    internals.set_trainable(model, False)
    assert not model.trainable
    assert model.trainable_weights == []
    assert all(layer.trainable for layer in internals.all_layers(model, include_self=False))
    assert all(weight.trainable for weight in model.weights)


@of("Layer._post_build")
def test_track_parameters(runtime):
    with abstract_build():
        layer = dense()
    for variable in layer.variables:
        internals.give_value(variable, keras.ops.ones(variable.shape))
    internals.track_parameters(layer)
    if runtime == "torch":
        assert {id(parameter) for parameter in layer.parameters()} == {id(weight.value) for weight in layer.weights}


@of("Layer._tracker")
def test_a_built_layer_takes_state_only_while_it_is_unlocked():
    layer, added = dense(), dense(name="added")
    with pytest.raises(ValueError, match="cannot add new elements of state"):
        layer.added = added
    with internals.unlocked(layer):
        layer.added = added
    assert len(layer.weights) == 4
    with pytest.raises(ValueError, match="cannot add new elements of state"):
        layer.another = dense()


@of("Layer._tracker")
def test_a_layer_is_locked_again_after_an_error():
    layer = dense()
    with pytest.raises(ZeroDivisionError), internals.unlocked(layer):
        _ = 1 / 0
    with pytest.raises(ValueError, match="cannot add new elements of state"):
        layer.added = dense()


@of("Layer._tracker")
def test_untrack():
    layer, added = dense(), dense()
    with internals.unlocked(layer):
        layer.added = added
    internals.untrack(layer, added)
    internals.untrack(layer, added)
    assert len(layer.weights) == 2
    assert layer.added is added


# === Kernels ===


@of("Dense._kernel", "EinsumDense._kernel", "Conv1D._kernel", "Embedding._embeddings")
@pytest.mark.parametrize(
    ("layer", "inputs", "public"),
    [
        (keras.layers.Dense(2), (None, 4), "kernel"),
        (keras.layers.EinsumDense("ab,bc->ac", 2), (None, 4), "kernel"),
        (keras.layers.Conv1D(2, 3), (None, 8, 4), "kernel"),
        (keras.layers.Embedding(4, 2), (None, 8), "embeddings"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, keras.Layer) else "",
)
def test_kernel_variable(layer, inputs, public):
    assert internals.kernel_variable(layer) is None
    layer.build(inputs)
    assert internals.kernel_variable(layer) is getattr(layer, public)


@of("Dense._kernel", "Embedding._embeddings")
@pytest.mark.parametrize("layer", [keras.layers.Dense(2), keras.layers.Embedding(4, 2)], ids=["Dense", "Embedding"])
def test_the_kernel_of_a_quantised_layer_is_the_variable_of_integers(layer):
    layer.build((None, 4))
    layer.quantize("int8")
    assert internals.kernel_variable(layer).dtype == "int8"


def test_a_layer_without_a_kernel_has_no_kernel_variable():
    layer = keras.layers.LayerNormalization()
    layer.build((None, 4))
    assert internals.kernel_variable(layer) is None


@of("Layer._untrack_variable", "ReversibleEmbedding.reverse_embeddings")
@pytest.mark.parametrize(
    ("layer", "names"),
    [
        (keras.layers.Dense(2, use_bias=False), ["kernel"]),
        (keras.layers.Embedding(4, 2), ["embeddings"]),
        (keras.layers.ReversibleEmbedding(4, 2), ["embeddings"]),
        (keras.layers.ReversibleEmbedding(4, 2, tie_weights=False), ["embeddings", "reverse_embeddings"]),
    ],
    ids=["Dense", "Embedding", "tied", "untied"],
)
def test_remove_kernel(layer, names):
    layer.build((None, 4))
    with internals.unlocked(layer):
        removed = internals.remove_kernel(layer)
    assert [variable.name for variable in removed] == names
    assert internals.kernel_variable(layer) is None
    assert layer.variables == []


@of("Dense._int4_block_size", "EinsumDense._int4_block_size", "Embedding._int4_block_size")
@pytest.mark.parametrize("block_size", [2, None])
@pytest.mark.parametrize(
    "make",
    [
        lambda: keras.layers.Dense(2),
        lambda: keras.layers.EinsumDense("ab,bc->ac", 2),
        lambda: keras.layers.Embedding(4, 2),
    ],
    ids=["Dense", "EinsumDense", "Embedding"],
)
def test_int4_block_size(make, block_size):
    layer = make()
    layer.build((None, 4))
    layer.quantize("int4", config=keras.quantizers.Int4QuantizationConfig(block_size=block_size))
    assert internals.int4_block_size(layer) == block_size


# === Calls and training ===


class Asking(keras.layers.Layer):
    """Records the call state within its call, which has no argument `training`."""

    def call(self, inputs):
        self.found = internals.is_calling(), internals.is_call_training(), layers.is_calling()
        return inputs


@of("global_state.current_call_ctx")
@pytest.mark.parametrize("training", [True, False])
def test_a_call_is_known_within_it_and_whether_it_trains(training):
    asking = Asking()
    model = keras.Sequential([keras.layers.Dropout(0.5), asking])
    model(np.ones((1, 2)), training=training)
    assert asking.found == (True, training, True)
    asking(np.ones((1, 2)))
    assert asking.found == (True, False, True)
    assert not internals.is_calling()
    assert not internals.is_call_training()
    assert not layers.is_calling()


@of("Optimizer._backend_update_step")
@pytest.mark.parametrize("kind", [keras.optimizers.SGD, keras.optimizers.Adam, keras.optimizers.Nadam])
def test_wrap_update(kind):
    """Wrapping again replaces the earlier wrapper."""
    calls = []

    def wrap(update):
        def wrapped(gradients, variables, rate):
            calls.append(variables)
            update(gradients, variables, rate * 0)

        return wrapped

    variable = keras.Variable(np.ones(2, "float32"))
    optimizer = kind(0.5)
    for _ in range(2):
        internals.wrap_update(optimizer, wrap)
    optimizer.apply([keras.ops.ones(2)], [variable])
    assert calls == [[variable]]
    assert np.array_equal(variable.numpy(), np.ones(2))


class Telling(keras.layers.Layer):
    """Records whether its config is asked for together with its weights."""

    def get_config(self):
        Telling.found = internals.is_saving_config()
        return super().get_config()


@of("shared_objects/id_to_config_map")
def test_a_config_that_is_saved_with_weights_is_known(tmp_path):
    model = keras.Sequential([keras.Input((2,)), Telling()])
    model.save(tmp_path / "model.keras")
    assert Telling.found
    model.get_config()
    assert not Telling.found
    pickle.dumps(model)
    assert Telling.found
    keras.models.clone_model(model)
    assert not Telling.found


@of("_keras_history")
def test_the_layer_of_a_symbolic_tensor():
    layer = keras.layers.Dense(3)
    assert internals.layer_of(layer(keras.Input((2,)))) is layer


# === Copies of models ===


def functional():
    return keras.Sequential([keras.Input((2,)), keras.layers.Dense(3, name="low")])._functional


@of("object_name_uids", "global_state", "get_global_attribute")
def test_counts_of_names():
    counts = internals.name_counts()
    keras.layers.Dense(3)
    before = counts["dense"]
    assert keras.layers.Dense(3).name == f"dense_{before}"
    assert counts["dense"] == before + 1


@of("_init_seed")
def test_initialisers_that_drew_their_seeds():
    assert internals.has_drawn_seed(keras.initializers.GlorotUniform())
    assert not internals.has_drawn_seed(keras.initializers.GlorotUniform(seed=1))
    assert not internals.has_drawn_seed(keras.initializers.Zeros())


@of("uninitialized_variables", "global_random_seed", "global_seed_generator", "tracking_on", "GLOBAL_STATE_TRACKER")
def test_the_state_of_builds_has_scopes_but_no_generators():
    before = internals.state_of_builds()
    keras.layers.Dense(3)
    keras.utils.set_random_seed(1)
    keras.random.normal((2,))
    internals.saved_attributes(network())  # Keras notes which attributes of a class are not saved
    assert internals.state_of_builds() == before
    with keras.name_scope("scope"):
        assert internals.state_of_builds() != before


@of("Tracker", "stored_ids", "_loss_ids")
def test_identities_of_tracked_objects():
    layer = dense()
    assert type(layer._tracker) is internals.tracker_class()
    assert internals.identities(layer._tracker) == {"stored_ids": layer._tracker.stored_ids}
    assert any(layer._tracker.stored_ids.values())
    assert internals.identities(layer) == {"_loss_ids": layer._loss_ids}


@of("make_node_key", "_nodes_by_depth", "_nodes", "_inbound_nodes")
def test_identities_of_nodes():
    model = functional()
    assert internals.identities(model) == {"_nodes": model._nodes}
    assert len(model._nodes) == 2
