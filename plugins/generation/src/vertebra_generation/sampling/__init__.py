"""Choosing the next token from logits: options, processors, filters and draws, on NumPy arrays."""
