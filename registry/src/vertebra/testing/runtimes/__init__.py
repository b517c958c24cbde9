"""The suite for runtimes: `RuntimeSuite`. It imports Keras, on the runtime that is chosen."""

from vertebra._discovery import runtimes

runtimes.bind()  # before the modules of the suite import Keras

from vertebra.testing.runtimes.suite import RuntimeSuite as RuntimeSuite  # noqa: E402 (Keras must be bound)
