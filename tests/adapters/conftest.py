"""The modules of the frameworks, for tests of one adapter."""

import pytest


@pytest.fixture
def torch(runtime):
    """torch, on which alone a backbone is a module; the test is skipped on other runtimes."""
    if runtime != "torch":
        pytest.skip("only on torch a backbone is a module")
    import torch

    return torch
