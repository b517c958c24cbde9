"""Tensors: of arrays, and of random numbers."""
