"""The rules for runtimes, for that of this process."""

import pytest

import vertebra
from vertebra.testing import RuntimeSuite

pytestmark = pytest.mark.keras


class TestRuntime(RuntimeSuite):
    @pytest.fixture
    def runtime(self, pytestconfig):
        return vertebra.use(pytestconfig.getoption("--runtime"))
