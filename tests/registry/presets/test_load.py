"""Loading: the arguments that `from_preset` accepts, its messages, and the state after a failure."""

import logging
import os
import shutil

import keras
import numpy as np
import pytest
from keras.src.backend.common import global_state
from keras.src.backend.common.stateless_scope import in_stateless_scope

import vertebra
from vertebra._configuration.settings import Settings
from vertebra._weights import files, shared_copies, tensor_layout
from vertebra._weights.layer_paths import weight_names
from vertebra._weights.safetensors import format
from vertebra.errors import PresetNotFoundError, PresetRefusedError, WeightsMismatchError

pytestmark = pytest.mark.keras


# === Ways to name a preset ===


def test_a_preset_is_a_path_a_text_or_a_handle(golden, run, backbone):
    folder = golden / "transformers"
    for preset in (folder, str(folder), f"file://{folder}"):
        loaded = vertebra.Backbone.from_preset(preset)
        assert np.array_equal(run(loaded)["pooled_output"], run(backbone)["pooled_output"])


def test_a_relative_path_is_one_of_the_current_folder(golden, monkeypatch):
    monkeypatch.chdir(golden)
    for preset in ("transformers", "./transformers", "../bert/transformers"):
        assert vertebra.Backbone.from_preset(preset).num_layers == 2


def test_a_class_that_no_plugin_registered_loads_its_own_presets(tmp_path, run):
    class ToyBackbone(vertebra.Backbone):
        def __init__(self, width: int, **kwargs):
            inputs = keras.Input((None,), dtype="int32", name="token_ids")
            embedding = keras.layers.Embedding(11, width, name="token_embedding")
            super().__init__(inputs, embedding(inputs), **kwargs)
            self.token_embedding, self.width = embedding, width

        def get_config(self):
            return super().get_config() | {"width": self.width}

    toy, ids = ToyBackbone(4, name="toy"), np.arange(6).reshape(2, 3)
    toy.save_to_preset(tmp_path / "toy")
    again = ToyBackbone.from_preset(tmp_path / "toy")
    assert np.array_equal(run(again, ids), run(toy, ids))
    with pytest.raises(vertebra.errors.PresetConfigError) as caught:
        vertebra.Backbone.from_preset(tmp_path / "toy")
    assert "ToyBackbone" in caught.value.problem


# === Copies in memory ===


@pytest.mark.parametrize("preset", ["transformers", "transformers_sharded", "kerashub"])
def test_a_copy_does_not_depend_on_files_that_another_program_cuts_short(golden, tmp_path, run, preset):
    """ST-09: a process that reads a part of a mapped file which is gone ends with SIGBUS; a copy has all of it."""
    folder = shutil.copytree(golden / preset, tmp_path / "preset")
    loaded = vertebra.Backbone.from_preset(folder, copy=True)
    for file in [path for path in folder.iterdir() if path.suffix in (".safetensors", ".h5")]:
        os.truncate(file, 0)
    expected = run(vertebra.Backbone.from_preset(golden / preset))
    assert np.array_equal(run(loaded)["pooled_output"], expected["pooled_output"])


def test_the_settings_choose_copies_and_the_machine_enforces_them(golden, monkeypatch):
    copied = []
    copy = files.copy_privately
    monkeypatch.setattr(format, "copy_privately", lambda *file: copied.append(file) or copy(*file))
    for chosen, enforced, argument, expected in [
        (False, None, None, 0),
        (True, None, None, 1),
        (True, None, False, 0),
        (False, None, True, 1),
        (True, Settings(copy_weights=True, origins={"copy_weights": "machine"}), False, 1),
    ]:
        values = Settings(copy_weights=chosen, enforced=enforced)
        monkeypatch.setattr("vertebra._presets.load.settings", lambda values=values: values)
        copied.clear()
        vertebra.Backbone.from_preset(golden / "transformers", copy=argument)
        assert len(copied) == expected
    with pytest.raises(vertebra.errors.ArgumentError, match="copy='yes'"):
        vertebra.Backbone.from_preset(golden / "transformers", copy="yes")


# === Dtypes ===


@pytest.fixture
def policy():
    """Sets Keras's dtype policy for one test."""
    before = keras.config.dtype_policy()
    yield keras.config.set_dtype_policy
    keras.config.set_dtype_policy(before)


def test_floats_follow_the_dtype_policy_unless_a_dtype_is_given(golden, policy):
    policy("bfloat16")
    assert {v.dtype for v in vertebra.Backbone.from_preset(golden / "transformers").weights} == {"bfloat16"}
    given = vertebra.Backbone.from_preset(golden / "transformers", dtype="float32")
    assert {v.dtype for v in given.weights} == {"float32"}


def test_weights_stored_in_half_precision_follow_the_policy_too(golden, values):
    wide = values(vertebra.Backbone.from_preset(golden / "transformers_bf16"))
    half = values(vertebra.Backbone.from_preset(golden / "transformers_bf16", dtype="bfloat16"))
    assert {array.dtype.name for array in wide.values()} == {"float32"}
    assert {array.dtype.name for array in half.values()} == {"bfloat16"}
    assert all(np.array_equal(wide[name], half[name].astype("float32")) for name in wide)


def test_half_precision_that_is_asked_for_as_it_is_stored_is_viewed(golden, tmp_path, monkeypatch, address):
    half = vertebra.Backbone.from_preset(golden / "transformers", dtype="bfloat16")
    half.save_to_preset(tmp_path / "half")
    taken = {}

    def take(rule, array, shape):
        taken[rule.tensor] = array.ctypes.data
        return tensor_layout.take(rule, array, shape)

    monkeypatch.setattr(shared_copies, "take", take)
    weights = weight_names(vertebra.Backbone.from_preset(tmp_path / "half", dtype="bfloat16"))
    kernels = [name for name in weights if name.endswith("kernel")]
    assert [address(weights[name].value) for name in kernels] == [taken[name] for name in kernels]


