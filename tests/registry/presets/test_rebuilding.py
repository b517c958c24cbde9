"""A preset is written only if the class can build it again."""

import keras
import pytest

import vertebra
from vertebra.errors import PresetConfigError, PresetSaveError

pytestmark = pytest.mark.keras(once=True)


class Unnamed(vertebra.Backbone):
    """Its layer gets a new name in each build."""

    def __init__(self, width: int = 3, **kwargs):
        inputs = keras.Input((2,), name="x")
        super().__init__(inputs={"x": inputs}, outputs=keras.layers.Dense(width)(inputs), **kwargs)
        self.width = width

    def get_config(self):
        return super().get_config() | {"width": self.width}


class Named(vertebra.Backbone):
    def __init__(self, width: int = 3, **kwargs):
        inputs = keras.Input((2,), name="x")
        super().__init__(inputs={"x": inputs}, outputs=keras.layers.Dense(width, name="dense")(inputs), **kwargs)
        self.width = width

    def get_config(self):
        return super().get_config() | {"width": self.width}


class Derived(Named):
    """Passes unknown arguments on, as Keras classes usually do."""

    def __init__(self, extra: int = 1, **kwargs):
        super().__init__(**kwargs)
        self.extra = extra

    def get_config(self):
        return super().get_config() | {"extra": self.extra}


def test_one_that_would_build_other_weights_is_refused_and_replaces_nothing(tmp_path):
    Named().save_to_preset(tmp_path / "preset")
    before = (tmp_path / "preset" / "config.json").read_bytes()
    with pytest.raises(PresetSaveError):
        Unnamed().save_to_preset(tmp_path / "preset")
    assert (tmp_path / "preset" / "config.json").read_bytes() == before


def test_arguments_of_base_classes_are_arguments(tmp_path):
    Derived(extra=2, width=5).save_to_preset(tmp_path / "preset")
    again = Derived.from_preset(tmp_path / "preset", extra=7)
    assert (again.extra, again.width) == (7, 5)
    with pytest.raises(PresetConfigError):
        Derived.from_preset(tmp_path / "preset", depth=1)


def test_a_config_of_another_program_is_no_preset(backbone, tmp_path):
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "config.json").write_text('{"port": 80}')
    with pytest.raises(PresetSaveError):
        backbone.save_to_preset(tmp_path / "app")
    assert (tmp_path / "app" / "config.json").read_text() == '{"port": 80}'


def test_max_shard_size_is_the_second_argument_as_in_kerashub(tmp_path):
    Named().save_to_preset(tmp_path / "preset", 5)
    assert (tmp_path / "preset" / "model.safetensors").is_file()


def test_a_wrong_argument_is_the_callers_and_not_the_files(backbone, golden):
    with pytest.raises(PresetConfigError, match=r"arguments that replace the config\'s \(dropout=2\.0\)"):
        vertebra.Backbone.from_preset(golden / "transformers", dropout=2.0)
