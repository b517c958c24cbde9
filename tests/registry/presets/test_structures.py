"""Structures of earlier loads: when a load copies one, and when it builds its backbone as the first load does."""

import threading

import keras
import numpy as np
import pytest

import vertebra
from vertebra._presets.backbones import structures

pytestmark = pytest.mark.keras


class CountedBackbone(vertebra.Backbone):
    """A backbone that counts the calls of its constructor."""

    calls = 0

    def __init__(self, width: int = 4, rate: float = 0.5, wrap: object = None, **kwargs):
        type(self).calls += 1
        inputs = keras.Input((None,), dtype="int32", name="token_ids")
        embedding = keras.layers.Embedding(11, width, name="token_embedding")
        dropped = keras.layers.Dropout(rate)(embedding(inputs))
        arguments = {"width": width, "rate": rate} | ({} if wrap is None else {"wrap": wrap})
        super().__init__(inputs, dropped, arguments=arguments, **kwargs)
        self.token_embedding, self.held = embedding, held_by_all if self.width == 5 else None


class Opaque:
    """An object of a plugin, such as a client."""


held_by_all = Opaque()


@pytest.fixture(autouse=True)
def counted(monkeypatch):
    """The class, and no structures of other tests."""
    monkeypatch.setattr(structures, "_kept", type(structures._kept)())
    monkeypatch.setattr(CountedBackbone, "calls", 0)
    return CountedBackbone


@pytest.fixture
def preset(tmp_path, counted):
    """A preset of the class."""
    counted().save_to_preset(tmp_path / "preset")
    counted.calls = 0
    return tmp_path / "preset"


def values(backbone):
    return keras.ops.convert_to_numpy(backbone.token_embedding.embeddings)


def test_the_second_load_calls_no_constructor(preset, counted):
    loaded = [counted.from_preset(preset) for _ in range(3)]
    assert counted.calls == 1
    assert len({backbone.name for backbone in loaded}) == 1  # the preset has the name
    assert len({backbone.layers[-1].name for backbone in loaded}) == 3
    assert all(np.array_equal(values(loaded[0]), values(other)) for other in loaded[1:])
    loaded[1].token_embedding.embeddings.assign(np.zeros((11, 4)))
    assert values(loaded[0]).any()
    assert values(loaded[2]).any()
    assert loaded[1].get_config() == loaded[0].get_config()


def test_dropout_of_copies_has_its_own_seed(preset, counted):
    loaded = [counted.from_preset(preset) for _ in range(2)]
    states = [keras.ops.convert_to_numpy(backbone.layers[-1].seed_generator.state.value) for backbone in loaded]
    assert not np.array_equal(*states)
    keras.utils.set_random_seed(3)
    first = counted.from_preset(preset)
    structures._kept.clear()
    keras.utils.set_random_seed(3)
    built = counted.from_preset(preset)
    seeds = [
        [keras.ops.convert_to_numpy(backbone.layers[-1].seed_generator.state.value).tolist(), embedding.seed]
        for backbone, embedding in ((each, each.token_embedding.embeddings_initializer) for each in (first, built))
    ]
    assert counted.calls == 2
    assert seeds[0] == seeds[1]


def test_another_argument_or_setting_is_another_structure(preset, counted):
    counted.from_preset(preset)
    counted.from_preset(preset, rate=0.25)
    counted.from_preset(preset, dtype="bfloat16")
    with keras.name_scope("outer"):
        counted.from_preset(preset)
        assert counted.calls == 4
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        assert counted.from_preset(preset).dtype_policy.name == "mixed_bfloat16"
    finally:
        keras.config.set_dtype_policy(policy)
    assert counted.calls == 5
    counted.from_preset(preset)
    assert counted.calls == 5


def test_arguments_that_are_objects_are_not_compared(preset, counted):
    for _ in range(2):
        assert counted.from_preset(preset, dtype=keras.DTypePolicy("bfloat16")).compute_dtype == "bfloat16"
    assert counted.calls == 2


def test_a_class_may_ask_for_its_constructor(preset, counted, monkeypatch):
    monkeypatch.setattr(counted, "reuses_structure", False)
    for _ in range(2):
        counted.from_preset(preset)
    assert counted.calls == 2


def test_a_backbone_that_holds_unknown_objects_is_built_each_time(tmp_path, counted):
    counted(5).save_to_preset(tmp_path / "opaque")
    counted.calls = 0
    loaded = [counted.from_preset(tmp_path / "opaque") for _ in range(2)]
    assert counted.calls == 2
    assert loaded[0].held is loaded[1].held is held_by_all


def test_weights_that_do_not_fit_are_refused_by_a_copy_as_well(preset, counted, tmp_path):
    counted(3).save_to_preset(tmp_path / "narrow")
    (tmp_path / "narrow" / "config.json").write_text((preset / "config.json").read_text())
    counted.from_preset(preset)
    messages = []
    for _ in range(2):
        with pytest.raises(vertebra.errors.WeightsMismatchError) as caught:
            counted.from_preset(tmp_path / "narrow")
        messages.append(str(caught.value))
    assert messages[0] == messages[1]
    assert values(counted.from_preset(preset)).shape == (11, 4)


def test_threads_load_at_once(preset, counted):
    loaded, errors = [], []

    def load():
        try:
            loaded.append(counted.from_preset(preset))
        except Exception as error:
            errors.append(error)

    for _ in range(2):
        threads = [threading.Thread(target=load) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert errors == []
    variables = [variable for backbone in loaded for variable in backbone.variables]
    assert len({id(variable) for variable in variables}) == len(variables) == 8 * 2
    assert all(np.array_equal(values(loaded[0]), values(other)) for other in loaded)


def test_a_structure_that_cannot_be_copied_is_tried_three_times(preset, counted, monkeypatch):
    described = []

    class Broken:
        def __init__(self, *_):
            described.append(self)

        def copy(self):
            raise ValueError("another thread has drawn random numbers")

    with monkeypatch.context() as patched:
        patched.setattr(structures, "Structure", Broken)
        for _ in range(5):
            counted.from_preset(preset)
    assert counted.calls == 5
    assert len(described) == 3


def test_few_structures_are_kept(preset, counted):
    for tenth in range(structures._MOST_KEPT + 2):
        counted.from_preset(preset, rate=tenth / 20)
    assert len(structures._kept) == structures._MOST_KEPT
    counted.from_preset(preset, rate=0.0)
    assert counted.calls == structures._MOST_KEPT + 3
