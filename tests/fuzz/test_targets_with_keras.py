"""A short run of each target that needs a framework, whose result does not depend on which."""

import pytest

from fuzz.short_run import run_shortly
from fuzz.targets import TARGETS

pytestmark = pytest.mark.keras(once=True)


@pytest.mark.parametrize("name", [name for name, target in TARGETS.items() if "keras" in target.needs])
def test_inputs_are_read_or_refused_and_change_nothing(name, tmp_path):
    run_shortly(TARGETS[name], tmp_path)
