"""Payloads in the form of published advisories: none runs, reads other files or sends a request.

Each is refused by an error of Vertebra, or read without its hostile part. Nothing is written or opened out of its
folder, by C libraries and child processes, too; nothing is imported or compiled; the state of the process and of Keras
stays; and each takes at most 2 s of processor time and 200 MB. `test_advisories_with_keras.py` has those that need a
framework.
"""

import contextlib

import pytest
from faults.advisories.payload import GOLDEN
from faults.advisories.running import Runs, failures
from faults.advisories.table import ADVISORIES

from vertebra._lora.files.describe import describe_adapter
from vertebra._presets.inspect import inspect_preset
from vertebra.errors import VertebraError

WITHOUT_KERAS = {name: [each for each in payloads if not each.keras] for name, payloads in ADVISORIES.items()}


@pytest.fixture(scope="module")
def presets():
    """Sound presets by name; each operation has read one, since the first use imports modules."""
    for path in (GOLDEN / "transformers_sharded", GOLDEN / "kerashub", "hf://no_repository:a/b"):
        with contextlib.suppress(VertebraError):
            inspect_preset(str(path))
    describe_adapter(GOLDEN / "peft_lora")
    return {name: GOLDEN / name for name in ("transformers", "transformers_sharded", "kerashub", "kerashub_sharded")}


@pytest.mark.parametrize("advisory", [name for name, payloads in WITHOUT_KERAS.items() if payloads])
def test_no_payload_of_an_advisory_runs_or_reads_or_sends_anything(advisory, presets, tmp_path):
    runs = Runs(tmp_path, presets)
    with runs.watched():
        failed = failures(runs, WITHOUT_KERAS[advisory])
    assert not failed, "\n".join(f"{name}: {reason}" for name, reason in failed.items())
