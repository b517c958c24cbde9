"""The safetensors format: reading headers, mapping tensors and writing files."""
