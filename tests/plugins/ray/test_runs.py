"""Long runs and data sets on a real Ray of this machine, with two actors."""

import json
import os
import re
import signal
import socket
import threading
from pathlib import Path

import numpy as np
import pytest

ray = pytest.importorskip("ray", reason="ray is not installed")
if os.cpu_count() == 1:
    pytest.skip("two actors need two CPUs", allow_module_level=True)

import vertebra  # noqa: E402
from vertebra.cli import main  # noqa: E402
from vertebra_ray import cluster  # noqa: E402
from vertebra_text import BatchTask, commands  # noqa: E402
from vertebra_text.long_runs import journal  # noqa: E402
from vertebra_text.long_runs import run as runs  # noqa: E402

pytestmark = pytest.mark.keras(once=True)
# Ray leaves its log files open, and asks for a processor's name in a way that Python will drop.
quiet = pytest.mark.filterwarnings(
    "ignore::ResourceWarning",
    "ignore::DeprecationWarning",
    "ignore::FutureWarning",
    "ignore::pytest.PytestUnraisableExceptionWarning",
)

VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "good", "bad", "fox", "dog", "the", "a", "."]
SMALL = {"num_layers": 1, "num_heads": 2, "hidden_dim": 16, "intermediate_dim": 24, "max_sequence_length": 32}
LARGE = {"num_layers": 4, "num_heads": 4, "hidden_dim": 1024, "intermediate_dim": 4096, "max_sequence_length": 32}
"""202 MB of weights."""


@pytest.fixture(scope="module")
def preset(tmp_path_factory):
    return saved(tmp_path_factory.mktemp("small") / "preset", SMALL)


def saved(folder, sizes):
    import keras

    keras.utils.set_random_seed(1)
    backbone = vertebra.models.BertBackbone(vocabulary_size=len(VOCABULARY), **sizes)
    backbone.save_to_preset(folder, certificate=False)
    (folder / "vocab.txt").write_text("\n".join(VOCABULARY))
    return folder


@pytest.fixture(scope="module")
def local_ray():
    """The Ray that `--ray local` starts; commands within take it."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    with cluster.connected("local"):
        yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def texts(tmp_path):
    """A file of 640 texts, and windows of 32 of them."""
    words = VOCABULARY[5:]
    lines = [" ".join(words[(row + column) % 7] for column in range(1 + row % 9)) for row in range(640)]
    (tmp_path / "in.txt").write_text("\n".join(lines))
    return tmp_path / "in.txt"


@pytest.fixture
def small_windows(monkeypatch):
    monkeypatch.setattr(commands, "WINDOW", 32)
    monkeypatch.setattr(runs, "WINDOW", 32)


@pytest.fixture
def run(capsys, preset):
    """Runs `vertebra embed` on a file; returns the lines of the output and the summary, or the error."""

    def run(texts, name, *options, status=0):
        out = texts.with_name(name)
        words = ["embed", str(texts), "-o", str(out), "--preset", str(preset), "--json", *options]
        assert main(words) == status, capsys.readouterr().err
        shown = capsys.readouterr()
        return shown.err if status else (list(map(json.loads, out.read_text().splitlines())), json.loads(shown.out))

    return run


def after_writes(monkeypatch, actions):
    """Calls functions after numbers of windows are in the journal."""
    write, count = journal.Journal.write, []

    def counted(self, texts, data):
        write(self, texts, data)
        count.append(len(texts))
        actions.get(len(count), lambda: None)()

    monkeypatch.setattr(journal.Journal, "write", counted)


def actors():
    """Returns the process ids of the actors on this machine that belong to this test's Ray."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if b"ray::_Worker" in path.read_bytes() and ancestor(int(path.parent.name), os.getpid()):
                found.append(int(path.parent.name))
        except OSError:
            continue
    return found


def ancestor(child, process):
    while child > 1 and child != process:
        child = int(Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()[1])
    return child == process


def vectors(rows):
    return np.array([row["embedding"] for row in rows])


# === The command ===


@quiet
@pytest.mark.usefixtures("local_ray", "small_windows")
def test_a_killed_actor_and_an_interrupted_run_lose_and_repeat_nothing(run, texts, monkeypatch):
    expected, _ = run(texts, "one.jsonl")
    killed = []

    def kill_one():
        killed.extend(actors()[:1])
        os.kill(killed[0], signal.SIGKILL)

    def interrupt():
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        after_writes(patch, {3: interrupt})
        run(texts, "two.jsonl", status=130)
    with monkeypatch.context() as patch:
        after_writes(patch, {2: kill_one})
        found, summary = run(texts, "two.jsonl", "--ray", "local", "--ray-actors", "2")  # goes on, in two actors
    assert killed
    assert (summary["records"], summary["continued"], summary["bad_count"]) == (640, 96, 0)
    np.testing.assert_allclose(vectors(found), vectors(expected), atol=1e-6)


