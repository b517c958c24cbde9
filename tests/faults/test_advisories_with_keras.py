"""The payloads of advisories that need a framework; `test_advisories.py` has the others, and says what is checked."""

import itertools
import shutil
from functools import partial

import keras
import pytest
from faults.advisories.adapters import loading
from faults.advisories.objects import reading
from faults.advisories.payload import GOLDEN, Payload, Site
from faults.advisories.running import Runs, check, failures
from faults.advisories.table import ADVISORIES

import vertebra

pytestmark = pytest.mark.keras(once=True)

OF_KERAS = {name: [payload for payload in payloads if payload.keras] for name, payloads in ADVISORIES.items()}


@pytest.fixture(scope="module")
def presets(tmp_path_factory):
    """Sound presets by name; each operation has read some, since the first use imports modules."""
    root = tmp_path_factory.mktemp("presets")
    backbone = vertebra.Backbone.from_preset(GOLDEN / "transformers")
    backbone.save_to_preset(root / "native")
    type(backbone).from_config(backbone.get_config())
    for name in ("kerashub", "kerashub_sharded", "transformers", "transformers_sharded"):
        shutil.copytree(GOLDEN / name, root / name)
    found = {path.name: path for path in root.iterdir()}
    sound = [reading(path, root / "converted" / name)[: 3 if name == "kerashub" else 1] for name, path in found.items()]
    site = Site(root, root / "flag", root, found, 0)
    sound += [loading(GOLDEN / name, site) for name in ("peft_lora", "kerashub_lora.lora.h5")]
    for operation in itertools.chain(*sound):
        operation()
    return found


@pytest.mark.parametrize("advisory", [name for name, payloads in OF_KERAS.items() if payloads])
def test_no_payload_of_an_advisory_runs_or_reads_or_sends_anything(advisory, presets, tmp_path):
    runs = Runs(tmp_path, presets)
    with runs.watched():
        check(runs, OF_KERAS[advisory])


def test_a_payload_that_changed_keras_would_be_seen(presets, tmp_path):
    runs = Runs(tmp_path, presets)
    payload = Payload("payload", lambda _: [partial(keras.config.set_epsilon, 1e-3)], ignored=True)
    before = keras.config.epsilon()
    try:
        with runs.watched():
            assert "changed Keras" in failures(runs, [payload])["payload"]
    finally:
        keras.config.set_epsilon(before)
