"""Downloads that are killed, concurrent, or run out of disk: the cache has correct files, or none.

`VERTEBRA_FAULT_RUNS` says how many processes are killed at random moments (6 if it is not set).
"""

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from hashlib import sha256
from pathlib import Path

import pytest

from servers import faults, radosgw
from servers.hub import HubServer
from servers.kaggle import KaggleServer
from servers.proxy import FaultProxy
from vertebra._cache.store import Store
from vertebra._cache.verify import verify_store

RUNS = int(os.environ.get("VERTEBRA_FAULT_RUNS", "6"))
ALL = RUNS >= 200
CROWD = 16
DOWNLOADING = Path(__file__).with_name("downloading.py")
FILES = {
    "config.json": b'{"layers": 2}',
    "model.safetensors": random.Random(0).randbytes(3_000_000),
    "tokenizer/vocabulary.txt": b"one\ntwo\n" * 1_000,
}
EXPECTED = {name: sha256(content).hexdigest() for name, content in FILES.items()}


@pytest.fixture
def cache(tmp_path):
    """The cache that children use."""
    return Store(tmp_path / "cache")


@pytest.fixture
def start(tmp_path, cache):
    """Starts a child that fetches a preset; it has imported everything."""
    started = []

    def run(handle, processes=1, modules=(), under=(), **environment):
        command = [*under, sys.executable, str(DOWNLOADING), handle, str(processes), *modules]
        child = subprocess.Popen(
            command,
            cwd=tmp_path,
            env=os.environ | {"VERTEBRA_CACHE": str(cache.root), "HOME": str(tmp_path)} | environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(child)
        assert child.stdout.readline() == "ready\n", child.stderr.read()
        return child

    yield run
    for child in started:
        child.kill()
        child.communicate()


def go(child):
    """Lets a child begin, and returns what each of its processes found."""
    out, err = child.communicate("\n", timeout=120)
    assert child.returncode == 0, err
    return json.loads(out)


def unfinished(cache):
    return [path for path in (cache.root / "partial").glob("*") if path.is_file()]


def is_sound(cache):
    damages, _ = verify_store(cache)
    return damages == []


# === Services that presets are fetched from ===


class Hub:
    """A Hugging Face Hub."""

    resumes = True

    modules = ("huggingface_hub.file_download", "huggingface_hub.hf_api", "filelock", "tenacity")

    def __init__(self):
        self.server = HubServer()
        self.files = self.server

    def __enter__(self):
        self.server.__enter__()
        self.server.commit("team/model", FILES)
        self.handle = "hf://team/model"
        self.environment = {"HF_ENDPOINT": self.server.url}
        return self

    def __exit__(self, *exception):
        self.server.__exit__(*exception)


class Kaggle:
    """Kaggle, whose storage is another server."""

    resumes = True
    modules = ("kagglesdk.kaggle_client", "kagglehub.config", "filelock", "tenacity")
    handle = "kaggle://team/model/keras/small"

    def __init__(self):
        pytest.importorskip("kagglesdk")
        self.server = KaggleServer()
        self.files = self.server.storage

    def __enter__(self):
        self.server.__enter__()
        self.server.publish(self.handle.partition("://")[2], FILES)
        # There is no setting for an address with a port.
        address = f"from kagglesdk import kaggle_env as k; k._env_to_endpoint[k.KaggleEnv.LOCAL] = {self.server.url!r}"
        self.environment = {"KAGGLE_API_ENVIRONMENT": "LOCALHOST", "PREPARE": address}
        return self

    def __exit__(self, *exception):
        self.server.__exit__(*exception)


class Bucket:
    """A bucket of a gateway, behind a proxy in which things go wrong."""

    resumes = False  # these files have no expected digest, so partial downloads of other processes are not trusted
    modules = ("obstore", "obstore.store", "urllib3", "filelock", "tenacity")
    handle = "s3://models/team/model"

    def __init__(self):
        pytest.importorskip("obstore")
        if reason := radosgw.missing():
            pytest.skip(reason)
        self._open = contextlib.ExitStack()

    def __enter__(self):
        gateway = self._open.enter_context(radosgw.RadosGateway())
        gateway.create_bucket("models")
        for name, content in FILES.items():
            gateway.request("PUT", f"/models/team/model/{name}", content)
        self.server = self.files = self._open.enter_context(FaultProxy(gateway))
        keys = {"AWS_ACCESS_KEY_ID": gateway.access_key, "AWS_SECRET_ACCESS_KEY": gateway.secret_key}
        self.environment = keys | {"AWS_ENDPOINT_URL_S3": self.server.url}
        return self

    def __exit__(self, *exception):
        self._open.__exit__(*exception)


SERVICES = {"hub": Hub, "kaggle": Kaggle, "bucket": Bucket}
EACH_KIND = [*SERVICES] if ALL else ["hub", "bucket"]
"""A service that promises what its files hash to, and one that does not; Kaggle is another of the first kind."""

each_kind_of_service = pytest.mark.parametrize("running_service", EACH_KIND, indirect=True)


@pytest.fixture(scope="module", params=SERVICES)
def running_service(request):
    """A server of each kind, with the preset `FILES`."""
    with SERVICES[request.param]() as running:
        yield running


@pytest.fixture
def service(running_service):
    """The server, without faults and requests of other tests."""
    running_service.server.faults = []
    running_service.files.clear()
    return running_service


def downloads(service):
    """Counts the requests for the contents of each file."""
    return Counter(
        name
        for request in service.files.requests
        if request.method == "GET"
        for name in FILES
        if request.path.endswith(name)
    )


# === Killed ===


# Fetches in a fork that is killed at a random moment, or at one after it has begun to write, and again and again.
KILL_AT_ANY_MOMENT = """
import importlib, json, os, random, shutil, signal, sys, time
sys.path.insert(0, sys.argv[1])
import downloading
from collections import Counter
from pathlib import Path
from vertebra._cache.store import Store
from vertebra._cache.verify import verify_store
from vertebra._system import ownership

handle, runs, root = sys.argv[2], int(sys.argv[3]), Path(os.environ["VERTEBRA_CACHE"])
downloading.import_plugins()
for module in sys.argv[4:]:
    importlib.import_module(module)
exec(os.environ.get("PREPARE", ""))

def unfinished():
    return [path.name for path in (root / "partial").glob("*") if path.is_file()]

def ends(child, seconds, or_when=lambda: False):
    until = time.monotonic() + seconds
    while time.monotonic() < until and not or_when():
        if os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            return
        time.sleep(0.005)

results = []
for number in range(runs):
    child = os.fork()
    if not child:
        downloading.fetch(handle)
        os._exit(0)
    if number % 2:
        ends(child, 60, lambda: any(f"-{child}." in name for name in unfinished()))
    ends(child, random.uniform(0, 0.5))
    os.kill(child, signal.SIGKILL)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    files = Counter(name.partition(".")[0] for name in unfinished())
    results.append({
        "killed": status == -signal.SIGKILL,
        "damages": len(verify_store(Store(root))[0]),
        "partial": max((count for key, count in files.items() if key != "note"), default=0),
    })
    if status == 0 or not unfinished():
        shutil.rmtree(root, ignore_errors=True)
print(json.dumps(results))
"""


@each_kind_of_service
def test_a_process_killed_at_any_moment_leaves_nothing_wrong(service, start, child, cache, monkeypatch):
    """NW-01."""
    for name, value in {"VERTEBRA_CACHE": str(cache.root), **service.environment}.items():
        monkeypatch.setenv(name, value)
    service.server.faults = [faults.slow(6_000_000)]
    output = child(KILL_AT_ANY_MOMENT, DOWNLOADING.parent, service.handle, RUNS, *service.modules)
    results = json.loads(output)
    service.server.faults = []
    assert sum(result["damages"] for result in results) == 0
    assert sum(result["killed"] for result in results) > RUNS // 3
    assert max(result["partial"] for result in results) == 1  # of each file at most, for another process to resume
    assert go(start(service.handle, modules=service.modules, **service.environment)) == [EXPECTED]
    assert is_sound(cache)
    assert unfinished(cache) == []


def _size(path):
    """The size of a file that its process may rename or remove meanwhile."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def test_what_arrived_is_not_transferred_again(service, start, cache):
    large = "model.safetensors"
    service.server.faults = [faults.slow(1_500_000, files=f"*{large}")]
    child = start(service.handle, modules=service.modules, **service.environment)
    child.stdin.write("\n")
    child.stdin.flush()
    while not any(_size(path) > 500_000 for path in unfinished(cache)):
        assert child.poll() is None
        time.sleep(0.01)
    child.kill()
    child.wait()
    service.server.faults = []
    service.files.clear()
    assert go(start(service.handle, modules=service.modules, **service.environment)) == [EXPECTED]
    ranges = [
        request.headers.get("range", "bytes=0-").removeprefix("bytes=")
        for request in service.files.requests
        if request.path.endswith(large) and request.method == "GET"
    ]
    assert (int(ranges[-1].partition("-")[0]) > 400_000) == service.resumes


# Fetches in a fork that is killed at the first line of the modules that write, then in another that is killed at the
# second, and so on until one gets to the end. After each, another fetches the missing files.
KILL_AT_EACH_LINE = """
import json, os, shutil, signal, sys, threading
sys.path.insert(0, sys.argv[1])
import downloading
from itertools import count
from pathlib import Path
from vertebra._cache import layout, manifest, store
from vertebra._cache.transfer import fetch
from vertebra._cache.verify import verify_store
from vertebra._system import ownership

downloading.import_plugins()
traced = {module.__file__ for module in (fetch, store, layout, manifest, ownership)}
root = Path(os.environ["VERTEBRA_CACHE"])
downloading.CONTENTS = {"config.json": downloading.CONTENTS["config.json"]}
expected = {name: downloading.hashlib.sha256(content).hexdigest() for name, content in downloading.CONTENTS.items()}

def kill_at(line_number):
    left = line_number
    def trace(frame, event, argument):
        nonlocal left
        if frame.f_code.co_filename not in traced:
            return None
        if event == "line":
            left -= 1
            if not left:
                os.kill(os.getpid(), signal.SIGKILL)
        return trace
    return trace

results = []
for number in count(1, int(sys.argv[2])):
    shutil.rmtree(root, ignore_errors=True)
    child = os.fork()
    if not child:
        threading.settrace(kill_at(number))
        sys.settrace(threading.gettrace())
        downloading.fetch("toy://team/model")
        os._exit(0)
    _, status = os.waitpid(child, 0)
    damages = verify_store(store.Store(root))[0] if root.exists() else []
    child = os.fork()
    if not child:
        os._exit(downloading.fetch("toy://team/model") != expected)
    again = os.waitpid(child, 0)[1]
    rest = [path.name for path in (root / "partial").iterdir()]
    results.append({"damages": len(damages), "again": again, "rest": rest, "killed": os.WIFSIGNALED(status)})
    if not os.WIFSIGNALED(status):
        break
print(json.dumps(results))
"""


def test_a_process_killed_at_each_line_leaves_nothing_wrong(child, cache, monkeypatch):
    """NW-02: absent or complete, whichever line of what writes to the cache is the last; a tenth of them in short."""
    monkeypatch.setenv("VERTEBRA_CACHE", str(cache.root))
    results = json.loads(child(KILL_AT_EACH_LINE, DOWNLOADING.parent, 1 if ALL else 10))
    assert len(results) > (150 if ALL else 15)
    assert sum(result["damages"] + result["again"] for result in results) == 0
    assert [result["killed"] for result in results] == [True] * (len(results) - 1) + [False]
    assert [name for result in results for name in result["rest"]] == []


# === Crowded ===


@each_kind_of_service
def test_sixteen_processes_share_one_download(service, start, cache):
    """CA-01."""
    found = go(start(service.handle, CROWD, service.modules, **service.environment))
    assert found == [EXPECTED] * CROWD
    assert is_sound(cache)
    assert unfinished(cache) == []
    assert downloads(service) == dict.fromkeys(FILES, 1)


@each_kind_of_service
def test_sixteen_processes_without_locks_download_the_same(service, start, cache):
    """CA-02: where locks do not work there may be several downloads, of files with a promised digest and without."""
    prepare = f"{service.environment.get('PREPARE', '')}\nimport fcntl; fcntl.flock = lambda *_: None"
    found = go(start(service.handle, CROWD, service.modules, **service.environment | {"PREPARE": prepare}))
    assert found == [EXPECTED] * CROWD
    assert is_sound(cache)
    assert unfinished(cache) == []


def test_nobody_waits_for_who_has_stopped(start, cache, tmp_path):
    """CA-03: a process that holds a lock and has been stopped, and a lock that is a link."""
    canary = tmp_path / "canary"
    canary.write_text("unharmed")
    holder = start("toy://team/model", PREPARE=STOP_AT_THE_FIRST_CHUNK)
    holder.stdin.write("\n")
    holder.stdin.flush()
    while not list(cache.root.glob("locks/*.lock")):
        time.sleep(0.01)
    time.sleep(0.2)
    os.kill(holder.pid, signal.SIGSTOP)
    child = start("toy://team/model", PREPARE="leases.LEASE = 1.0")
    out, err = child.communicate("\n", timeout=60)
    assert "error" not in json.loads(out)[0]
    assert f"process {holder.pid} has written nothing" in err
    for lock in cache.root.glob("locks/*.lock"):
        lock.unlink()
        lock.symlink_to(canary)
    for path in cache.root.glob("blobs/*/*"):
        path.unlink()
    assert "error" not in go(start("toy://team/model"))[0]
    assert canary.read_text() == "unharmed"


STOP_AT_THE_FIRST_CHUNK = """
def stopping(content):
    import time
    yield content[:1000]
    time.sleep(1000)
globals()["_chunks"] = stopping
"""


# === Wrong, and out of disk ===


def test_no_flipped_bit_is_accepted(child, cache, monkeypatch):
    """NW-04."""
    monkeypatch.setenv("VERTEBRA_CACHE", str(cache.root))
    refused = json.loads(child(FLIP_BITS, DOWNLOADING.parent, 5 * RUNS))
    assert refused == 5 * RUNS
    assert list(cache.root.glob("blobs/*/*")) == []
    assert unfinished(cache) == []


FLIP_BITS = """
import sys
sys.path.insert(0, sys.argv[1])
import downloading

downloading.import_plugins()
outcomes = [downloading.fetch(f"flipping://team/model-{number}") for number in range(int(sys.argv[2]))]
print(sum(outcome.get("error") == "IntegrityError" for outcome in outcomes))
"""


def test_a_full_disk_at_every_size(tmp_path, child):
    """CA-04: the whole preset is there, or an error and as much space as before."""
    start = ("unshare", "--user", "--map-root-user", "--mount")
    if subprocess.run([*start, "true"], capture_output=True).returncode:
        pytest.skip("this machine does not let us make a mount namespace (unshare)")
    (tmp_path / "disk").mkdir()
    results = json.loads(child(FILL_THE_DISK, DOWNLOADING.parent, tmp_path / "disk", under=(*start, "--")))
    outcomes = [result["outcome"] for result in results]
    assert set(outcomes) == {"CacheError", "fetched"}
    assert outcomes == sorted(outcomes)  # the smaller the disk, the less fits
    for result in results:
        assert result["outcome"] == "fetched" or result["contents"] <= 60_000  # small files, and notes, may be there
        assert result["unfinished"] == 0


FILL_THE_DISK = """
import json, os, subprocess, sys
sys.path.insert(0, sys.argv[1])
disk = sys.argv[2]
os.environ["VERTEBRA_CACHE"] = disk + "/cache"
import downloading
from pathlib import Path
from vertebra import add_plugin
from vertebra._cache.transfer import fetch

add_plugin(downloading.Toys(), "toys")
results = []
for checked in (True, False):
    if not checked:
        fetch._check_space = lambda *_: None  # else nothing would be begun
    for size in range(64_000, 768_000, 64_000):
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", disk], check=True)
        found = downloading.fetch("toy://team/model")
        files = [path for path in Path(disk).rglob("*") if path.is_file()]
        results.append({
            "checked": checked,
            "outcome": found.get("error", "fetched"),
            "contents": sum(path.stat().st_size for path in files),
            "unfinished": sum(path.parent.name == "partial" for path in files),
        })
        subprocess.run(["umount", disk], check=True)
results.sort(key=lambda result: result["checked"])
print(json.dumps(sorted(results, key=lambda result: result["outcome"])))
"""
