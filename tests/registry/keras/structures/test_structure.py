"""Copies of structures: equal to a build in their turn, and without a shared object that can change."""

import copy
import inspect
import pickle
import random
import sys
import threading
import types

import keras
import numpy as np
import pytest

import vertebra
from vertebra._keras.internals import name_counts
from vertebra._keras.structures.generated import Generated, Generators
from vertebra._keras.structures.structure import Structure
from vertebra._weights.abstract import abstract_build, finish, initialize

pytestmark = pytest.mark.keras

BERT = {"num_heads": 2, "vocabulary_size": 11, "num_layers": 2, "hidden_dim": 8, "intermediate_dim": 8}
GEMMA = {name: value for name, value in BERT.items() if name != "num_heads"}
GEMMA |= {"num_query_heads": 2, "num_key_value_heads": 1, "head_dim": 4, "attention_logit_soft_cap": 5.0}
VIT = {"image_shape": (8, 8, 3), "patch_size": 4, "num_layers": 2, "num_heads": 2, "hidden_dim": 8, "mlp_dim": 8}
TINY = {"BertBackbone": BERT, "GPT2Backbone": BERT, "GemmaBackbone": GEMMA, "ViTBackbone": VIT}
TINY["LlamaBackbone"] = {name: GEMMA[name] for name in GEMMA if not name.endswith("cap")}
TINY |= {f"{name}Backbone": BERT for name in ("Roberta", "DistilBert", "Electra", "MPNet", "ModernBert")}
each = pytest.mark.parametrize("name", TINY)
SHARED = (type, types.ModuleType, types.CodeType, types.BuiltinFunctionType, inspect.Signature, str, bytes, int, float)
IDENTITIES = {"stored_ids", "_nodes"}


@pytest.fixture
def deep():
    """The comparison follows chains of thousands of objects."""
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(100_000)
    yield
    sys.setrecursionlimit(limit)


def built(name, **overrides):
    """Returns a backbone without values, all its variables, and what its build generated."""
    before = Generators.now()
    with abstract_build() as created:
        backbone = getattr(vertebra.models, name)(**TINY[name], **overrides)
    return (backbone, created), Generated(before)


def from_the_same_state(state, make):
    """Calls a function with the generators in a state."""
    name_counts().clear()
    name_counts().update(state.counts)
    random.setstate(state.random)
    return make()


def compare(one, other, path="", seen=None):
    """Compares two objects with all that they hold; yields where they differ, or share an object that can change."""
    seen = {} if seen is None else seen
    if type(one) is not type(other):
        yield f"{path}: {type(one)} and {type(other)}"
    elif isinstance(one, SHARED) or one is None:
        if not (one is other or one == other):
            yield f"{path}: {one!r} and {other!r}"
    elif one is other and isinstance(one, types.FunctionType):
        return  # of a class or a module
    elif id(one) in seen:
        if seen[id(one)][1] is not other:
            yield f"{path}: other objects are the same"
    else:
        seen[id(one)] = one, other
        if one is other and not isinstance(one, tuple | frozenset):
            yield f"{path}: shared {type(one)}"
        for key, left, right in parts(one, other):
            yield from compare(left, right, f"{path}.{key}", seen)


def parts(one, other):
    """Yields the names of what two objects of one type hold, and both values."""
    if isinstance(one, types.FunctionType):
        yield "code", one.__code__, other.__code__
        closures = one.__closure__ or (), other.__closure__ or ()
        yield from ((f"cell{n}", *cells) for n, cells in enumerate(zip(*closures, strict=True)))
        yield from ((name, getattr(one, name), getattr(other, name)) for name in ("__name__", "__doc__", "__module__"))
    elif isinstance(one, types.CellType):
        yield "content", one.cell_contents, other.cell_contents
    elif isinstance(one, types.MethodType):
        yield from (("function", one.__func__, other.__func__), ("self", one.__self__, other.__self__))
    elif isinstance(one, dict):
        yield "keys", " ".join(map(str, one)), " ".join(map(str, other))
        yield from ((key, left, right) for key, left, right in zip(one, one.values(), other.values(), strict=True))
    elif isinstance(one, list | tuple):
        yield from ((n, *both) for n, both in enumerate(zip(one, other, strict=True)))
    elif isinstance(one, set | frozenset):
        yield "size", len(one), len(other)
    if hasattr(one, "__dict__") and not isinstance(one, types.FunctionType):
        known, others = vars(one), vars(other)
        yield "names", " ".join(sorted(known)), " ".join(sorted(others))
        yield from ((name, known[name], others.get(name)) for name in known if name not in IDENTITIES)


@each
@pytest.mark.usefixtures("deep")
def test_a_copy_is_what_a_build_would_be(name):
    built(name)  # Keras gives the first model of a class other methods
    value, generated = built(name)
    structure, state = Structure(value, generated), Generators.now()
    rebuilt = from_the_same_state(state, lambda: built(name)[0])
    after = Generators.now()
    copied = from_the_same_state(state, structure.copy)
    assert list(compare(rebuilt, copied)) == []
    assert Generators.now() == after


