"""Presets on ModelScope for Vertebra."""
