"""Adapted layers: their linear views, their adapter layers, and how these attach to a model."""
