"""Built-in presets of GPT-2, with KerasHub's ids."""

from vertebra import PresetSpec

# Id, version on Kaggle, parameters.
_TABLE = (
    ("gpt2_base_en", 3, 124_439_808),
    ("gpt2_medium_en", 3, 354_823_168),
    ("gpt2_large_en", 3, 774_030_080),
    ("gpt2_extra_large_en", 3, 1_557_611_200),
    ("gpt2_base_en_cnn_dailymail", 3, 124_439_808),
)

# KerasHub also publishes each preset on Hugging Face, under the preset's name and without versions.
PRESETS = tuple(
    PresetSpec(name, f"kaggle://keras/gpt2/keras/{name}/{version}", parameters, copies=(f"hf://keras/{name}",))
    for name, version, parameters in _TABLE
)
