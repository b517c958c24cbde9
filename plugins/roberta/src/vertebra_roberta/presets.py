"""Built-in presets of RoBERTa, XLM-RoBERTa and CamemBERT.

Ids, handles and numbers of parameters of `kaggle://` presets are those of KerasHub 0.32, and its copies on Hugging
Face have the preset's name. Of the others, sizes are from `config.json`, poolings from `1_Pooling/config.json`, and
licences from the model card, all in the repository that the handle names; parameters are those of the backbone.
"""

from vertebra import PresetSpec

# Id, model on Kaggle, version there, parameters, layers, width, language and purpose or data.
_ROBERTA = (
    (
        "roberta_base_en",
        "roberta",
        3,
        124_052_736,
        12,
        768,
        "English, cased; Wikipedia, BooksCorpus, CommonCrawl and OpenWebText",
    ),
    (
        "roberta_large_en",
        "roberta",
        3,
        354_307_072,
        24,
        1024,
        "English, cased; Wikipedia, BooksCorpus, CommonCrawl and OpenWebText",
    ),
)
_XLM_ROBERTA = (
    ("xlm_roberta_base_multi", "xlm_roberta", 3, 277_450_752, 12, 768, "100 languages, cased; CommonCrawl"),
    ("xlm_roberta_large_multi", "xlm_roberta", 3, 558_837_760, 24, 1024, "100 languages, cased; CommonCrawl"),
    (
        "bge_m3",
        "bge",
        1,
        566_702_080,
        24,
        1024,
        "over 100 languages; text embeddings of up to 8192 tokens, first-token pooling",
    ),
    (
        "multilingual_e5_base",
        "multilingual-e5",
        1,
        277_450_752,
        12,
        768,
        "about 100 languages; text embeddings, mean pooling",
    ),
    (
        "multilingual_e5_large",
        "multilingual-e5",
        1,
        558_837_760,
        24,
        1024,
        "about 100 languages; text embeddings, mean pooling",
    ),
)

# Id, repository on Hugging Face, parameters, layers, width, language and purpose, licence.
_ROBERTA_OF_HUB = (
    (
        "all_distilroberta_v1",
        "sentence-transformers/all-distilroberta-v1",
        82_118_400,
        6,
        768,
        "English; sentence embeddings, mean pooling",
        "Apache-2.0",
    ),
    (
        "twitter_roberta_base_sentiment_latest",
        "cardiffnlp/twitter-roberta-base-sentiment-latest",
        124_645_632,
        12,
        768,
        "English; sentiment of tweets, three classes",
        "CC-BY-4.0",
    ),
)
_XLM_ROBERTA_OF_HUB = (
    (
        "paraphrase_multilingual_mpnet_base_v2",
        "sentence-transformers/paraphrase-multilingual-mpnet-base-v2",
        278_043_648,
        12,
        768,
        "50 languages; sentence embeddings, mean pooling",
        "Apache-2.0",
    ),
    (
        "snowflake_arctic_embed_l_v2.0",
        "Snowflake/snowflake-arctic-embed-l-v2.0",
        567_754_752,
        24,
        1024,
        "multilingual; text embeddings of up to 8192 tokens, first-token pooling",
        "Apache-2.0",
    ),
    ("bge_reranker_base", "BAAI/bge-reranker-base", 278_043_648, 12, 768, "English and Chinese; reranker", "MIT"),
    ("bge_reranker_large", "BAAI/bge-reranker-large", 559_890_432, 24, 1024, "English and Chinese; reranker", "MIT"),
    (
        "bge_reranker_v2_m3",
        "BAAI/bge-reranker-v2-m3",
        567_754_752,
        24,
        1024,
        "multilingual; reranker of up to 8192 tokens",
        "Apache-2.0",
    ),
)
_CAMEMBERT_OF_HUB = (
    ("camembert_base", "almanach/camembert-base", 110_621_952, 12, 768, "French, cased; OSCAR", "MIT"),
)


def _of_kerashub(table: tuple[tuple[str, str, int, int, int, int, str], ...]) -> tuple[PresetSpec, ...]:
    """Returns KerasHub's presets, which it also publishes on Hugging Face under the preset's name."""
    return tuple(
        PresetSpec(
            name,
            f"kaggle://keras/{model}/keras/{name}/{version}",
            parameters,
            f"{layers} layers of width {width}; {text}",
            copies=(f"hf://keras/{name}",),
        )
        for name, model, version, parameters, layers, width, text in table
    )


def _of_hub(table: tuple[tuple[str, str, int, int, int, str, str], ...]) -> tuple[PresetSpec, ...]:
    """Returns the presets of repositories on Hugging Face."""
    return tuple(
        PresetSpec(name, f"hf://{repository}", parameters, f"{layers} layers of width {width}; {text}; {licence}")
        for name, repository, parameters, layers, width, text, licence in table
    )


ROBERTA_PRESETS = _of_kerashub(_ROBERTA) + _of_hub(_ROBERTA_OF_HUB)
XLM_ROBERTA_PRESETS = _of_kerashub(_XLM_ROBERTA) + _of_hub(_XLM_ROBERTA_OF_HUB)
CAMEMBERT_PRESETS = _of_hub(_CAMEMBERT_OF_HUB)
