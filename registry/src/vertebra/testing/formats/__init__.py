"""The suite for formats of presets: `FormatSuite`. It imports Keras, on the runtime that is chosen."""

from vertebra._discovery import runtimes

runtimes.bind()  # before the modules of the suite import Keras

from vertebra.testing.formats.suite import FormatSuite as FormatSuite  # noqa: E402 (Keras must be bound)
