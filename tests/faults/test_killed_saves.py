"""Saves of each form, killed at random moments: the old version is there, or the new one, and the next save tidies up.

SV-01 and V14 for all that Vertebra writes. `VERTEBRA_FAULT_RUNS` says how many saves of each form are killed (a third
of it if it is below 200).
"""

import json
import os

import pytest

pytestmark = pytest.mark.keras(once=True)

RUNS = int(os.environ.get("VERTEBRA_FAULT_RUNS", "15"))
KILLS = RUNS if RUNS >= 200 else RUNS // 3
FORMS = [
    "native",
    "native shards",
    "kerashub",
    "kerashub shards",
    "transformers",
    "transformers shards",
    "x.safetensors",
    "x.lora.h5",
    "peft",
    "converted",
]

# Saves two versions over each other, in a fork that is killed, again and again. Prints which version was there after
# each kill, byte for byte, how many kills left a stage, and what the saves after kills left.
KILL_SAVES = """
import ctypes, gc, itertools, json, os, random, signal, sys, time
from pathlib import Path
import numpy as np
import vertebra
from vertebra._presets.convert import convert_preset

golden, site, form, kills = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], int(sys.argv[4])
path = site / form.replace(" ", "-")
shards = {"max_shard_size": 20e-6} if form.endswith(("shards", "converted")) else {}
is_adapter = form.startswith("x.") or form == "peft"

def version(number):
    backbone = vertebra.Backbone.from_preset(golden / "kerashub", copy=True)
    if is_adapter:
        backbone.enable_lora(1)
    for weight in backbone.trainable_weights if is_adapter else backbone.weights:
        weight.assign(np.full(weight.shape, number))
    return backbone

def write(number, path):
    if is_adapter:
        versions[number].save_lora_weights(path)
    elif form == "converted":
        convert_preset(site.parent / f"version{number}", path, "transformers", **shards)
    else:
        versions[number].save_to_preset(path, format=form.split()[0], certificate=False, **shards)

def files():
    found = path.rglob("*") if path.is_dir() else [path]
    named = {str(file.relative_to(site)): file for file in found if file.is_file()}
    dated = "metadata.json"
    return {name: b"" if file.name == dated else file.read_bytes() for name, file in named.items()}

def load():
    if is_adapter:
        fresh.load_lora_weights(path, check_base=False)
        fresh.unload_lora()
    else:
        vertebra.Backbone.from_preset(path)

versions = [version(number) for number in (1, 2)]
for number in (0, 1):
    versions[number].save_to_preset(site.parent / f"version{number}", certificate=False)
fresh = vertebra.Backbone.from_preset(golden / "kerashub") if is_adapter else None
site.mkdir()
whole = []
for number in (0, 1):
    write(number, path)
    whole.append(files())
start = time.perf_counter()
write(0, path)
seconds = time.perf_counter() - start
gc.freeze()
seen, interrupted, left = [], 0, []
for _ in range(kills):
    saver = os.fork()
    if not saver:
        for number in itertools.count():
            write(number % 2, path)
    time.sleep(random.uniform(0, 4 * seconds))
    os.kill(saver, signal.SIGKILL)
    assert os.waitstatus_to_exitcode(os.waitpid(saver, 0)[1]) == -signal.SIGKILL
    seen.append([number for number in (0, 1) if files() == whole[number]])
    load()
    interrupted += len(os.listdir(site)) > 1
    write(0, path)
    left += [name for name in os.listdir(site) if name != path.name]
print(json.dumps({"seen": seen, "interrupted": interrupted, "left": left}))
sys.stdout.flush()
ctypes.CDLL(None)._exit(0)
"""


@pytest.mark.parametrize("form", FORMS)
def test_a_save_that_is_killed_leaves_one_whole_version_and_the_next_one_tidies_up(child, golden, tmp_path, form):
    outcome = json.loads(child(KILL_SAVES, golden, tmp_path / "site", form, KILLS, interpreter=True).splitlines()[-1])
    assert len(outcome["seen"]) == KILLS
    assert all(len(numbers) == 1 for numbers in outcome["seen"]), outcome["seen"]
    assert outcome["left"] == []
    if KILLS >= 200:
        assert outcome["interrupted"] > 5  # else hardly any process was killed in the middle of a save
    print(f"{form}: {outcome['interrupted']} of {KILLS} kills left a stage")
