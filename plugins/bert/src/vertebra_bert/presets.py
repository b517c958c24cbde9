"""Built-in presets of BERT, ELECTRA and the encoders that share their architecture.

Ids, handles and numbers of parameters of `kaggle://` presets are those of KerasHub 0.32, and its copies on Hugging
Face have the preset's name. Of the others, sizes are from `config.json`, poolings from `1_Pooling/config.json`, and
licences from the model card, all in the repository that the handle names; parameters are those of the backbone.
"""

from vertebra import PresetSpec

_BOOKS = "English, cased; Wikipedia and BooksCorpus"
_LOWER = "English, lower case; Wikipedia and BooksCorpus"
_PAIRS = "English; sentence embeddings, from a billion pairs of sentences"
_PARAPHRASES = "English; sentence embeddings, from paraphrases"
_ANSWERS = "English; search, from 215 million questions and answers"
_MARCO = "English; search, from MS MARCO"
_ENGLISH = "English; text embeddings"
_CHINESE = "Chinese; text embeddings"

# Id, model on Kaggle, version there, parameters, layers, width, language and purpose or data.
_TABLE = (
    ("bert_tiny_en_uncased", "bert", 3, 4_385_920, 2, 128, _LOWER),
    ("bert_small_en_uncased", "bert", 3, 28_763_648, 4, 512, _LOWER),
    ("bert_medium_en_uncased", "bert", 3, 41_373_184, 8, 512, _LOWER),
    ("bert_base_en_uncased", "bert", 3, 109_482_240, 12, 768, _LOWER),
    ("bert_base_en", "bert", 3, 108_310_272, 12, 768, _BOOKS),
    ("bert_base_zh", "bert", 3, 102_267_648, 12, 768, "Chinese; Wikipedia"),
    ("bert_base_multi", "bert", 3, 177_853_440, 12, 768, "104 languages, cased; Wikipedia"),
    ("bert_large_en_uncased", "bert", 3, 335_141_888, 24, 1024, _LOWER),
    ("bert_large_en", "bert", 3, 333_579_264, 24, 1024, _BOOKS),
    ("bert_tiny_en_uncased_sst2", "bert", 5, 4_385_920, 2, 128, "English, lower case; sentiment, from SST-2"),
    ("all_minilm_l6_v2_en", "sentence-transformers", 1, 22_713_216, 6, 384, _PAIRS),
    ("all_minilm_l6_v1_en", "sentence-transformers", 1, 22_713_216, 6, 384, _PAIRS),
    ("all_minilm_l12_v2_en", "sentence-transformers", 1, 33_360_000, 12, 384, _PAIRS),
    ("paraphrase_minilm_l3_v2_en", "sentence-transformers", 1, 17_066_496, 3, 384, _PARAPHRASES),
    ("paraphrase_minilm_l6_v2_en", "sentence-transformers", 1, 22_713_216, 6, 384, _PARAPHRASES),
    ("paraphrase_minilm_l12_v2_en", "sentence-transformers", 1, 33_360_000, 12, 384, _PARAPHRASES),
    ("multi_qa_minilm_l6_cos_v1_en", "sentence-transformers", 1, 22_713_216, 6, 384, _ANSWERS),
    ("multi_qa_minilm_l6_dot_v1_en", "sentence-transformers", 1, 22_713_216, 6, 384, _ANSWERS),
    ("msmarco_minilm_l6_cos_v5_en", "sentence-transformers", 1, 22_713_216, 6, 384, _MARCO),
    ("msmarco_minilm_l12_cos_v5_en", "sentence-transformers", 1, 33_360_000, 12, 384, _MARCO),
    ("bge_small_en", "bge", 1, 33_360_000, 12, 384, _ENGLISH),
    ("bge_base_en", "bge", 1, 109_482_240, 12, 768, _ENGLISH),
    ("bge_large_en", "bge", 1, 335_141_888, 24, 1024, _ENGLISH),
    ("bge_small_v1.5_en", "bge", 1, 33_360_000, 12, 384, _ENGLISH),
    ("bge_base_v1.5_en", "bge", 1, 109_482_240, 12, 768, _ENGLISH),
    ("bge_large_v1.5_en", "bge", 1, 335_141_888, 24, 1024, _ENGLISH),
    ("bge_base_zh", "bge", 1, 102_267_648, 12, 768, _CHINESE),
    ("bge_large_zh", "bge", 1, 325_522_432, 24, 1024, _CHINESE),
    ("bge_small_v1.5_zh", "bge", 1, 23_953_920, 4, 512, _CHINESE),
    ("bge_base_v1.5_zh", "bge", 1, 102_267_648, 12, 768, _CHINESE),
    ("bge_large_v1.5_zh", "bge", 1, 325_522_432, 24, 1024, _CHINESE),
    ("bge_llm_embedder", "bge", 1, 109_482_240, 12, 768, "English; embeddings for retrieval by language models"),
    ("multilingual_e5_small", "multilingual-e5", 1, 117_653_760, 12, 384, "about 100 languages; text embeddings"),
    ("mxbai_embed_large_v1_en", "mxbai-embed", 1, 335_141_888, 24, 1024, _ENGLISH),
    (
        "mxbai_embed_2d_large_v1_en",
        "mxbai-embed",
        1,
        335_141_888,
        24,
        1024,
        "English; embeddings that can be cut shorter",
    ),
    ("mxbai_embed_xsmall_v1_en", "mxbai-embed", 1, 24_089_472, 6, 384, _ENGLISH),
)

