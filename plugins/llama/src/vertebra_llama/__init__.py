"""Llama, Mistral, Qwen2, Qwen3, SmolLM3 and Phi-3 for Vertebra."""
