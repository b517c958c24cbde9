"""LoRA adapters for vLLM: its server resolves their names by Vertebra's sources, cache and lockfile."""
