"""Built-in presets of GPT-2, with KerasHub's ids."""

from vertebra import PresetSpec

_WEB = "English; WebText"

# Id, version on Kaggle, parameters, layers, width, language and purpose or data.
_TABLE = (
    ("gpt2_base_en", 3, 124_439_808, 12, 768, _WEB),
    ("gpt2_medium_en", 3, 354_823_168, 24, 1024, _WEB),
    ("gpt2_large_en", 3, 774_030_080, 36, 1280, _WEB),
    ("gpt2_extra_large_en", 3, 1_557_611_200, 48, 1600, _WEB),
    ("gpt2_base_en_cnn_dailymail", 3, 124_439_808, 12, 768, "English; summaries, from CNN/DailyMail"),
)

# KerasHub also publishes each preset on Hugging Face, under the preset's name and without versions.
PRESETS = tuple(
    PresetSpec(
        name,
        f"kaggle://keras/gpt2/keras/{name}/{version}",
        parameters,
        f"{layers} layers of width {width}; {text}",
        copies=(f"hf://keras/{name}",),
    )
    for name, version, parameters, layers, width, text in _TABLE
)
