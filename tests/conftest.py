"""One process, one runtime: `--runtime none` collects the tests that need no framework, torch or jax the others."""

import contextlib
import gc
import hashlib
import importlib
import importlib.metadata
import os
import re
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings

from forking import ForkServer, fork_readers

examples = 2 * int(os.environ.get("VERTEBRA_FAULT_RUNS", "15"))
settings.register_profile("vertebra", max_examples=examples, deadline=None, derandomize=True, database=None)
settings.load_profile("vertebra")

MARK = "pytestmark = pytest.mark.keras"
MEMORY = Path("/dev/shm")  # of Linux
ENOUGH_MEMORY = 6 * 2**30


def pytest_addoption(parser):
    parser.addoption("--runtime", default="none", choices=["none", "torch", "jax"])
    parser.addoption("--all", action="store_true", help="also tests marked keras(once=True), on whichever runtime")


def pytest_configure(config):
    runtime = config.getoption("--runtime")
    for variable in [name for name in os.environ if name.startswith(("VERTEBRA_", "KERAS_"))]:
        if variable != "VERTEBRA_FAULT_RUNS" and not (variable == "VERTEBRA_CACHE" and hasattr(config, "workerinput")):
            del os.environ[variable]
    os.environ["VERTEBRA_CONFIG"] = os.devnull  # the user's own settings must not change what is tested
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as in the background of a shell; children inherit it
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if not hasattr(config, "workerinput"):
        keep_temporary_files_in_memory(config)
    if runtime != "none":
        os.environ["VERTEBRA_RUNTIME"] = runtime
        os.environ["KERAS_BACKEND"] = runtime  # test modules may import Keras before anything of Vertebra
        os.environ["OMP_NUM_THREADS"] = "1"  # the models are so small that threads would mostly wait for each other
        os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] = "1"  # most of the time would go into optimising what runs once
        if not hasattr(config, "workerinput"):
            keep_results_in_a_cache_of_this_run(config)
            share_what_jax_compiles(config)
            let_xla_emit_loops_itself()


def keep_temporary_files_in_memory(config):
    """Lets all processes of this run write temporary files to memory if there is enough: a disk takes longer."""
    if not (MEMORY.is_dir() and os.access(MEMORY, os.W_OK)):
        return
    limits = os.statvfs(MEMORY)
    if limits.f_flag & os.ST_NOEXEC or limits.f_bavail * limits.f_frsize < ENOUGH_MEMORY:
        return  # torch loads what it compiles from the folder
    folder = tempfile.TemporaryDirectory(prefix="vertebra_tests_", dir=MEMORY, ignore_cleanup_errors=True)
    config.add_cleanup(folder.cleanup)
    Path(folder.name).chmod(0o711)  # as the system's: tests become another user, too
    os.environ["TMPDIR"] = folder.name
    tempfile.tempdir = None  # the module remembers the folder that it found first


def keep_results_in_a_cache_of_this_run(config):
    folder = tempfile.TemporaryDirectory(prefix="vertebra_cache_", ignore_cleanup_errors=True)
    config.add_cleanup(folder.cleanup)
    os.environ["VERTEBRA_CACHE"] = folder.name


