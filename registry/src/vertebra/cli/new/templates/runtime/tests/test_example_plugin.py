"""The rules for runtimes, in a process whose Keras is on the backend: KERAS_BACKEND=numpy pytest."""

import pytest
from vertebra import Runtime
from vertebra.testing import RuntimeSuite

from example_plugin import vertebra_runtimes


class TestExamplePlugin(RuntimeSuite):
    @pytest.fixture
    def runtime(self) -> Runtime:
        (runtime,) = vertebra_runtimes()
        return runtime
