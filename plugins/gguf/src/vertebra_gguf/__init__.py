"""GGUF files, the format of llama.cpp, as presets for Vertebra."""
