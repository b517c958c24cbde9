"""`TinyBackbone`, a small architecture for tests. It imports Keras, on the runtime that is chosen."""

from vertebra._discovery import runtimes

runtimes.bind()  # before the module of the class imports Keras

from vertebra.testing.tiny.backbone import TinyBackbone as TinyBackbone  # noqa: E402 (Keras must be bound)
