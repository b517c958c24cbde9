"""Built-in presets of BERT and of the encoders that share its architecture, with KerasHub's ids."""

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

# KerasHub also publishes each preset on Hugging Face, under the preset's name and without versions.
PRESETS = tuple(
    PresetSpec(
        name,
        f"kaggle://keras/{model}/keras/{name}/{version}",
        parameters,
        f"{layers} layers of width {width}; {text}",
        copies=(f"hf://keras/{name}",),
    )
    for name, model, version, parameters, layers, width, text in _TABLE
)

ELECTRA_PRESETS = ()
