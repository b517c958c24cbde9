"""Reads and writes causal language models in presets of each format."""
