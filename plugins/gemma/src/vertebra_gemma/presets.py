"""Built-in presets of Gemma 1 and 2 and of the models that share their architecture, with KerasHub's ids."""

from vertebra import PresetSpec

# Id, owner and model on Kaggle, version there, parameters.
_TABLE = (
    ("gemma_2b_en", "keras/gemma", 3, 2_506_172_416),
    ("gemma_instruct_2b_en", "keras/gemma", 3, 2_506_172_416),
    ("gemma_1.1_instruct_2b_en", "keras/gemma", 4, 2_506_172_416),
    ("code_gemma_1.1_2b_en", "keras/codegemma", 2, 2_506_172_416),
    ("code_gemma_2b_en", "keras/codegemma", 2, 2_506_172_416),
    ("gemma_7b_en", "keras/gemma", 4, 8_537_680_896),
    ("gemma_instruct_7b_en", "keras/gemma", 4, 8_537_680_896),
    ("gemma_1.1_instruct_7b_en", "keras/gemma", 5, 8_537_680_896),
    ("code_gemma_7b_en", "keras/codegemma", 3, 8_537_680_896),
    ("code_gemma_instruct_7b_en", "keras/codegemma", 3, 8_537_680_896),
    ("code_gemma_1.1_instruct_7b_en", "keras/codegemma", 3, 8_537_680_896),
    ("gemma2_2b_en", "keras/gemma2", 2, 2_614_341_888),
    ("gemma2_instruct_2b_en", "keras/gemma2", 2, 2_614_341_888),
    ("gemma2_9b_en", "keras/gemma2", 4, 9_241_705_984),
    ("gemma2_instruct_9b_en", "keras/gemma2", 4, 9_241_705_984),
    ("gemma2_27b_en", "keras/gemma2", 3, 27_227_128_320),
    ("gemma2_instruct_27b_en", "keras/gemma2", 3, 27_227_128_320),
    ("shieldgemma_2b_en", "google/shieldgemma", 2, 2_614_341_888),
    ("shieldgemma_9b_en", "google/shieldgemma", 2, 9_241_705_984),
    ("shieldgemma_27b_en", "google/shieldgemma", 2, 27_227_128_320),
    ("vault_gemma_1b_en", "keras/vaultgemma", 2, 1_038_741_120),
    ("c2s_scale_gemma_2_2b_en", "keras/cell2sentence", 1, 2_614_341_888),
    ("c2s_scale_gemma_2_27b_en", "keras/cell2sentence", 1, 27_227_128_320),
)

# KerasHub also publishes each preset on Hugging Face, under the preset's name and without versions.
PRESETS = tuple(
    PresetSpec(
        name,
        f"kaggle://{model}/keras/{name}/{version}",
        parameters,
        copies=(f"hf://keras/{name}",) if model.startswith("keras/") else (),
    )
    for name, model, version, parameters in _TABLE
)
