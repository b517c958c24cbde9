"""Batch inference on Ray."""
