"""Preset formats: what a config and its tensors mean in the native, KerasHub's and transformers' layout."""
