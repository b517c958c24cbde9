"""The suite for LoRA strategies: `StrategySuite`. It imports Keras, on the runtime that is chosen."""

from vertebra._discovery import runtimes

runtimes.bind()  # before the modules of the suite import Keras

from vertebra.testing.strategies.suite import StrategySuite as StrategySuite  # noqa: E402 (Keras must be bound)
