"""Objects that a config names, of Keras or of anybody: none is imported, built or called (CF-01, CF-03, CF-04, CF-12).

`VERTEBRA_FAULT_RUNS` says how many of Keras's objects are tried for each run (10 for each; all if it is 100 or more).
"""

import contextlib
import itertools
import json
import os
import random
import shutil
import sys
import types

import keras
import numpy as np
import pytest
from faults.advisories.objects import FIELDS, bytecode, code, layer, model, pickled
from keras.src.backend.common import global_state
from keras.src.saving import serialization_lib

import vertebra
from vertebra.cli.inspect import inspect_preset
from vertebra.errors import VertebraError

pytestmark = pytest.mark.keras(once=True)

RUNS = int(os.environ.get("VERTEBRA_FAULT_RUNS", "10"))


def public_objects():
    """Returns the public functions and classes of Keras by their dotted names, aliases included."""
    found, seen = {}, set()

    def walk(module, path):
        seen.add(id(module))
        for name in dir(module):
            value = getattr(module, name, None)
            if name.startswith("_"):
                continue
            if isinstance(value, types.ModuleType):
                if value.__name__.partition(".")[0] == "keras" and id(value) not in seen:
                    walk(value, f"{path}.{name}")
            elif callable(value):
                found[f"{path}.{name}"] = value

    walk(keras, "keras")
    return found


def serialized(path, value):
    """Returns the ways in which a config may name a function or class of Keras."""
    module, _, name = path.rpartition(".")
    if isinstance(value, type):
        return [{"module": module, "class_name": name, "config": {}, "registered_name": name}]
    function = {"module": module, "class_name": "function", "config": name, "registered_name": name}
    called = {"function": function, "arguments": {"value": "float64"}}
    return [function, {"module": "keras.layers", "class_name": "Lambda", "config": called, "registered_name": None}]


@pytest.fixture(scope="module")
def folders(golden, tmp_path_factory):
    """Returns a preset of each format, with its config; each was loaded, since the first load imports modules."""
    root = tmp_path_factory.mktemp("presets")
    vertebra.Backbone.from_preset(golden / "transformers").save_to_preset(root / "native")
    for name in ("kerashub", "transformers"):
        shutil.copytree(golden / name, root / name)
    found = {folder.name: (folder, (folder / "config.json").read_text()) for folder in root.iterdir()}
    for folder, _ in found.values():
        loaded = vertebra.Backbone.from_preset(folder)
        assert vertebra.models.BertBackbone.from_config(loaded.get_config()).count_params() == loaded.count_params()
    for place in FIELDS:
        is_refused(found, place, {"class_name": "x"}, inspect=True)
    return found


def is_refused(folders, field, value, inspect=False):
    """Puts an object into a config, and says whether the load is refused; an inspection may show it as data."""
    name, change = FIELDS[field]
    folder, text = folders[name]
    config = json.loads(text)
    change(config, value)
    (folder / "config.json").write_text(json.dumps(config))
    try:
        if inspect:
            with contextlib.suppress(VertebraError):
                inspect_preset(str(folder))
        vertebra.Backbone.from_preset(folder, load_weights=False)
    except VertebraError:
        return True
    finally:
        (folder / "config.json").write_text(text)
    return False


def state():
    """Returns what functions of Keras could change."""
    return {
        "settings": (keras.config.floatx(), keras.config.epsilon(), keras.config.image_data_format()),
        "policy": keras.config.dtype_policy().name,
        "backend": keras.config.backend(),
        "safe mode": serialization_lib.in_safe_mode(),
        "switches": (keras.config.is_traceback_filtering_enabled(), keras.config.is_interactive_logging_enabled()),
        "custom objects": dict(keras.saving.get_custom_objects()),
        "distribution": global_state.get_global_attribute("distribution"),
        "environment": {name: value for name, value in os.environ.items() if name != "PYTEST_CURRENT_TEST"},
        "modules": set(sys.modules),
    }


