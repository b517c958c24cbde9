"""Presets on the Hugging Face Hub for Vertebra."""
