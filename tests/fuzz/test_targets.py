"""A short run of each target that needs no framework, the same on each machine; `make fuzz` runs all for longer."""

import pytest

from fuzz.short_run import run_shortly
from fuzz.targets import TARGETS


@pytest.mark.parametrize("name", [name for name, target in TARGETS.items() if "keras" not in target.needs])
def test_inputs_are_read_or_refused_and_change_nothing(name, tmp_path):
    run_shortly(TARGETS[name], tmp_path)
