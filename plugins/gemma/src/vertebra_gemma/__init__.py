"""Gemma for Vertebra."""
