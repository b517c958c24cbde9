"""Built-in presets of BERT and of the encoders that share its architecture, with KerasHub's ids."""

from vertebra import PresetSpec

# Id, model on Kaggle, version there, parameters.
_TABLE = (
    ("bert_tiny_en_uncased", "bert", 3, 4_385_920),
    ("bert_small_en_uncased", "bert", 3, 28_763_648),
    ("bert_medium_en_uncased", "bert", 3, 41_373_184),
    ("bert_base_en_uncased", "bert", 3, 109_482_240),
    ("bert_base_en", "bert", 3, 108_310_272),
    ("bert_base_zh", "bert", 3, 102_267_648),
    ("bert_base_multi", "bert", 3, 177_853_440),
    ("bert_large_en_uncased", "bert", 3, 335_141_888),
    ("bert_large_en", "bert", 3, 333_579_264),
    ("bert_tiny_en_uncased_sst2", "bert", 5, 4_385_920),
    ("all_minilm_l6_v2_en", "sentence-transformers", 1, 22_713_216),
    ("all_minilm_l6_v1_en", "sentence-transformers", 1, 22_713_216),
    ("all_minilm_l12_v2_en", "sentence-transformers", 1, 33_360_000),
    ("paraphrase_minilm_l3_v2_en", "sentence-transformers", 1, 17_066_496),
    ("paraphrase_minilm_l6_v2_en", "sentence-transformers", 1, 22_713_216),
    ("paraphrase_minilm_l12_v2_en", "sentence-transformers", 1, 33_360_000),
    ("multi_qa_minilm_l6_cos_v1_en", "sentence-transformers", 1, 22_713_216),
    ("multi_qa_minilm_l6_dot_v1_en", "sentence-transformers", 1, 22_713_216),
    ("msmarco_minilm_l6_cos_v5_en", "sentence-transformers", 1, 22_713_216),
    ("msmarco_minilm_l12_cos_v5_en", "sentence-transformers", 1, 33_360_000),
    ("bge_small_en", "bge", 1, 33_360_000),
    ("bge_base_en", "bge", 1, 109_482_240),
    ("bge_large_en", "bge", 1, 335_141_888),
    ("bge_small_v1.5_en", "bge", 1, 33_360_000),
    ("bge_base_v1.5_en", "bge", 1, 109_482_240),
    ("bge_large_v1.5_en", "bge", 1, 335_141_888),
    ("bge_base_zh", "bge", 1, 102_267_648),
    ("bge_large_zh", "bge", 1, 325_522_432),
    ("bge_small_v1.5_zh", "bge", 1, 23_953_920),
    ("bge_base_v1.5_zh", "bge", 1, 102_267_648),
    ("bge_large_v1.5_zh", "bge", 1, 325_522_432),
    ("bge_llm_embedder", "bge", 1, 109_482_240),
    ("multilingual_e5_small", "multilingual-e5", 1, 117_653_760),
    ("mxbai_embed_large_v1_en", "mxbai-embed", 1, 335_141_888),
    ("mxbai_embed_2d_large_v1_en", "mxbai-embed", 1, 335_141_888),
    ("mxbai_embed_xsmall_v1_en", "mxbai-embed", 1, 24_089_472),
)

# KerasHub also publishes each preset on Hugging Face, under the preset's name and without versions.
PRESETS = tuple(
    PresetSpec(name, f"kaggle://keras/{model}/keras/{name}/{version}", parameters, copies=(f"hf://keras/{name}",))
    for name, model, version, parameters in _TABLE
)
