"""Saves that are killed, or run out of disk: the old files are still there, or the new ones are, complete.

`VERTEBRA_FAULT_RUNS` says how many processes are killed at random moments (15 if it is not set).
"""

import errno
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

RUNS = int(os.environ.get("VERTEBRA_FAULT_RUNS", "15"))

# Saves numbered versions over a file and a folder for ever. A version is its own number, 100,000 times.
SAVE_FOR_EVER = """
import sys
from itertools import count
from pathlib import Path
from vertebra._system.atomic_save import replacing_file, replacing_folder

print("ready", flush=True)
for version in count():
    data = f"{version:09}".encode() * 100_000
    with replacing_file(Path("file")) as stage:
        stage.write_bytes(data)
    with replacing_folder(Path("folder")) as stage:
        (stage / "one").write_bytes(data)
        (stage / "two").write_bytes(data)
"""

# Saves once over an old version, in a fork that is killed at the first line of the saving module, then in another that
# is killed at the second, and so on until one gets to the end. Prints what each left behind.
KILL_AT_EACH_LINE = """
import json, os, shutil, signal, sys
from itertools import count
from pathlib import Path
from vertebra._system import atomic_save

kind, folder = sys.argv[1], Path(sys.argv[2])
target = folder / "target"

def save(text):
    if kind == "file":
        with atomic_save.replacing_file(target) as stage:
            stage.write_text(text)
    else:
        with atomic_save.replacing_folder(target) as stage:
            (stage / "one").write_text(text)
            (stage / "two").write_text(text)

def put_old():
    if kind == "file":
        return target.write_text("old")
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir()
    for name in ("one", "two"):
        (target / name).write_text("old")

def contents():
    return [path.read_text() for path in target.iterdir()] if target.is_dir() else [target.read_text()]

def kill_at(line_number):
    left = line_number
    def trace(frame, event, argument):
        nonlocal left
        if frame.f_code.co_filename != atomic_save.__file__:
            return None
        if event == "line":
            left -= 1
            if not left:
                os.kill(os.getpid(), signal.SIGKILL)
        return trace
    return trace

results = []
for number in count(1):
    put_old()
    child = os.fork()
    if not child:
        sys.settrace(kill_at(number))
        save("new")
        os._exit(0)
    _, status = os.waitpid(child, 0)
    rest = [name for name in os.listdir(folder) if name != "target"]
    results.append({"contents": contents(), "rest": rest, "killed": os.WIFSIGNALED(status)})
    for name in rest:
        shutil.rmtree(folder / name) if (folder / name).is_dir() else (folder / name).unlink()
    if not os.WIFSIGNALED(status):
        break
print(json.dumps(results))
"""

# Tries to save over an old version in the working directory, in a way that cannot work, and prints what came of it.
TRY_TO_SAVE = """
import json, os, sys
from pathlib import Path
from vertebra._system.atomic_save import replacing_file, replacing_folder
from vertebra.errors import PresetSaveError

def fill(path, size):
    with open(path, "wb") as file:
        for _ in range(size // 1000):
            file.write(bytes(1000))

def attempt(kind, target, size):
    try:
        if kind == "file":
            with replacing_file(target) as stage:
                fill(stage, size)
        else:
            with replacing_folder(target) as stage:
                fill(stage / "one", size)
                fill(stage / "two", size)
    except PresetSaveError as error:
        return type(error.__cause__).__name__, error.__cause__.errno
    return None

def state():
    # Sizes of everything below the working directory.
    return {str(path): path.stat().st_size for path in Path().rglob("*") if path.is_file()}

for kind in ("file", "folder"):
    attempt(kind, Path(kind), 1000)
before = state()
assert len(before) == 3, before

%s

print(json.dumps({"outcomes": outcomes, "unchanged": state() == before, "rest": sorted(os.listdir())}))
"""


def test_a_process_killed_at_any_moment_leaves_one_whole_version(tmp_path):
    """SV-01, and V14: the next save removes what was left, so that there is at most one unfinished save of each."""
    file, folder = tmp_path / "file", tmp_path / "folder"
    interrupted = False
    for _ in range(RUNS):
        saver = subprocess.Popen([sys.executable, "-c", SAVE_FOR_EVER], cwd=tmp_path, stdout=subprocess.PIPE)
        with saver.stdout as output:
            output.readline()
        while not folder.exists() and saver.poll() is None:
            time.sleep(0.001)
        time.sleep(random.uniform(0, 0.02))
        saver.kill()
        assert saver.wait() == -signal.SIGKILL
        assert {path.name for path in folder.iterdir()} == {"one", "two"}
        for versions in ([file], list(folder.iterdir())):
            (data,) = {path.read_bytes() for path in versions}
            assert data == data[:9] * 100_000
        rest = [path for path in tmp_path.iterdir() if path.name not in ("file", "folder")]
        assert all(path.name.startswith(".f") and path.name.endswith(".tmp") for path in rest)
        assert len(rest) == len({path.name.split(".")[1] for path in rest})
        interrupted = interrupted or bool(rest)
    assert interrupted  # else no process was killed in the middle of a save


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_a_process_killed_at_each_line_leaves_one_whole_version(kind, child, tmp_path):
    """SV-01, for each place where a save can be interrupted."""
    results = json.loads(child(KILL_AT_EACH_LINE, kind, tmp_path))
    count = 2 if kind == "folder" else 1
    assert {tuple(result["contents"]) for result in results} == {("old",) * count, ("new",) * count}
    assert all(len(result["rest"]) <= 1 for result in results)
    assert len(results) > 20
    assert results[-1] == {"contents": ["new"] * count, "rest": [], "killed": False}


