"""Keras: its private parts that are used, each with its reason, and layers that it lacks."""
