"""What the plugin contributes: presets with the right numbers of parameters, and translations without a framework."""

import subprocess
import sys

import pytest

from contributions import ContributionSuite
from vertebra import CacheLayer
from vertebra.specs import resolve_reference
from vertebra_llama import plugin


def kerashub(*names):
    return tuple(f"keras_hub>{name}Backbone" for name in names)


FORMATS = {
    "LlamaBackbone": {"kerashub": kerashub("Llama", "Llama3"), "transformers": ("llama",)},
    "MistralBackbone": {"kerashub": kerashub("Mistral"), "transformers": ("mistral",)},
    "Qwen2Backbone": {"kerashub": kerashub("Qwen"), "transformers": ("qwen2",)},
    "Qwen3Backbone": {"kerashub": kerashub("Qwen3"), "transformers": ("qwen3",)},
    "SmolLM3Backbone": {"kerashub": kerashub("SmolLM3"), "transformers": ("smollm3",)},
    "Phi3Backbone": {"kerashub": kerashub("Phi3"), "transformers": ("phi3",)},
}
_LLAMA_1B, _LLAMA_3B = (128256, 1, 8192, 2048, 512, 0), (128256, 1, 8192, 3072, 1024, 0)
_SMOL = {"135m": (1536, 576, 192), "360m": (2560, 960, 320), "1.7b": (8192, 2048, 2048)}
_QWEN = {"0.5b": (151936, 1, 4864, 896, 128), "1.5b": (151936, 1, 8960, 1536, 256), "7b": (152064, 2, 18944, 3584, 512)}
_PHI = (32064, 2, 8192, 3072, 3072, 0)
ROWS = {
    **dict.fromkeys(("llama_3.2_1b", "llama_3.2_1b_instruct"), _LLAMA_1B),
    **dict.fromkeys(("llama_3.2_3b", "llama_3.2_3b_instruct"), _LLAMA_3B),
    "tinyllama_1.1b_chat": (32000, 2, 5632, 2048, 256, 0),
    **{f"smollm2_{size}{end}": (49152, 1, *row, 0) for size, row in _SMOL.items() for end in ("", "_instruct")},
    "mistral_7b_v0.1": (32000, 2, 14336, 4096, 1024, 0),
    **dict.fromkeys(("mistral_7b_v0.3", "mistral_7b_instruct_v0.3"), (32768, 2, 14336, 4096, 1024, 0)),
    **{
        f"qwen2.5_{size}{end}": (*row, row[3] + 2 * row[4])  # the biases
        for size, row in _QWEN.items()
        for end in ("", "_instruct")
    },
    "qwen3_0.6b": (151936, 1, 3072, 2048, 1024, 256),
    "qwen3_1.7b": (151936, 1, 6144, 2048, 1024, 256),
    "qwen3_embedding_0.6b": (151669, 1, 3072, 2048, 1024, 256),
    **dict.fromkeys(("smollm3_3b", "smollm3_3b_base"), (128256, 1, 11008, 2048, 512, 0)),
    **dict.fromkeys(("phi_3_mini_4k_instruct", "phi_3_mini_128k_instruct", "phi_3.5_mini_instruct"), _PHI),
    "phi_4_mini_instruct": (200064, 1, 8192, 3072, 1024, 0),
}
"""Tokens, tables, and the widths of the feed-forward network, all query heads, all key heads, and further vectors."""


class TestLlama(ContributionSuite):
    plugin, formats, rows = plugin, FORMATS, ROWS

    def parameters(self, rows, layers, width):
        tokens, tables, inner, queries, keys, vectors = rows
        layer = 2 * width * (queries + keys) + 3 * width * inner + 2 * width + vectors
        return tables * tokens * width + layers * layer + width

    def test_a_preset_names_its_licence(self):
        presets = [preset for spec in plugin.vertebra_backbones() for preset in spec.presets]
        assert all(preset.description.endswith(("Apache-2.0", "MIT", "Community License")) for preset in presets)
        assert all(preset.handle.startswith("hf://") for preset in presets)


@pytest.mark.parametrize("name", FORMATS)
def test_each_class_caches_keys_and_values(name):
    (spec,) = (spec for spec in plugin.vertebra_backbones() if spec.name == name)
    sizes = {"num_layers": 3, "num_query_heads": 4, "num_key_value_heads": 2, "hidden_dim": 24, "head_dim": None}
    layers = resolve_reference(spec.cache)
    assert layers(sizes | {"sliding_window": None, "layer_types": None}) == [CacheLayer(2, 6)] * 3
    types = ["full_attention", "sliding_attention", "full_attention"]
    found = layers(sizes | {"head_dim": 8, "sliding_window": 5, "layer_types": types})
    assert found == [CacheLayer(2, 8), CacheLayer(2, 8, 5), CacheLayer(2, 8)]


def test_the_cache_and_the_scalings_import_no_framework():
    program = (
        "import sys, vertebra_llama.cache, vertebra_llama.rope_scaling; print({'keras', 'numpy'} & {*sys.modules})"
    )
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert found.stdout == "set()\n"
