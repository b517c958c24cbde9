"""Payloads in the form of published advisories: none runs, reads other files or sends a request.

Each is refused by an error of Vertebra, or read without its hostile part. Nothing is written or opened out of its
folder, by C libraries and child processes, too; nothing is imported or compiled; the state of the process and of Keras
stays; and each takes at most 2 s of processor time and 200 MB. `test_advisories_with_keras.py` has those that need a
framework.
"""

import contextlib
import os
import re
import sys
from pathlib import Path

import pytest
from faults.advisories.hubs import pull, served
from faults.advisories.payload import GOLDEN, Payload, Site
from faults.advisories.running import FORBIDDEN, Runs, check, failures, opened_by_a_library
from faults.advisories.table import ADVISORIES

import gguf_bytes
from fuzz import watch
from vertebra._lora.files.describe import describe_adapter
from vertebra._presets.inspect import inspect_preset
from vertebra.errors import VertebraError

SECURITY = Path(__file__).parents[2] / "docs" / "concepts" / "security.md"
WITHOUT_KERAS = {name: [each for each in payloads if not each.keras] for name, payloads in ADVISORIES.items()}


@pytest.fixture(scope="module")
def presets(tmp_path_factory):
    """Sound presets by name; each operation has read one, since the first use imports modules."""
    for path in (GOLDEN / "transformers_sharded", GOLDEN / "kerashub", "hf://no_repository:a/b"):
        with contextlib.suppress(VertebraError):
            inspect_preset(str(path))
    describe_adapter(GOLDEN / "peft_lora")
    folder = tmp_path_factory.mktemp("hub")
    (folder / "model.gguf").write_bytes(gguf_bytes.gpt2())
    inspect_preset(str(folder / "model.gguf"))
    with contextlib.suppress(ImportError), served(Site(folder, folder / "flag", folder, {}, 0)):
        pull()
    return {name: GOLDEN / name for name in ("transformers", "transformers_sharded", "kerashub", "kerashub_sharded")}


@pytest.mark.parametrize("advisory", [name for name, payloads in WITHOUT_KERAS.items() if payloads])
def test_no_payload_of_an_advisory_runs_or_reads_or_sends_anything(advisory, presets, tmp_path):
    runs = Runs(tmp_path, presets)
    with runs.watched():
        check(runs, WITHOUT_KERAS[advisory])


@pytest.mark.parametrize("write", FORBIDDEN, ids=lambda write: write.__name__)
def test_a_payload_that_did_something_would_be_seen(write, presets, tmp_path, monkeypatch):
    if write is opened_by_a_library and sys.platform != "linux":
        pytest.skip("only Linux tells who opens a file")
    monkeypatch.delenv("PAYLOAD", raising=False)
    monkeypatch.setattr(watch, "MOST_SECONDS", 0.5)
    runs = Runs(tmp_path, presets)
    with runs.watched():
        assert FORBIDDEN[write] in failures(runs, [Payload("payload", write, ignored=True)])["payload"]
    os.environ.pop("PAYLOAD", None)


# === The figures in the documentation ===


def section():
    text = SECURITY.read_text(encoding="utf-8")
    return text.partition("\n## Advisories\n")[2].partition("\n## ")[0]


def test_the_documentation_says_how_many_payloads_of_how_many_advisories_there_are():
    count = sum(map(len, ADVISORIES.values()))
    assert (len(ADVISORIES), count) >= (25, 100)
    assert f"**{count:,} payloads of {len(ADVISORIES)} named advisories**" in section()
    assert f"{3 / count:.1e}".replace("e-0", "e-") in section()


def test_the_documentation_names_each_advisory():
    named = re.findall(r"(?:CVE-\d{4}-\d+|GHSA(?:-\w{4}){3}|KERAS-MFV-\d+)", section())
    assert sorted(named) == sorted(ADVISORIES)


def test_the_names_of_the_payloads_of_an_advisory_differ():
    assert {name for name, each in ADVISORIES.items() if len({payload.name for payload in each}) < len(each)} == set()
