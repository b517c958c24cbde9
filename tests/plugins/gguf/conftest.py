"""The writer of GGUF files, for all tests of the plugin."""

import pytest


@pytest.fixture(scope="session")
def files():
    """Writes presets of transformers as GGUF files."""
    pytest.importorskip("gguf")
    from gguf_writing import Files

    return Files()