def share_what_jax_compiles(config):
    """Lets all processes of this run, children of tests included, compile each program of jax once among them."""
    folder = tempfile.TemporaryDirectory(prefix="vertebra_jax_", ignore_cleanup_errors=True)
    config.add_cleanup(folder.cleanup)
    os.environ["JAX_COMPILATION_CACHE_DIR"] = folder.name
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
    os.environ["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "0"


def let_xla_emit_loops_itself():
    """Halves the time of jax's compiler, most of which its fusion emitters take for operations that are not fused.

    A process ends at a flag that its XLA does not know, so one process finds out.
    """
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_cpu_use_fusion_emitters=false".strip()
    environment = os.environ | {"XLA_FLAGS": flags}
    known = subprocess.run([sys.executable, "-c", "import jax; jax.devices()"], env=environment, capture_output=True)
    if known.returncode == 0:
        os.environ["XLA_FLAGS"] = flags


def pytest_ignore_collect(collection_path, config):
    if collection_path.suffix != ".py" or not collection_path.name.startswith("test_"):
        return None
    needs_keras = MARK in collection_path.read_text(encoding="utf-8")
    return True if needs_keras == (config.getoption("--runtime") == "none") else None


def pytest_collection_modifyitems(config, items):
    """Leaves what no runtime has a part in, `keras(once=True)`, to the run on torch."""
    if config.getoption("--runtime") in ("none", "torch") or config.getoption("--all"):
        return
    kept, left = [], []
    for item in items:
        mark = item.get_closest_marker("keras")
        (left if mark and mark.kwargs.get("once") else kept).append(item)
    config.hook.pytest_deselected(items=left)
    items[:] = kept


@pytest.fixture(scope="module", autouse=True)
def garbage_is_looked_for_among_what_is_new():
    """Keras looks for garbage for each layer that it quantises: not among all that the frameworks consist of."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="module", autouse=True)
def no_framework_without_a_runtime(pytestconfig):
    """A run without a runtime stays without one: other modules test what happens before Keras is imported."""
    yield
    assert pytestconfig.getoption("--runtime") != "none" or {"keras", "torch", "jax"}.isdisjoint(sys.modules)


@pytest.fixture(scope="session", autouse=True)
def forked_readers():
    """Spares each reader the start of an interpreter, which takes longer than to read a small file."""
    with fork_readers():
        yield


@pytest.fixture(scope="session", autouse=True)
def forked_programs(request):
    """Spares the suites of `vertebra.testing` the start of an interpreter for each program, and the import of Keras."""
    from vertebra.testing import processes

    def start(program, runtime, **options):
        if runtime is None:
            return request.getfixturevalue("python")(program, **options)
        return request.getfixturevalue("on_runtime")(runtime, program, **options)

    before, processes.start = processes.start, start
    yield
    processes.start = before


@pytest.fixture
def new_interpreter(monkeypatch):
    """Has each reader start an interpreter, as it does in programs."""
    from vertebra._weights.reader import process

    monkeypatch.setattr(process, "subprocess", subprocess)


COMMAND = ("vertebra.cli", *(f"vertebra.cli.{name}" for name in ("convert", "doctor", "inspect", "listing", "lora")))


@pytest.fixture(scope="session")
def python():
    """Runs a Python program in a fork of a process that has imported the command and the plugins, and no numpy."""
    plugins = [entry.value for entry in importlib.metadata.entry_points(group="vertebra")]
    with ForkServer(*COMMAND, *plugins, options=["-P"]) as server:
        yield server.run


@pytest.fixture(scope="session")
def python_with_numpy():
    """The same with numpy, for programs that read weights."""
    plugins = [entry.value for entry in importlib.metadata.entry_points(group="vertebra")]
    with ForkServer(*COMMAND, *plugins, "vertebra.models", "numpy", options=["-P"]) as server:
        yield server.run


@pytest.fixture(scope="session")
def runtime(pytestconfig):
    """Name of the runtime that this process tests."""
    return pytestconfig.getoption("--runtime")


# === For the tests that need Keras ===


@pytest.fixture(scope="session")
def golden():
    """Folder of the BERT presets, adapters and outputs that transformers and PEFT wrote."""
    return Path(__file__).parent / "golden" / "bert"


@pytest.fixture(scope="session")
def io(golden):
    """Inputs of the reference model, and its float32 outputs, by name of the preset or adapter."""
    import numpy as np

    return dict(np.load(golden / "io.npz"))


@pytest.fixture(scope="session")
def inputs(io):
    """Token ids, segment ids and padding mask, each of shape (3, 9) and dtype int32."""
    return {name: io[name] for name in ("token_ids", "segment_ids", "padding_mask")}


@pytest.fixture(scope="session")
def arguments():
    """Constructor arguments of a tiny BERT: 2 layers, 16 wide, 6,656 parameters, without dropout."""
    return {
        "vocabulary_size": 101,
        "num_layers": 2,
        "num_heads": 2,
        "hidden_dim": 16,
        "intermediate_dim": 32,
        "max_sequence_length": 16,
        "dropout": 0.0,
    }


@pytest.fixture
def backbone(golden):
    """The tiny BERT that transformers wrote, with dropout as its config says."""
    import vertebra

    return vertebra.Backbone.from_preset(golden / "transformers")


@pytest.fixture(scope="session")
def run(inputs):
    """Calls a model for inference and returns its outputs as arrays, by name."""
    import keras

    def call(model, inputs=inputs):
        outputs = model(inputs, training=False)
        return keras.tree.map_structure(keras.ops.convert_to_numpy, outputs)

    return call


@pytest.fixture(scope="session")
def values():
    """Returns copies of a model's weights as arrays, by name."""
    from vertebra._weights.layer_paths import weight_names

    return lambda model: {name: variable.numpy().copy() for name, variable in weight_names(model).items()}


@pytest.fixture(scope="session")
def address(runtime):
    """Returns where in memory a tensor's values start."""
    return {"torch": lambda tensor: tensor.data_ptr(), "jax": lambda tensor: tensor.unsafe_buffer_pointer()}[runtime]


@pytest.fixture(scope="session")
def train(inputs):
    """Trains a backbone's pooled output towards 0 for some steps; returns the loss at each.

    Without `jit`, jax compiles each operation once in a process and not each model, which would take seconds.
    """
    import keras
    import numpy as np

    def fit(backbone, steps=1, rate=0.1, extra=None, jit=False):
        pooled = backbone.output["pooled_output"]
        model = keras.Model(backbone.input, pooled if extra is None else extra(pooled))
        model.compile(keras.optimizers.SGD(rate), "mse", run_eagerly=not jit)
        history = model.fit(inputs, np.zeros((3, *model.output_shape[1:])), epochs=steps, verbose=0)
        return history.history["loss"]

    return fit


@pytest.fixture(scope="session")
def digest():
    """Returns the SHA-256 of every file below a folder, by relative path."""

    def digests(folder):
        files = sorted(path for path in Path(folder).rglob("*") if path.is_file())
        return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}

    return digests