@each
@pytest.mark.usefixtures("deep")
def test_copies_share_nothing_that_changes(name):
    value, generated = built(name)
    structure = Structure(value, generated)
    copies = [structure.copy() for _ in range(2)]
    for one, other in ((value, copies[0]), copies):
        assert [line for line in compare(one, other) if "shared" in line] == []


def usable(backbone, created):
    initialize(created)
    finish(backbone)
    return backbone


def test_a_copy_is_used_like_any_model(tmp_path):
    value, generated = built("BertBackbone", dropout=0.5)
    backbone = usable(*Structure(value, generated).copy())
    assert backbone.name != value[0].name
    inputs = backbone.sample_inputs()
    outputs = backbone(inputs)["pooled_output"]
    again = [copy.deepcopy(backbone), pickle.loads(pickle.dumps(backbone))]
    backbone.save(tmp_path / "model.keras")
    again += [keras.saving.load_model(tmp_path / "model.keras")]
    for other in again:
        assert np.array_equal(*map(keras.ops.convert_to_numpy, (outputs, other(inputs)["pooled_output"])))
    backbone.enable_lora(2)
    model = keras.Model(backbone.input, backbone.output["pooled_output"])
    model.compile("sgd", "mse")
    before = [keras.ops.convert_to_numpy(weight) for weight in model.trainable_weights]
    model.fit(inputs, np.ones((len(outputs), 8)), verbose=0)
    after = [keras.ops.convert_to_numpy(weight) for weight in model.trainable_weights]
    assert before
    assert not all(map(np.array_equal, before, after))
    with pytest.raises(ValueError, match="cannot add new elements of state"):
        backbone.transformer_layers[0].other = keras.layers.Dense(2)


def test_tracked_attributes_are_tracked_in_the_copy():
    value, generated = built("BertBackbone")
    backbone, _ = Structure(value, generated).copy()
    layer = backbone.transformer_layers[0]
    for tracker in (backbone._tracker, layer._tracker):
        assert tracker.stored_ids == {name: set(map(id, held)) for name, (_, held) in tracker.config.items()}
    backbone.head = keras.layers.Dense(2)
    assert backbone.head in backbone._layers


def test_seeds_of_copies_differ_and_given_seeds_do_not():
    before = Generators.now()
    with abstract_build() as created:
        inputs = keras.Input((4,), name="x")
        drawn = keras.layers.Dense(2, name="a")
        given = keras.layers.Dense(2, name="b", kernel_initializer=keras.initializers.GlorotUniform(seed=7))
        model = keras.Model(inputs, given(drawn(inputs)))
    structure = Structure((model, created), Generated(before))
    one, other = (structure.copy()[0] for _ in range(2))
    assert one.get_layer("a").kernel_initializer.seed != other.get_layer("a").kernel_initializer.seed
    assert one.get_layer("b").kernel_initializer.seed == other.get_layer("b").kernel_initializer.seed == 7


def test_threads_make_copies_at_once():
    value, generated = built("BertBackbone")
    structure, copies = Structure(value, generated), []
    threads = [threading.Thread(target=lambda: copies.append(structure.copy())) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    variables = [variable for _, created in copies for variable in created]
    assert len(copies) == 8
    assert len({id(variable) for variable in variables}) == len(variables)


class Opaque:
    """An object of a plugin, whose copies might share state."""


@pytest.mark.parametrize(
    "unusual", [Opaque(), threading.Lock(), lambda: None, 2**40], ids=["object", "lock", "fn", "id"]
)
def test_unusual_objects_are_refused(unusual):
    before = Generators.now()
    with abstract_build():
        layer = keras.layers.Dense(2, name="a")
        layer.build((None, 3))
    held = [unusual]
    layer.extra = (lambda: held) if inspect.isfunction(unusual) else unusual
    with pytest.raises(Exception, match=r"share|closes over|identity|pickle"):
        Structure(layer, Generated(before))


def test_random_numbers_of_other_kinds_are_refused():
    before = Generators.now()
    with abstract_build():
        layer = keras.layers.Dense(2, name="a")
        layer.build((None, random.randrange(3, 9)))
    random.gauss(0, 1)
    structure = Structure(layer, Generated(before))
    with pytest.raises(ValueError, match="other random numbers"):
        structure.copy()


def test_generated_names_in_other_attributes_are_refused():
    keras.layers.Dense(2)  # so that the next name has a number
    before = Generators.now()
    with abstract_build():
        layer = keras.layers.Dense(2)
        layer.remembered = layer.name
    structure = Structure(layer, Generated(before))
    with pytest.raises(ValueError, match="other than a name"):
        structure.copy()


def test_names_of_objects_that_are_dropped_are_refused():
    before = Generators.now()
    with abstract_build():
        layer, _ = keras.layers.Dense(2), keras.layers.Dense(3)
    structure = Structure(layer, Generated(before))
    with pytest.raises(ValueError, match="not in the model"):
        structure.copy()
