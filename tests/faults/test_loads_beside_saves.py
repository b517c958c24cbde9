"""Loads of a preset that is saved over all the time: each is of one version, and none is an error.

`VERTEBRA_FAULT_RUNS` says how many loads there are (20 at least).
"""

import itertools
import json
import os
import subprocess
import sys
import threading

import numpy as np
import pytest

import vertebra

pytestmark = pytest.mark.keras

LOADS = max(20, int(os.environ.get("VERTEBRA_FAULT_RUNS", "20")))
SHARDS = (8e-6, 12e-6)

# Saves two versions over each other, in turn, with shards of two sizes, until its standard input is closed.
SAVE_FOR_EVER = """
import itertools, json, sys, threading
import numpy as np
import vertebra

target, format = sys.argv[1:3]
arguments, shards = map(json.loads, sys.argv[3:])
versions = [vertebra.models.BertBackbone(**arguments) for _ in range(2)]
for number, backbone in enumerate(versions):
    for variable in backbone.weights:
        variable.assign(np.full(variable.shape, number))
end = threading.Event()
threading.Thread(target=lambda: (sys.stdin.read(), end.set()), daemon=True).start()
for number in itertools.count():
    shard = shards[number % 3 == 0]
    versions[number % 2].save_to_preset(target, format=format, max_shard_size=shard, certificate=number % 5 == 0)
    if number == 1:
        print("ready", flush=True)
    if end.is_set():
        print(number + 1)
        break
"""


@pytest.fixture
def arguments(arguments):
    return arguments | {"activation": "gelu_approximate"}  # that of KerasHub's BERT


def load_often(target):
    """Loads again and again; returns the versions that were met."""
    met = []
    for _ in range(LOADS):
        backbone = vertebra.Backbone.from_preset(target)
        numbers = {number for variable in backbone.weights for number in np.unique(variable.numpy()).tolist()}
        assert len(numbers) == 1, numbers
        met += numbers
    return met


@pytest.mark.parametrize("format", ["native", "kerashub"])
def test_beside_another_process_that_saves(tmp_path, arguments, format):
    settings = json.dumps(arguments), json.dumps(SHARDS)
    command = [sys.executable, "-c", SAVE_FOR_EVER, tmp_path / "preset", format, *settings]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as saver:
        assert saver.stdout.readline() == "ready\n"
        met = load_often(tmp_path / "preset")
        saves, _ = saver.communicate()
    assert set(met) == {0, 1}
    assert int(saves) > 2


@pytest.mark.parametrize("format", ["native", "kerashub"])
def test_beside_a_thread_that_saves(tmp_path, arguments, format):
    versions = [vertebra.models.BertBackbone(**arguments) for _ in range(2)]
    for number, backbone in enumerate(versions):
        for variable in backbone.weights:
            variable.assign(np.full(variable.shape, number))
    end, began = threading.Event(), threading.Event()

    def save_for_ever():
        for number in itertools.count():
            shard = SHARDS[number % 3 == 0]
            versions[number % 2].save_to_preset(tmp_path / "preset", format=format, max_shard_size=shard)
            began.set()
            if end.is_set():
                break

    saver = threading.Thread(target=save_for_ever)
    saver.start()
    try:
        began.wait()
        assert set(load_often(tmp_path / "preset")) == {0, 1}
    finally:
        end.set()
        saver.join()