def test_mixed_precision_is_saved_as_the_floats_it_keeps(golden, tmp_path, values, policy):
    mixed = vertebra.Backbone.from_preset(golden / "transformers", dtype="mixed_bfloat16")
    mixed.save_to_preset(tmp_path / "mixed")
    again = vertebra.Backbone.from_preset(tmp_path / "mixed")
    assert again.dtype_policy.name == "float32"
    assert all(np.array_equal(array, values(again)[name]) for name, array in values(mixed).items())
    policy("mixed_bfloat16")
    third = vertebra.Backbone.from_preset(tmp_path / "mixed")
    assert ({variable.dtype for variable in third.weights}, third.compute_dtype) == ({"float32"}, "bfloat16")


# === State afterwards ===


def test_random_state_is_drawn_anew_and_dropout_works(golden, inputs):
    backbone = vertebra.Backbone.from_preset(golden / "transformers", dropout=0.5)
    first, second = (backbone(inputs, training=True)["pooled_output"] for _ in range(2))
    assert not np.array_equal(keras.ops.convert_to_numpy(first), keras.ops.convert_to_numpy(second))


def test_a_load_that_fails_leaves_keras_as_it_was(golden, arguments):
    with pytest.raises(WeightsMismatchError):
        vertebra.Backbone.from_preset(golden / "transformers", num_layers=3)
    assert not in_stateless_scope()
    assert not global_state.get_global_attribute("uninitialized_variables")
    fresh = vertebra.models.BertBackbone(**arguments)
    assert all(variable._value is not None for variable in fresh.variables)


def test_a_load_inside_anothers_stateless_scope_gives_its_variables_values(golden, values, backbone):
    with keras.StatelessScope():
        inner = vertebra.Backbone.from_preset(golden / "transformers")
    assert all(np.array_equal(array, values(inner)[name]) for name, array in values(backbone).items())


# === Messages ===


def test_tensors_left_unread_are_logged(golden, caplog):
    with caplog.at_level(logging.INFO, "vertebra"), pytest.warns(UserWarning, match="initialised randomly"):
        vertebra.Backbone.from_preset(golden / "transformers_head")
    assert "5 tensors" in caplog.text  # the head's
    assert "cls.predictions.bias" in caplog.text


def test_the_warning_about_new_weights_points_at_the_caller(golden):
    with pytest.warns(UserWarning, match="pooled_dense/kernel, pooled_dense/bias") as caught:
        vertebra.Backbone.from_preset(golden / "transformers_head")
    assert [warning.filename for warning in caught] == [__file__]


# === Policies ===


def test_an_observer_is_told_and_its_failure_costs_nothing(golden, plugin):
    told = []

    def observe(loaded):
        told.append(loaded)
        raise RuntimeError("no network")

    with plugin(vertebra_preset_loaded=observe), pytest.warns(UserWarning, match="no network"):
        backbone = vertebra.Backbone.from_preset(golden / "transformers", load_weights=False)
    assert backbone.built
    assert [(seen.requested, seen.format, seen.backbone, seen.weights) for seen in told] == [
        (str(golden / "transformers"), "transformers", "BertBackbone", False)
    ]


def test_a_policy_can_refuse_and_one_that_fails_refuses(golden, plugin):
    with plugin(vertebra_refuse_preset=lambda handle: "not from there"), pytest.raises(PresetRefusedError) as caught:
        vertebra.Backbone.from_preset(golden / "transformers")
    assert caught.value.reason == "not from there"
    with plugin(vertebra_refuse_preset=lambda handle: 1 / 0), pytest.raises(PresetRefusedError) as caught:
        vertebra.Backbone.from_preset(golden / "transformers")
    assert "ZeroDivisionError" in caught.value.reason


def test_a_policy_can_send_a_handle_elsewhere(golden, plugin):
    def mirror(handle):
        return vertebra.PresetHandle("file", f"{golden}/transformers") if handle.scheme == "kaggle" else None

    with plugin(vertebra_rewrite_handle=mirror):
        assert vertebra.Backbone.from_preset("bert_tiny_en_uncased").hidden_dim == 16


def test_a_builtin_id_whose_source_is_not_installed_says_so(plugin):
    spec = vertebra.BackboneSpec("Toy", "nowhere:Toy", presets=(vertebra.PresetSpec("toy_en", "toy://here", 1),))
    with plugin(vertebra_backbones=lambda: [spec]), pytest.raises(vertebra.errors.UnknownNameError) as caught:
        vertebra.Backbone.from_preset("toy_en")
    assert caught.value.name == "toy"


def test_an_unknown_id_gets_suggestions():
    with pytest.raises(PresetNotFoundError) as caught:
        vertebra.Backbone.from_preset("bert_base_em")
    assert "bert_base_en" in caught.value.suggestions


def test_a_checkpoint_that_is_widened_is_said_to_be(golden, caplog, monkeypatch):
    monkeypatch.setattr("vertebra._presets.load_warnings._WORTH_SAYING", 1)
    vertebra.Backbone.from_preset(golden / "transformers_bf16")
    assert "bfloat16" in caplog.text
    assert "dtype='bfloat16'" in caplog.text


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_nothing_is_said_of_a_dtype_that_was_asked_for(golden, caplog, monkeypatch, dtype):
    monkeypatch.setattr("vertebra._presets.load_warnings._WORTH_SAYING", 1)
    vertebra.Backbone.from_preset(golden / "transformers_bf16", dtype=dtype)
    assert not caplog.records
