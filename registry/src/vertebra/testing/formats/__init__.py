"""The suites for formats of presets: `FormatSuite` and `FileFormatSuite`. They import Keras, on the chosen runtime."""

from vertebra._discovery import runtimes

runtimes.bind()  # before the modules of the suite import Keras

from vertebra.testing.formats.files import FileFormatSuite as FileFormatSuite  # noqa: E402 (Keras must be bound)
from vertebra.testing.formats.suite import FormatSuite as FormatSuite  # noqa: E402 (Keras must be bound)
