"""Names that are no dtype policies: the error is about the argument, and names the likely policy."""

import keras
import pytest

import vertebra
from vertebra._keras.dtype_names import DTYPES, dtype_problem
from vertebra.cli import main
from vertebra.errors import PresetConfigError

pytestmark = pytest.mark.keras(once=True)


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("bf16", "bfloat16"),
        ("BF16", "bfloat16"),
        ("mixed_bf16", "mixed_bfloat16"),
        ("fp16", "float16"),
        ("half", "float16"),
        ("mixed_fp16", "mixed_float16"),
        ("double", "float64"),
        ("mixed_flaot16", "mixed_float16"),
    ],
)
def test_a_likely_policy_is_named(given, meant, golden):
    with pytest.raises(PresetConfigError, match=f"Did you mean '{meant}'?") as caught:
        vertebra.Backbone.from_preset(golden / "transformers", dtype=given)
    assert str(caught.value).startswith(f"from_preset of BertBackbone: dtype={given!r} is not a dtype policy")
    assert "config.json" not in str(caught.value)


@pytest.mark.parametrize("given", [5, {"a": 1}, "nonsense", ""])
def test_others_have_the_list(given, golden):
    with pytest.raises(PresetConfigError, match="Use float64, float32, ") as caught:
        vertebra.Backbone.from_preset(golden / "transformers", dtype=given)
    assert "Did you mean" not in str(caught.value)


@pytest.mark.parametrize("given", [None, *DTYPES, "int8_from_float32", keras.dtype_policies.DTypePolicy("bfloat16")])
def test_a_policy_has_no_problem(given):
    assert dtype_problem(given) is None


def test_a_plan_names_the_likely_policy_too(golden, capsys):
    assert main(["plan", str(golden / "transformers"), "--dtype", "bf16"]) == 1
    assert "dtype='bf16' is not a dtype policy of floats. Did you mean 'bfloat16'?" in capsys.readouterr().err
