"""Presets in OCI registries for Vertebra."""
