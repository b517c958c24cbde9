"""Keras support: wrappers for the private Keras APIs that Vertebra uses, and a faster dropout layer."""
