"""Built-in presets of Gemma 3 for text and of the models that share its architecture, with KerasHub's ids.

EmbeddingGemma's is a folder of Sentence Transformers, which `TextEmbedder` loads with its dense layers and prompts.
"""

from vertebra import PresetSpec

_TERMS = "Gemma Terms of Use"
_SMALL = f"for fine-tuning to one task; {_TERMS}"
_SMALL_CHAT = f"follows instructions, for fine-tuning to one task; {_TERMS}"
_ENGLISH = f"English; {_TERMS}"
_ENGLISH_CHAT = f"English; follows instructions; {_TERMS}"
_MANY = f"over 140 languages; {_TERMS}"
_CHAT = f"over 140 languages; follows instructions; {_TERMS}"
_CALLS = f"English; calls functions; {_TERMS}"
_HEALTH = "English; medicine; follows instructions; Health AI Developer Foundations terms"
_VECTORS = f"over 100 languages; text embeddings, mean pooling; {_TERMS}"

# Id, owner and model on Kaggle, version there, parameters, layers, width, language, purpose and licence.
_TABLE = (
    ("gemma3_270m", "keras/gemma3", 3, 268_098_176, 18, 640, _SMALL),
    ("gemma3_instruct_270m", "keras/gemma3", 4, 268_098_176, 18, 640, _SMALL_CHAT),
    ("function_gemma_instruct_270m", "keras/function-gemma", 1, 268_098_176, 18, 640, _CALLS),
    ("gemma3_1b", "keras/gemma3", 3, 999_885_952, 26, 1152, _ENGLISH),
    ("gemma3_instruct_1b", "keras/gemma3", 3, 999_885_952, 26, 1152, _ENGLISH_CHAT),
    ("gemma3_4b_text", "keras/gemma3", 2, 3_880_099_328, 34, 2560, _MANY),
    ("gemma3_instruct_4b_text", "keras/gemma3", 3, 3_880_099_328, 34, 2560, _CHAT),
    ("gemma3_12b_text", "keras/gemma3", 3, 11_765_788_416, 48, 3840, _MANY),
    ("gemma3_instruct_12b_text", "keras/gemma3", 3, 11_765_788_416, 48, 3840, _CHAT),
    ("gemma3_27b_text", "keras/gemma3", 4, 27_009_002_240, 62, 5376, _MANY),
    ("gemma3_instruct_27b_text", "keras/gemma3", 3, 27_009_002_240, 62, 5376, _CHAT),
    ("medgemma_instruct_27b_text", "keras/medgemma", 1, 27_009_002_240, 62, 5376, _HEALTH),
)

# KerasHub also publishes the models of each family on Hugging Face, under the preset's name and without versions.
PRESETS = (
    *(
        PresetSpec(
            name,
            f"kaggle://{model}/keras/{name}/{version}",
            parameters,
            f"{layers} layers of width {width}; {text}",
            copies=(f"hf://keras/{name}",),
        )
        for name, model, version, parameters, layers, width, text in _TABLE
    ),
    PresetSpec(
        "embeddinggemma_300m",
        "hf://google/embeddinggemma-300m",
        302_863_104,
        f"24 layers of width 768; {_VECTORS}",
    ),
)