@pytest.fixture(autouse=True)
def nothing_changes(folders, tmp_path, monkeypatch):
    """Every test here must leave the state of Keras and Python as it was, and no file in the folder of its payloads."""
    monkeypatch.chdir(tmp_path)
    before = state()
    yield
    after = state()
    assert {name for name in before if before[name] != after[name]} == set()
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def payloads(tmp_path):
    """Returns objects that would make a file if one of them were built: bytecode, pickles, and layers that run code."""
    flag = tmp_path / "flag"
    function, module = code(flag), pickled(flag)
    return {
        "Lambda": layer("Lambda", {"function": function}),
        "Lambda without module": {"class_name": "Lambda", "config": {"function": [bytecode(flag), None, None]}},
        "__lambda__": function,
        "__typespec__": {"class_name": "__typespec__", "spec_name": "TensorSpec", "config": [[1], "float32"]},
        "__tensor__": {"class_name": "__tensor__", "config": {"value": [1.0], "dtype": "float32"}},
        "TFSMLayer": layer("TFSMLayer", {"filepath": str(flag)}),
        "TorchModuleWrapper": layer("TorchModuleWrapper", {"module": module}),
        "JaxLayer": layer("JaxLayer", {"call_fn": function}),
        "FlaxLayer": layer("FlaxLayer", {"module": module}),
        "a model": model(layer("Lambda", {"function": function})),
        "a module": layer("open", str(flag), "builtins"),
        "a partial": layer("partial", {"func": "open", "args": [str(flag), "w"]}, "functools"),
    }


def test_no_function_or_class_of_keras_that_a_config_names_is_called(folders):
    """CF-03: each is refused, in one field after the other, and Keras's state stays as it was."""
    objects = public_objects()
    assert len(objects) > 3000
    assert "keras.config.set_floatx" in objects
    cases = [(path, form) for path, value in sorted(objects.items()) for form in serialized(path, value)]
    if RUNS < 100:
        cases = random.Random(3).sample(cases, 10 * RUNS)
        cases += [("keras.config.set_floatx", form) for form in serialized("keras.config.set_floatx", print)]
    tried = zip(cases, itertools.cycle(FIELDS), strict=False)
    accepted = [(path, place) for (path, form), place in tried if not is_refused(folders, place, form)]
    assert accepted == []


@pytest.mark.parametrize("place", FIELDS)
def test_bytecode_pickles_and_layers_that_run_code_are_refused(folders, payloads, place):
    """CF-01, CF-04: in every field that matters; and none runs, in an inspection neither."""
    accepted = [name for name, value in payloads.items() if not is_refused(folders, place, value, inspect=True)]
    assert accepted == []


BLOCKS = ("compile_config", "build_config", "optimizer", "optimizer_config", "training_config", "_target_", "auto_map")


@pytest.mark.parametrize("name", ["native", "kerashub", "transformers"])
@pytest.mark.parametrize("inner", [False, True], ids=["outside", "inside"])
def test_blocks_for_training_and_building_are_refused_or_ignored_and_never_run(folders, payloads, name, inner, request):
    """CF-12: the envelopes of foreign formats have such fields, which are ignored; other unknown fields are refused."""
    folder, text = folders[name]
    request.addfinalizer(lambda: (folder / "config.json").write_text(text))
    if inner and name == "transformers":
        pytest.skip("its configs have one level")
    for block in BLOCKS:
        for value in [payloads] if name == "native" or inner else [payloads, *payloads.values()][: 1 + RUNS // 100]:
            config = json.loads(text)
            (config["config"] if inner else config)[block] = value
            (folder / "config.json").write_text(json.dumps(config))
            if name == "native" or inner:
                with pytest.raises(VertebraError):
                    vertebra.Backbone.from_preset(folder, load_weights=False)
            else:
                assert vertebra.Backbone.from_preset(folder, load_weights=False).count_params() == 6656


SWAPS = ("BertBackbone", "keras_hub>BertBackbone", "vertebra>BertBackbone", "Dense", "keras>Dense", "Custom>Dense")


@pytest.mark.parametrize("name", ["native", "kerashub", "transformers"])
def test_a_class_that_a_plugin_registers_with_keras_is_not_taken_for_that_of_the_preset(folders, name):
    """PL-03: a plugin may change which class Keras finds by a name; the name in a preset is one of its own plugin."""
    folder, _ = folders[name]
    expected = vertebra.Backbone.from_preset(folder)

    class Swapped(keras.layers.Layer):
        def __init__(self, **options):
            raise AssertionError("the class of the other plugin was built")

    with keras.saving.custom_object_scope(dict.fromkeys(SWAPS, Swapped)):
        loaded = vertebra.Backbone.from_preset(folder)
        copy = type(loaded).from_config(loaded.get_config())
    assert type(loaded) is type(copy) is type(expected) is vertebra.models.BertBackbone
    assert [type(layer) for layer in loaded.layers] == [type(layer) for layer in expected.layers]
    assert all(map(np.array_equal, loaded.get_weights(), expected.get_weights()))
