"""Layers under adapters: the linear view of a layer, the adapter layers, and how they attach to a model."""