@pytest.fixture(scope="session")
def on_runtime():
    """Runs a Python program in a fork of a process that has imported Keras on a runtime, or numpy for `none`."""
    servers = {}

    def run(runtime, program, **options):
        environment = os.environ | {"VERTEBRA_RUNTIME": runtime, "KERAS_BACKEND": runtime}
        if runtime not in servers:
            modules = ["vertebra", "numpy"] if runtime == "none" else ["vertebra", "keras"]
            servers[runtime] = opened.enter_context(ForkServer(*modules, environment=environment))
        return servers[runtime].run(program, env=environment, **options)

    with contextlib.ExitStack() as opened:
        yield run


@pytest.fixture(scope="session")
def child(runtime, on_runtime):
    """Runs code in a process of its own, on this or another runtime; returns what it printed.

    The code finds its arguments in `sys.argv[1:]`. The process is a fork of one that has imported Keras, unless `under`
    is a command that starts it, or `interpreter` asks for a new interpreter, in which nothing is imported.
    """

    def start(code, *arguments, on=runtime, under=(), interpreter=False):
        program = ["-c", code, *map(str, arguments)]
        options = {"text": True, "timeout": 300}
        if under or interpreter:
            environment = os.environ | {"VERTEBRA_RUNTIME": on, "KERAS_BACKEND": on}
            done = subprocess.run([*under, sys.executable, *program], env=environment, capture_output=True, **options)
        else:
            done = on_runtime(on, program, **options)
        assert done.returncode == 0, f"exit status {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    return start


@pytest.fixture(scope="session")
def other_runtime(runtime):
    """The runtime that this process does not test; the test is skipped where its backend is not installed."""
    from vertebra._discovery.runtimes import available

    names = [other.name for other in available() if other.name != runtime]
    if not names:
        pytest.skip(f"only the backend of {runtime} is installed")
    return names[0]


@pytest.fixture
def documented_vit(tmp_path, monkeypatch):
    """The package of the architecture in docs/how-to/declare-an-architecture.md, added until the test ends."""
    import vertebra
    from vertebra._configuration.settings import settings
    from vertebra._discovery import catalog, plugins

    monkeypatch.setenv("VERTEBRA_PREFER", "acme-vit")  # vertebra-vit reads the same checkpoints
    settings.cache_clear()
    page = (Path(__file__).parents[1] / "docs" / "how-to" / "declare-an-architecture.md").read_text(encoding="utf-8")
    for name, code in re.findall(r"`acme_vit/(\w+\.py)`\n\n```python\n(.+?)```", page, flags=re.DOTALL):
        (tmp_path / "plugin" / "acme_vit").mkdir(parents=True, exist_ok=True)
        (tmp_path / "plugin" / "acme_vit" / name).write_text(code)
    monkeypatch.syspath_prepend(tmp_path / "plugin")
    package = importlib.import_module("acme_vit")
    vertebra.add_plugin(package, "acme-vit")
    yield package
    for name in [name for name in sys.modules if name.partition(".")[0] == "acme_vit"]:
        del sys.modules[name]
    monkeypatch.delenv("VERTEBRA_PREFER")
    settings.cache_clear()
    plugins.registry.cache_clear()
    catalog.clear_catalog()


# === For tests of LoRA strategies: small models with one adapted layer, and their outputs ===


@pytest.fixture(scope="session")
def single():
    """Builds a model of one layer, `target`, with a nonzero bias, and inputs for it."""
    from vertebra.testing.strategies.layers import single_layer

    return single_layer


@pytest.fixture(scope="session")
def call():
    """Calls a model for inference and returns its outputs as an array of float32, and their dtype."""
    import keras

    def outputs(model, inputs):
        found = model(inputs, training=False)
        return keras.ops.convert_to_numpy(keras.ops.cast(found, "float32")), keras.backend.standardize_dtype(
            found.dtype
        )

    return outputs


@pytest.fixture(scope="session")
def adapter_layers():
    """Returns the adapter layers of the one active adapter, by path."""
    from vertebra._lora.state import adapters_of

    def found(model):
        (name,) = adapters_of(model).active
        return adapters_of(model).layers_of(name).layers

    return found


@pytest.fixture(scope="session")
def adapter_layer(adapter_layers):
    """Returns the adapter layer of the one adapted layer of a model."""

    def found(model):
        (only,) = adapter_layers(model).values()
        return only

    return found
