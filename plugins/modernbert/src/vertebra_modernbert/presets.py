"""Built-in presets of ModernBERT.

Sizes are from `config.json`, poolings from `1_Pooling/config.json`, and licences from the model card, all in the
repository that the handle names; parameters are those of the backbone. KerasHub 0.32 has no ModernBERT.
"""

from vertebra import PresetSpec

# Id, repository on Hugging Face, parameters, layers, width, language, purpose and licence.
_TABLE = (
    ("modernbert_base", "answerdotai/ModernBERT-base", 149_014_272, 22, 768, "English and code; Apache-2.0"),
    ("modernbert_large", "answerdotai/ModernBERT-large", 394_781_696, 28, 1024, "English and code; Apache-2.0"),
    (
        "gte_modernbert_base",
        "Alibaba-NLP/gte-modernbert-base",
        149_014_272,
        22,
        768,
        "English; text embeddings, first-token pooling; Apache-2.0",
    ),
    (
        "gte_reranker_modernbert_base",
        "Alibaba-NLP/gte-reranker-modernbert-base",
        149_014_272,
        22,
        768,
        "English; reranker; Apache-2.0",
    ),
    (
        "modernbert_embed_base",
        "nomic-ai/modernbert-embed-base",
        149_014_272,
        22,
        768,
        "English; text embeddings, mean pooling; Apache-2.0",
    ),
)

PRESETS = tuple(
    PresetSpec(name, f"hf://{repository}", parameters, f"{layers} layers of width {width}; {text}")
    for name, repository, parameters, layers, width, text in _TABLE
)
