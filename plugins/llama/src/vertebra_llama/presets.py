"""Built-in presets of Llama and its kin.

Sizes are from `config.json`, and licences from the model card, both in the repository that the handle names; parameters
are those of the backbone, with the matrix of a head that is not tied. Some repositories ask for an agreement first.
"""

from vertebra import PresetSpec

_CHAT = "follows instructions"
_LLAMA32 = "8 languages; Llama 3.2 Community License"
_LLAMA32_CHAT = f"8 languages; {_CHAT}; Llama 3.2 Community License"
_SMOL = "English; Apache-2.0"
_SMOL_CHAT = f"English; {_CHAT}; Apache-2.0"
_QWEN = "29 languages and code; Apache-2.0"
_QWEN_CHAT = f"29 languages and code; {_CHAT}; Apache-2.0"
_QWEN3 = f"100 languages and code; {_CHAT}, and reasons; Apache-2.0"
_MISTRAL = "English and code; Apache-2.0"
_MISTRAL_CHAT = f"English and code; {_CHAT}; Apache-2.0"
_PHI = f"English; {_CHAT}; MIT"


def _presets(*rows: tuple[str, str, int, int, int, str]) -> tuple[PresetSpec, ...]:
    """Returns presets from rows of id, repository on Hugging Face, parameters, layers, width, language and licence."""
    return tuple(
        PresetSpec(name, f"hf://{repository}", parameters, f"{layers} layers of width {width}; {text}")
        for name, repository, parameters, layers, width, text in rows
    )


LLAMA = _presets(
    ("llama_3.2_1b", "meta-llama/Llama-3.2-1B", 1_235_814_400, 16, 2048, _LLAMA32),
    ("llama_3.2_1b_instruct", "meta-llama/Llama-3.2-1B-Instruct", 1_235_814_400, 16, 2048, _LLAMA32_CHAT),
    ("llama_3.2_3b", "meta-llama/Llama-3.2-3B", 3_212_749_824, 28, 3072, _LLAMA32),
    ("llama_3.2_3b_instruct", "meta-llama/Llama-3.2-3B-Instruct", 3_212_749_824, 28, 3072, _LLAMA32_CHAT),
    ("tinyllama_1.1b_chat", "TinyLlama/TinyLlama-1.1B-Chat-v1.0", 1_100_048_384, 22, 2048, _SMOL_CHAT),
    ("smollm2_135m", "HuggingFaceTB/SmolLM2-135M", 134_515_008, 30, 576, _SMOL),
    ("smollm2_135m_instruct", "HuggingFaceTB/SmolLM2-135M-Instruct", 134_515_008, 30, 576, _SMOL_CHAT),
    ("smollm2_360m", "HuggingFaceTB/SmolLM2-360M", 361_821_120, 32, 960, _SMOL),
    ("smollm2_360m_instruct", "HuggingFaceTB/SmolLM2-360M-Instruct", 361_821_120, 32, 960, _SMOL_CHAT),
    ("smollm2_1.7b", "HuggingFaceTB/SmolLM2-1.7B", 1_711_376_384, 24, 2048, _SMOL),
    ("smollm2_1.7b_instruct", "HuggingFaceTB/SmolLM2-1.7B-Instruct", 1_711_376_384, 24, 2048, _SMOL_CHAT),
)
MISTRAL = _presets(
    ("mistral_7b_v0.1", "mistralai/Mistral-7B-v0.1", 7_241_732_096, 32, 4096, _MISTRAL),
    ("mistral_7b_v0.3", "mistralai/Mistral-7B-v0.3", 7_248_023_552, 32, 4096, _MISTRAL),
    ("mistral_7b_instruct_v0.3", "mistralai/Mistral-7B-Instruct-v0.3", 7_248_023_552, 32, 4096, _MISTRAL_CHAT),
)
QWEN2 = _presets(
    ("qwen2.5_0.5b", "Qwen/Qwen2.5-0.5B", 494_032_768, 24, 896, _QWEN),
    ("qwen2.5_0.5b_instruct", "Qwen/Qwen2.5-0.5B-Instruct", 494_032_768, 24, 896, _QWEN_CHAT),
    ("qwen2.5_1.5b", "Qwen/Qwen2.5-1.5B", 1_543_714_304, 28, 1536, _QWEN),
    ("qwen2.5_1.5b_instruct", "Qwen/Qwen2.5-1.5B-Instruct", 1_543_714_304, 28, 1536, _QWEN_CHAT),
    ("qwen2.5_7b", "Qwen/Qwen2.5-7B", 7_615_616_512, 28, 3584, _QWEN),
    ("qwen2.5_7b_instruct", "Qwen/Qwen2.5-7B-Instruct", 7_615_616_512, 28, 3584, _QWEN_CHAT),
)
QWEN3 = _presets(
    ("qwen3_0.6b", "Qwen/Qwen3-0.6B", 596_049_920, 28, 1024, _QWEN3),
    ("qwen3_1.7b", "Qwen/Qwen3-1.7B", 1_720_574_976, 28, 2048, _QWEN3),
    (
        "qwen3_embedding_0.6b",
        "Qwen/Qwen3-Embedding-0.6B",
        595_776_512,
        28,
        1024,
        "100 languages and code; text embeddings, last-token pooling; Apache-2.0",
    ),
)
SMOLLM3 = _presets(
    (
        "smollm3_3b",
        "HuggingFaceTB/SmolLM3-3B",
        3_075_098_624,
        36,
        2048,
        f"6 languages; {_CHAT}, and reasons; Apache-2.0",
    ),
    ("smollm3_3b_base", "HuggingFaceTB/SmolLM3-3B-Base", 3_075_098_624, 36, 2048, "6 languages; Apache-2.0"),
)
PHI3 = _presets(
    ("phi_3_mini_4k_instruct", "microsoft/Phi-3-mini-4k-instruct", 3_821_079_552, 32, 3072, _PHI),
    ("phi_3_mini_128k_instruct", "microsoft/Phi-3-mini-128k-instruct", 3_821_079_552, 32, 3072, _PHI),
    (
        "phi_3.5_mini_instruct",
        "microsoft/Phi-3.5-mini-instruct",
        3_821_079_552,
        32,
        3072,
        f"23 languages; {_CHAT}; MIT",
    ),
    ("phi_4_mini_instruct", "microsoft/Phi-4-mini-instruct", 3_836_021_760, 32, 3072, f"23 languages; {_CHAT}; MIT"),
)