_ELECTRA = (
    (
        "electra_small_discriminator_uncased_en",
        "electra",
        2,
        13_548_800,
        12,
        256,
        "English, lower case; Wikipedia and BooksCorpus",
    ),
    (
        "electra_base_discriminator_uncased_en",
        "electra",
        2,
        109_482_240,
        12,
        768,
        "English, lower case; Wikipedia and BooksCorpus",
    ),
    (
        "electra_large_discriminator_uncased_en",
        "electra",
        2,
        335_141_888,
        24,
        1024,
        "English, lower case; Wikipedia and BooksCorpus",
    ),
)

# Id, repository on Hugging Face, parameters, layers, width, language and purpose, licence.
_OF_HUB = (
    (
        "paraphrase_multilingual_minilm_l12_v2",
        "sentence-transformers/paraphrase-multilingual-MiniLM-L12-v2",
        117_653_760,
        12,
        384,
        "50 languages; sentence embeddings, mean pooling",
        "Apache-2.0",
    ),
    ("e5_small_v2", "intfloat/e5-small-v2", 33_360_000, 12, 384, "English; text embeddings, mean pooling", "MIT"),
    ("e5_base_v2", "intfloat/e5-base-v2", 109_482_240, 12, 768, "English; text embeddings, mean pooling", "MIT"),
    ("e5_large_v2", "intfloat/e5-large-v2", 335_141_888, 24, 1024, "English; text embeddings, mean pooling", "MIT"),
    ("gte_base", "thenlper/gte-base", 109_482_240, 12, 768, "English; text embeddings, mean pooling", "MIT"),
    ("gte_large", "thenlper/gte-large", 335_141_888, 24, 1024, "English; text embeddings, mean pooling", "MIT"),
    (
        "snowflake_arctic_embed_xs",
        "Snowflake/snowflake-arctic-embed-xs",
        22_713_216,
        6,
        384,
        "English; text embeddings, first-token pooling",
        "Apache-2.0",
    ),
    (
        "snowflake_arctic_embed_s",
        "Snowflake/snowflake-arctic-embed-s",
        33_360_000,
        12,
        384,
        "English; text embeddings, first-token pooling",
        "Apache-2.0",
    ),
    (
        "snowflake_arctic_embed_m",
        "Snowflake/snowflake-arctic-embed-m",
        109_482_240,
        12,
        768,
        "English; text embeddings, first-token pooling",
        "Apache-2.0",
    ),
    (
        "snowflake_arctic_embed_l",
        "Snowflake/snowflake-arctic-embed-l",
        335_141_888,
        24,
        1024,
        "English; text embeddings, first-token pooling",
        "Apache-2.0",
    ),
    (
        "ms_marco_minilm_l6_v2",
        "cross-encoder/ms-marco-MiniLM-L6-v2",
        22_713_216,
        6,
        384,
        "English; reranker, from MS MARCO",
        "Apache-2.0",
    ),
    (
        "ms_marco_minilm_l12_v2",
        "cross-encoder/ms-marco-MiniLM-L12-v2",
        33_360_000,
        12,
        384,
        "English; reranker, from MS MARCO",
        "Apache-2.0",
    ),
    (
        "bert_base_ner",
        "dslim/bert-base-NER",
        108_310_272,
        12,
        768,
        "English, cased; named entities, from CoNLL-2003",
        "MIT",
    ),
    (
        "bert_base_multilingual_cased_ner_hrl",
        "Davlan/bert-base-multilingual-cased-ner-hrl",
        177_853_440,
        12,
        768,
        "ten languages, cased; named entities",
        "AFL-3.0",
    ),
    (
        "bert_base_multilingual_uncased_sentiment",
        "nlptown/bert-base-multilingual-uncased-sentiment",
        167_356_416,
        12,
        768,
        "six languages, lower case; sentiment of reviews, one to five stars",
        "MIT",
    ),
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


PRESETS = _of_kerashub(_TABLE) + _of_hub(_OF_HUB)
ELECTRA_PRESETS = _of_kerashub(_ELECTRA)
