"""The bytes of a GGUF file: the header, and the values of tensors."""
