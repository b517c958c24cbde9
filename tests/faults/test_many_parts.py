"""Presets of many small parts: refused before anything is built, or described in little memory (V11)."""

import json
import resource
import struct

import pytest

import vertebra
from vertebra._presets.plan import plan_preset
from vertebra.cli.inspect import inspect_preset
from vertebra.errors import PresetConfigError, WeightsMismatchError

pytestmark = pytest.mark.keras(once=True)


@pytest.fixture
def refused():
    """Returns a function that calls another one, which must raise an error, and returns the error."""

    def call(read, error=PresetConfigError):
        with pytest.raises(error) as caught:
            read()
        return caught.value

    return call


def change(config, **fields):
    document = json.loads(config.read_text())
    (document.get("config") or document.get("arguments") or document).update(fields)
    config.write_text(json.dumps(document))


@pytest.mark.parametrize("format", ["native", "transformers", "kerashub"])
def test_more_layers_than_tensors_are_refused_before_they_are_built(golden, tmp_path, refused, format):
    """V11: 1,000 layers took 8.6 s, though the header of the weights has tensors for two."""
    backbone = vertebra.Backbone.from_preset(golden / "kerashub")
    backbone.save_to_preset(tmp_path / "preset", format=format)
    change(
        tmp_path / "preset" / "config.json", **{"num_hidden_layers" if format == "transformers" else "num_layers": 1000}
    )
    error = refused(lambda: vertebra.Backbone.from_preset(tmp_path / "preset"))
    assert "would have 1,000 layers (num_layers=1000), and its weights files hold" in error.problem


def test_the_arguments_of_the_call_are_named(backbone, tmp_path, refused):
    """V11: the call may be wrong, too."""
    backbone.save_to_preset(tmp_path / "preset")
    error = refused(lambda: vertebra.Backbone.from_preset(tmp_path / "preset", num_layers=900))
    assert "num_layers=900" in str(error)


class Stack(vertebra.Backbone):
    """A backbone whose depth no hint tells."""

    def __init__(self, depth: int = 1, **kwargs):
        import keras

        inputs = keras.Input((2,), name="x")
        outputs = inputs
        for number in range(depth):
            outputs = keras.layers.Dense(2, name=f"dense_{number}")(outputs)
        super().__init__(inputs, outputs, arguments={"depth": depth}, **kwargs)


def test_a_build_ends_when_there_are_far_more_weights_than_tensors(tmp_path, refused):
    """V11: arguments of a plugin may have any name, so that only the build tells how many layers there are."""
    Stack().save_to_preset(tmp_path / "preset")
    change(tmp_path / "preset" / "config.json", depth=900)
    error = refused(lambda: Stack.from_preset(tmp_path / "preset"))
    assert "Stack would have more than 1,000 weights, and its weights files hold 2 tensors" in error.problem
    change(tmp_path / "preset" / "config.json", depth=100)
    refused(lambda: Stack.from_preset(tmp_path / "preset"), WeightsMismatchError)  # as before: it names them


def test_a_header_of_very_many_empty_tensors(backbone, tmp_path, refused):
    """V11: 99,999 took 2 to 3 s."""
    backbone.save_to_preset(tmp_path / "preset")
    table = {f"t{number}": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]} for number in range(99_999)}
    header = json.dumps(table, separators=(",", ":")).encode()
    (tmp_path / "preset" / "model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header)
    refused(lambda: vertebra.Backbone.from_preset(tmp_path / "preset"), WeightsMismatchError)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert len(inspect_preset(str(tmp_path / "preset"))["tensors"]) == 99_999
    assert plan_preset(str(tmp_path / "preset"))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200 * 1024
