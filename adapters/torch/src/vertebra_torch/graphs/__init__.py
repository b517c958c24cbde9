"""Traced graphs, and the passes that rewrite them."""
