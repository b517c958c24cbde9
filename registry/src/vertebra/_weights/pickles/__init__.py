"""Pickles of torch, such as pytorch_model.bin: only conversions, of presets and adapters, read them."""