@quiet
@pytest.mark.usefixtures("local_ray")
@pytest.mark.filterwarnings("ignore:.*initialised randomly")
def test_errors_of_the_actors_and_of_records_are_those_of_the_command(run, texts, tmp_path):
    data = tmp_path / "in.jsonl"
    data.write_text('{"text": "good"}\n{"texts": "bad"}\n{"text": "dog"}')
    found, summary = run(data, "a.jsonl", "--ray", "local", "--ray-actors", "1", "--skip-bad")
    assert ([list(row) for row in found], summary["bad_count"]) == ([["embedding"], ["error"], ["embedding"]], 1)
    missing = ("--ray", "local", "--ray-actors", "1", "--preset", str(tmp_path / "none"))
    alone, on_ray = (run(texts, "d.jsonl", *options, status=1) for options in (missing[4:], missing))
    assert on_ray == alone
    error = run(texts, "e.jsonl", "--ray", "local", "--ray-actors", "1000", status=1)
    assert re.search(r"the Ray cluster has \d+ CPUs and 0 GPUs, not 1000 actors with 1 CPUs each", error)


# === Ray Data ===


@quiet
@pytest.mark.usefixtures("local_ray")
def test_a_data_set_is_mapped_by_two_actors(preset):
    import ray.data

    ray.data.DataContext.get_current().enable_progress_bars = False
    words = VOCABULARY[5:]
    rows = [{"id": number, "text": f"the {words[number % 7]} {words[number % 5]}"} for number in range(64)]
    options = {"fn_constructor_kwargs": {"preset": str(preset)}, "concurrency": 2, "batch_size": 16}
    expected = vertebra.models.TextEmbedder.from_preset(preset).embed([row["text"] for row in rows])
    found = ray.data.from_items(rows).map_batches(BatchTask, batch_format="pyarrow", **options).take_all()
    found.sort(key=lambda row: row["id"])
    assert [row["id"] for row in found] == list(range(64))
    np.testing.assert_allclose([row["embedding"] for row in found], expected, atol=1e-6)


@quiet
@pytest.mark.usefixtures("local_ray")
def test_actors_share_the_pages_of_the_weights(preset, tmp_path):
    """A second actor's new private memory is less than a tenth of the weights."""
    large = saved(tmp_path / "large", LARGE)
    weights = (large / "model.safetensors").stat().st_size

    class Measured:
        def __init__(self, small, large):
            self._small, self._large = BatchTask(small), BatchTask(large)

        def growth(self, texts):
            """Returns the bytes of private memory that loading and answering add, after all imports."""
            self._small.answers(texts)
            before = self._private()
            self._large.answers(texts)
            return self._private() - before

        def _private(self):
            lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
            return 1024 * sum(int(line.split()[1]) for line in lines if line.startswith("Private_"))

    actor = ray.remote(Measured).options(num_cpus=1)
    both = [actor.remote(str(preset), str(large)) for _ in range(2)]
    texts = ["the good fox"] * 8
    _, second = (ray.get(one.growth.remote(texts)) for one in both)
    assert weights > 200_000_000
    assert second < weights / 10
    for one in both:
        ray.kill(one)


# === Addresses ===


@pytest.fixture
def silent():
    """The address of a server that accepts connections, and is no Ray."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        closed = threading.Event()

        def accept():
            while not closed.is_set():
                try:
                    server.accept()[0].close()
                except OSError:
                    return

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        yield f"127.0.0.1:{server.getsockname()[1]}"
        closed.set()
        socket.create_connection(server.getsockname()[:2]).close()
        thread.join()


def test_an_address_without_ray_is_an_error(silent, monkeypatch):
    monkeypatch.setattr(cluster, "_HEALTH_SECONDS", 5)
    with socket.create_server(("127.0.0.1", 0)) as server:
        free = server.getsockname()[1]
    for address, problem in (
        (f"127.0.0.1:{free}", rf"there is no Ray at 127\.0\.0\.1:{free} \(Connection refused\). Start one with"),
        (silent, "is not the head of a Ray cluster"),
        ("nowhere", "'nowhere' is no address of a Ray cluster. Pass local, auto, or the HOST:PORT"),
    ):
        with pytest.raises(cluster.RayError, match=problem):
            cluster._require_ray(address)
