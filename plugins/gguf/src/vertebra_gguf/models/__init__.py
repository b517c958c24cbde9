"""The architectures of GGUF files, in the words of transformers."""
