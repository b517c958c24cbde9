"""Beam search and contrastive search, as state machines on the host: they see logits, and name tokens and rows."""