@pytest.fixture
def try_to_save(child, tmp_path):
    """Returns a function that runs attempts in a child process, whose working directory is the folder `site`."""
    site = tmp_path / "site"
    site.mkdir()

    def run(attempts, prepare="", under=()):
        code = f"import os; os.chdir({str(site)!r})\n{prepare}\n{TRY_TO_SAVE % attempts}"
        result = json.loads(child(code, under=under))
        assert result["unchanged"]
        assert result["rest"] == ["file", "folder"]
        return [outcome and outcome[1] for outcome in result["outcomes"]]

    return run


@pytest.fixture
def try_in_namespace(try_to_save, tmp_path):
    """The same on a file system of 1 MB, which needs a mount namespace."""
    start = ("unshare", "--user", "--map-root-user", "--mount")
    if subprocess.run([*start, "true"], capture_output=True).returncode:
        pytest.skip("this machine does not let us make a mount namespace (unshare)")
    mount = f"mount -t tmpfs -o size=1m tmpfs '{tmp_path}/site' && exec \"$@\""
    return lambda attempts: try_to_save(attempts, under=(*start, "sh", "-c", mount, "sh"))


def test_a_full_disk_leaves_the_old_version(try_in_namespace):
    """SV-02."""
    outcomes = try_in_namespace("""
outcomes = [attempt(kind, Path(kind), size) for size in (1_100_000, 2_000_000) for kind in ("file", "folder")]
outcomes += [attempt("folder", Path("folder"), 600_000)]
""")
    assert outcomes == [28] * 5  # ENOSPC


def test_a_full_disk_leaves_the_old_version_whatever_fits(try_in_namespace):
    """SV-02, for sizes on both sides of the limit: each save is done or refused, and refused saves cost no space."""
    outcomes = try_in_namespace("""
outcomes = []
for size in range(900_000, 1_100_000, 20_000):
    outcomes.append(attempt("file", Path("another"), size))
    if outcomes[-1] is None:
        Path("another").unlink()
""")
    assert set(outcomes) == {None, 28}
    assert outcomes == sorted(outcomes, key=bool)


def test_a_read_only_file_system_leaves_the_old_version(try_in_namespace):
    outcomes = try_in_namespace("""
import subprocess
subprocess.run(["mount", "-o", "remount,ro", os.getcwd()], check=True)
os.chdir(os.getcwd())
outcomes = [attempt(kind, Path(kind), 1000) for kind in ("file", "folder")]
""")
    assert outcomes == [30, 30]  # EROFS


def test_a_mount_point_is_not_replaced(try_in_namespace):
    outcomes = try_in_namespace("""
import subprocess
subprocess.run(["mount", "--bind", "folder", "folder"], check=True)
outcomes = [attempt("folder", Path("folder"), 1000)]
""")
    assert outcomes == [16]  # EBUSY


def test_a_limit_on_file_sizes_leaves_the_old_version(try_to_save):
    outcomes = try_to_save("""
import resource
resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
outcomes = [attempt(kind, Path(kind), 60_000) for kind in ("file", "folder")]
""")
    assert outcomes == [27, 27]  # EFBIG


def test_a_folder_of_another_user_leaves_the_old_version(try_to_save):
    outcomes = try_to_save("""
os.chmod(".", 0o555)
if os.geteuid() == 0:
    os.seteuid(65534)
outcomes = [attempt(kind, Path(kind), 1000) for kind in ("file", "folder", "folder")]
if os.getuid() == 0:
    os.seteuid(0)
os.chmod(".", 0o755)
""")
    assert outcomes == [13, 13, 13]  # EACCES


# Replaces an HDF5 file in the working directory in a fork whose calls fail from the first on, then in another whose
# calls fail from a later one on, and so on until none fails. Prints the error's number, or 0, and the files of each.
WRITE_HDF5 = """
import itertools, json, os, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import numpy as np
import tracing
from vertebra._system.atomic_save import replacing_file
from vertebra._weights.hdf5.writing import write_datasets
from vertebra.errors import PresetSaveError

arrays = {f"layers/{number}/vars/0": np.full(20_000, number, "float32") for number in range(5)}

def write(name="new.h5"):
    try:
        with replacing_file(Path(name)) as stage:
            write_datasets(stage, arrays)
    except PresetSaveError as error:
        return error.__cause__.errno
    return 0

os.chdir(sys.argv[2])
write("imported.h5")
Path("imported.h5").unlink()
calls, results = "write,pwrite64,ftruncate,fsync", []
for number in itertools.count(1, int(sys.argv[4])):
    Path("new.h5").write_text("old")
    status = tracing.status_of(write, calls, f"error={sys.argv[3]}:when={number}+")
    results.append([number, status, os.listdir(), Path("new.h5").read_bytes() == b"old"])
    if status == 0:
        break
print(json.dumps(results))
"""


@pytest.mark.parametrize("name", ["EIO", "EDQUOT"])
def test_hdf5_that_cannot_be_written_is_an_error_and_the_process_lives_on(strace, child, tmp_path, name):
    """SV-02, for each write that may be the first of those that fail; each third in the short run."""
    step = 1 if RUNS >= 200 else 3
    *failed, last = json.loads(child(WRITE_HDF5, Path(__file__).parent, tmp_path, name, step))
    assert [result[1:] for result in failed] == [[getattr(errno, name), ["new.h5"], True]] * len(failed)
    assert last[1:] == [0, ["new.h5"], False]
    assert last[0] > 8  # each array, the metadata, and forcing it to disk
