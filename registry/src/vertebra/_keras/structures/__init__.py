"""Structures: models without values, as bytes from which equal models are made without a call of a constructor."""
