"""Processes of a mesh that differ: each of them says which one differs in which fact, and none loads."""

import pytest
from registry.together.conftest import SECONDS

pytestmark = pytest.mark.keras

CASES = {
    "other_preset": ("differ in the preset: ", "other (", "on process 1, ", "base (", "on process 0"),
    "missing_preset": ("process 1 of 2 could not load the preset: PresetNotFoundError",),
    "other_argument": ("differ in dtype: 'bfloat16' on process 1, 'float32' on process 0",),
    "other_version": ("differ in the version of vertebra: '9.9.9' on process 1",),
    "other_mesh": ("differ in the mesh: 'model 2 (tensor)' on process 1, 'tensor 2 (tensor)' on process 0",),
    "other_adapter": ("differ in the adapter: ", "two.safetensors (", "on process 1, ", "one.safetensors ("),
    "other_base": ("differ in the adapter: ", "in its base: "),
}


@pytest.mark.parametrize(("scenario", "texts"), CASES.items(), ids=CASES)
def test_a_difference_is_an_error_on_every_process(scenario, texts, two):
    _, found = two
    error = found[0][scenario]
    assert error["error"] == "MeshError"
    assert all(text in error["text"] for text in texts), error["text"]
    assert error["seconds"] < SECONDS


def test_the_other_process_has_the_error_too(two):
    _, (_, found) = two
    own = {"missing_preset": "PresetNotFoundError", "full_disk": "PresetSaveError"}
    for scenario in CASES.keys() | own.keys():
        assert found[scenario]["error"] == own.get(scenario, "MeshError")
