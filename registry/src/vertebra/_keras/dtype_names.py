"""The names of Keras's dtype policies of floats, and the ones that users may mean by other names."""

from __future__ import annotations

from typing import Any

from vertebra.errors.base import close_names, did_you_mean, shown

DTYPES = ("float64", "float32", "float16", "bfloat16", "mixed_float16", "mixed_bfloat16")
_SHORT = {
    **dict.fromkeys(("fp64", "f64", "double"), "float64"),
    **dict.fromkeys(("fp32", "f32", "float"), "float32"),
    **dict.fromkeys(("fp16", "f16", "half"), "float16"),
    "bf16": "bfloat16",
}


def dtype_problem(value: Any) -> str | None:
    """Returns why Keras takes a value for no dtype policy, with the likely one, or None if it does."""
    import keras

    try:
        keras.dtype_policies.get(value)
    except Exception:
        return f"{not_a_dtype(value)} Use {', '.join(DTYPES)}, or another dtype policy of Keras"
    return None


def not_a_dtype(value: Any) -> str:
    """Returns the sentence that a value is no dtype policy, with the likely one."""
    return f"dtype={shown(value)} is not a dtype policy of floats.{did_you_mean(_meant(str(value)))}"


def _meant(text: str) -> list[str]:
    name = text.lower().rpartition(".")[2]  # such as the dtypes of a framework, which are no names
    mixed = "mixed_" if name.startswith("mixed_") else ""
    short = name.removeprefix(mixed)
    full = f"{mixed}{_SHORT.get(short, short)}"
    return [full] if full in DTYPES else close_names(name, DTYPES)[:1]
