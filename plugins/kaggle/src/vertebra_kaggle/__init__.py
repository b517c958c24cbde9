"""Presets on Kaggle for Vertebra."""
