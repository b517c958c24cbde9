"""Preset formats: reads and writes the native, KerasHub and transformers layouts of config and weights."""
