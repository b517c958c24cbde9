"""Reads and writes tasks in presets of each format."""
