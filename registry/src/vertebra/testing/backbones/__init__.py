"""The suite for architectures: `BackboneSuite`. Its modules import Keras, on the runtime that is chosen."""

from vertebra._discovery import runtimes

runtimes.bind()  # before the modules of the suite import Keras

from vertebra.testing.backbones.suite import BackboneSuite as BackboneSuite  # noqa: E402 (Keras must be bound)
