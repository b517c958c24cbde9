"""Keras layers of tasks: pooling, and the layers of HeadSpec."""
