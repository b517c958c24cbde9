"""The tokenizers of GGUF files, as the files of other libraries."""
