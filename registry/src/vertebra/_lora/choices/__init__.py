"""Choices of adapters for calls: which act, in the model at rest or in one call, and the lock of the two."""
