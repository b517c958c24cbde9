"""The run of a target in the tests: its seeds, the inputs that once failed, and changed seeds."""

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fuzz.target import Target
from fuzz.watch import opened

EXAMPLES = int(os.environ.get("VERTEBRA_FAULT_RUNS", "20"))
FAILED = Path(__file__).with_name("failed")
"""A folder for each target that had a failure, with the inputs."""


def run_shortly(target: Target, folder: Path) -> None:
    """Reads the seeds, which must be accepted, the inputs that once failed, and changed seeds."""
    for package in target.needs:
        pytest.importorskip(package)
    seeds = list(target.seeds())
    with opened(target, folder / target.name) as watch:
        assert [watch(seed) for seed in seeds] == ["accepted"] * len(seeds)
        for path in sorted((FAILED / target.name).glob("*")):
            watch(path.read_bytes())

        @settings(max_examples=EXAMPLES)
        @given(seed=st.sampled_from(seeds), choices=st.randoms(use_true_random=False))
        def read_changed(seed, choices):
            watch(target.mutate(seed, choices, target.words))

        read_changed()
