"""Signatures of presets, by OpenSSF Model Signing."""
