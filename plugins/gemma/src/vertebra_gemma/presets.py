"""Built-in presets of Gemma 1 and 2 and of the models that share their architecture, with KerasHub's ids."""

from vertebra import PresetSpec

_GEMMA = "English; web pages, mathematics and code"
_CHAT = "English; follows instructions"
_CODE = "code and English; completes code"
_CODE_CHAT = "code and English; follows instructions"
_SHIELD = "judges whether text is harmful"
_CELLS = "cells as sentences of gene names"

# Id, owner and model on Kaggle, version there, parameters, layers, width, language and purpose or data.
_TABLE = (
    ("gemma_2b_en", "keras/gemma", 3, 2_506_172_416, 18, 2048, _GEMMA),
    ("gemma_instruct_2b_en", "keras/gemma", 3, 2_506_172_416, 18, 2048, _CHAT),
    ("gemma_1.1_instruct_2b_en", "keras/gemma", 4, 2_506_172_416, 18, 2048, _CHAT),
    ("code_gemma_1.1_2b_en", "keras/codegemma", 2, 2_506_172_416, 18, 2048, _CODE),
    ("code_gemma_2b_en", "keras/codegemma", 2, 2_506_172_416, 18, 2048, _CODE),
    ("gemma_7b_en", "keras/gemma", 4, 8_537_680_896, 28, 3072, _GEMMA),
    ("gemma_instruct_7b_en", "keras/gemma", 4, 8_537_680_896, 28, 3072, _CHAT),
    ("gemma_1.1_instruct_7b_en", "keras/gemma", 5, 8_537_680_896, 28, 3072, _CHAT),
    ("code_gemma_7b_en", "keras/codegemma", 3, 8_537_680_896, 28, 3072, _CODE),
    ("code_gemma_instruct_7b_en", "keras/codegemma", 3, 8_537_680_896, 28, 3072, _CODE_CHAT),
    ("code_gemma_1.1_instruct_7b_en", "keras/codegemma", 3, 8_537_680_896, 28, 3072, _CODE_CHAT),
    ("gemma2_2b_en", "keras/gemma2", 2, 2_614_341_888, 26, 2304, _GEMMA),
    ("gemma2_instruct_2b_en", "keras/gemma2", 2, 2_614_341_888, 26, 2304, _CHAT),
    ("gemma2_9b_en", "keras/gemma2", 4, 9_241_705_984, 42, 3584, _GEMMA),
    ("gemma2_instruct_9b_en", "keras/gemma2", 4, 9_241_705_984, 42, 3584, _CHAT),
    ("gemma2_27b_en", "keras/gemma2", 3, 27_227_128_320, 46, 4608, _GEMMA),
    ("gemma2_instruct_27b_en", "keras/gemma2", 3, 27_227_128_320, 46, 4608, _CHAT),
    ("shieldgemma_2b_en", "google/shieldgemma", 2, 2_614_341_888, 26, 2304, _SHIELD),
    ("shieldgemma_9b_en", "google/shieldgemma", 2, 9_241_705_984, 42, 3584, _SHIELD),
    ("shieldgemma_27b_en", "google/shieldgemma", 2, 27_227_128_320, 46, 4608, _SHIELD),
    ("vault_gemma_1b_en", "keras/vaultgemma", 2, 1_038_741_120, 26, 1152, "English; trained with differential privacy"),
    ("c2s_scale_gemma_2_2b_en", "keras/cell2sentence", 1, 2_614_341_888, 26, 2304, _CELLS),
    ("c2s_scale_gemma_2_27b_en", "keras/cell2sentence", 1, 27_227_128_320, 46, 4608, _CELLS),
)

# KerasHub also publishes each preset on Hugging Face, under the preset's name and without versions.
PRESETS = tuple(
    PresetSpec(
        name,
        f"kaggle://{model}/keras/{name}/{version}",
        parameters,
        f"{layers} layers of width {width}; {text}",
        copies=(f"hf://keras/{name}",) if model.startswith("keras/") else (),
    )
    for name, model, version, parameters, layers, width, text in _TABLE
)
