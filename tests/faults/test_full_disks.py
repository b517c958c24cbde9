"""HDF5 is written to a disk that is full, to a file that may not grow, or to a disk that fails: the process lives on.

SV-02 for each form that the HDF5 library has a part in. `VERTEBRA_FAULT_RUNS` says whether all sizes of free space are
tried (from 200 on) or every third.
"""

import errno
import json
import os

import pytest

pytestmark = pytest.mark.keras

ALL = int(os.environ.get("VERTEBRA_FAULT_RUNS", "6")) >= 200
FREE = [0, 4096, 8192, 16384, 24576, 32768, 49152, 65536, 98304, 131072, 196608][:: 1 if ALL else 3]
FORMS = ["one", "shards", "converted", "x.lora.h5"]
TOGETHER = [[form] for form in FORMS] if ALL else [FORMS]
"""Forms that one child process saves; a child has a time limit."""

# Saves over an old version of each form in forks, of which also the end counts: the HDF5 library may write once more.
# Exit statuses are 0, or the error number of the operating system.
SAVE_IN_FORKS = """
import ctypes, gc, json, os, resource, subprocess, sys
from pathlib import Path
import vertebra
from vertebra._presets.convert import convert_preset
from vertebra.errors import PresetSaveError

golden, site, what = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
sizes, forms = map(json.loads, sys.argv[4:])
plain = {name: vertebra.Backbone.from_preset(golden / "kerashub", name=name) for name in ("old", "new")}
adapted = {name: vertebra.Backbone.from_preset(golden / "kerashub") for name in ("old", "new")}
for seed, backbone in enumerate(adapted.values()):
    backbone.enable_lora(8, seed=seed)

SAVES = {
    "one": lambda name, path: plain[name].save_to_preset(path, format="kerashub", certificate=False),
    "shards": lambda name, path: plain[name].save_to_preset(
        path, format="kerashub", certificate=False, max_shard_size=8e-6
    ),
    "converted": lambda name, path: convert_preset(golden / "kerashub", path, "kerashub", max_shard_size=20e-6),
    "x.lora.h5": lambda name, path: adapted[name].save_lora_weights(path),
}

def end_of_a_save(form):
    try:
        SAVES[form]("new", site / form)
    except PresetSaveError as error:
        return error.__cause__.errno
    return 0

def state():
    return {str(path): path.read_bytes() for path in site.rglob("*") if path.is_file() and path.name != "ballast"}

def leave(free):
    (site / "ballast").unlink(missing_ok=True)
    if free is not None:
        left = os.statvfs(site).f_bavail * os.statvfs(site).f_bsize - free
        (site / "ballast").write_bytes(bytes(left))

def let_saves_run():
    # These saves compute nothing, so that they need none of JAX's threads, which a fork lacks.
    if "vertebra_jax.threads" in sys.modules:
        sys.modules["vertebra_jax.threads"]._is_forked = False

def attempt(form, size):
    before = state()
    if what == "disk":
        leave(size)
    saver = os.fork()
    if not saver:
        let_saves_run()
        if what == "file":
            resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
        status = end_of_a_save(form)
        gc.collect()
        # Ends with the exit handler of the HDF5 library, and without those of jax, which wait for ever in a fork.
        ctypes.CDLL(None).exit(status)
    status = os.waitstatus_to_exitcode(os.waitpid(saver, 0)[1])
    leave(None)
    assert status == 0 or state() == before, (form, size, status)
    assert [path.name for path in site.iterdir()] == [form], (form, size, status)
    return status

gc.freeze()  # a fork collects what it has made itself
outcomes = {}
for form in forms:
    outcomes[form] = []
    for size in sizes:
        SAVES[form]("old", site / form)
        outcomes[form].append(attempt(form, size))
    subprocess.run(["rm", "-r", site / form], check=True)
print(json.dumps(outcomes))
"""


@pytest.mark.parametrize("forms", TOGETHER, ids=" ".join)
@pytest.mark.parametrize(("what", "number"), [("disk", errno.ENOSPC), ("file", errno.EFBIG)])
def test_a_full_disk_or_file_is_an_error_and_the_process_lives_on(
    child, golden, tmp_path, mounted, what, number, forms
):
    settings = what, json.dumps(FREE), json.dumps(forms)
    under = mounted if what == "disk" else ()
    outcomes = json.loads(child(SAVE_IN_FORKS, golden, tmp_path / "site", *settings, under=under).splitlines()[-1])
    assert list(outcomes) == forms
    for statuses in outcomes.values():
        assert set(statuses) == {0, number}
        assert statuses == sorted(statuses, key=bool, reverse=True)  # from some size on, all are saved
