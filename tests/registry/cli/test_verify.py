"""`vertebra verify`: whether outputs are those that were saved, and whether every weight is a number."""

import json

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import vertebra
from vertebra.cli import main
from vertebra.cli.verify import verify_preset

pytestmark = pytest.mark.keras


@pytest.fixture
def preset(backbone, tmp_path):
    """A preset with a certificate."""
    backbone.save_to_preset(tmp_path / "preset")
    return tmp_path / "preset"


@pytest.fixture
def spoil(preset):
    """Puts a number into one weight of the preset."""

    def put(value):
        weights = load_file(preset / "model.safetensors")
        weights["segment_embedding/embeddings"][1, 3] = value  # no input of the sample is of that segment
        save_file(weights, preset / "model.safetensors")

    return put


def test_one_that_holds(preset, runtime, capsys):
    assert main(["verify", str(preset)]) == 0
    shown = capsys.readouterr().out
    assert f"saved with {runtime} in float32, replayed with {runtime} in float32" in shown
    assert "\ncertificate holds\n" in shown
    assert "every weight is finite" in shown


def test_json_has_the_same(preset, runtime, capsys):
    assert main(["verify", str(preset), "--dtype", "bfloat16", "--runtime", runtime, "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["holds"] is True
    assert facts["replayed_with"] == {"runtime": runtime, "dtype": "bfloat16"}
    assert facts["outputs"].keys() == {"sequence_output", "pooled_output"}
    assert all(output["difference"] <= output["limit"] for output in facts["outputs"].values())
    assert facts["not_finite"] == []


def test_one_that_does_not_hold_is_a_failure(preset, capsys):
    weights = load_file(preset / "model.safetensors")
    save_file({name: array + 0.1 for name, array in weights.items()}, preset / "model.safetensors")
    assert main(["verify", str(preset)]) == 1
    assert "DOES NOT HOLD" in capsys.readouterr().out
    assert not verify_preset(str(preset))["holds"]


@pytest.mark.keras(once=True)
def test_one_without_a_certificate_is_an_error(golden, capsys):
    assert main(["verify", str(golden / "transformers")]) == 1
    assert "no certificate" in capsys.readouterr().err


@pytest.mark.keras(once=True)
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_weight_that_is_no_number_is_named_and_fails_if_asked(preset, spoil, capsys, value):
    spoil(value)
    assert main(["verify", str(preset)]) == 0
    assert "NaN or infinity in 1 weights: segment_embedding/embeddings" in capsys.readouterr().out
    assert main(["verify", str(preset), "--strict-finite"]) == 1
    assert vertebra.Backbone.from_preset(preset).num_layers == 2  # a load reads no weights, and cannot know


@pytest.mark.keras(once=True)
@pytest.mark.parametrize("name", ["transformers", "transformers_bf16", "kerashub", "kerashub_sharded"])
def test_without_a_certificate_weights_can_be_looked_at_alone(golden, capsys, name):
    assert main(["verify", str(golden / name), "--strict-finite", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["holds"], facts["not_finite"]) == (None, [])


@pytest.mark.keras(once=True)
def test_without_a_certificate_a_weight_that_is_no_number_fails(preset, spoil, capsys):
    (preset / "certificate.safetensors").unlink()
    spoil(-np.inf)
    assert main(["verify", str(preset), "--strict-finite"]) == 1
    assert "no certificate" in capsys.readouterr().out
