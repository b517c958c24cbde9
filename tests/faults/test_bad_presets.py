"""Presets that are wrong, and saves that fail: a typed error, nothing half-written, and Keras as it was.

`VERTEBRA_FAULT_RUNS` says how many processes are killed at random moments (6 if it is not set).
"""

import contextlib
import json
import os
import pickle
import random
import shutil
import signal
import stat
import struct
import subprocess
import sys
import time
from pathlib import Path

import pytest
from keras.src.backend.common import global_state
from keras.src.backend.common.stateless_scope import in_stateless_scope
from safetensors.numpy import load_file

import vertebra
from vertebra.cli.inspect import inspect_preset
from vertebra.errors import (
    LoraError,
    PresetConfigError,
    PresetNotFoundError,
    PresetSaveError,
    UnknownNameError,
    VertebraError,
    WeightsFileError,
)

pytestmark = pytest.mark.keras(once=True)

RUNS = int(os.environ.get("VERTEBRA_FAULT_RUNS", "6"))
WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"


@pytest.fixture(autouse=True)
def keras_stays_as_it_was():
    """Every test here must leave no variables that wait for a value, and no scope open."""
    yield
    assert not in_stateless_scope()
    assert not global_state.get_global_attribute("uninitialized_variables")


@pytest.fixture
def preset(backbone, tmp_path):
    """A sound preset, to be made unsound."""
    backbone.save_to_preset(tmp_path / "preset")
    return tmp_path / "preset"


@pytest.fixture
def refuse(digest, tmp_path):
    """Loads a preset, which must fail and change no file; returns the error."""

    def load(preset, error=VertebraError):
        before = digest(tmp_path)
        with pytest.raises(error) as caught:
            vertebra.Backbone.from_preset(preset)
        assert digest(tmp_path) == before
        return caught.value

    return load


# === Nothing there ===


def test_an_id_that_nothing_provides_gets_suggestions(refuse):
    error = refuse("bert_base_em_uncased", PresetNotFoundError)
    assert "bert_base_en_uncased" in error.suggestions


@pytest.mark.parametrize("name", ["missing", "a_file", "a_file/below", "x" * 300, "empty", "nul\0"])
def test_a_path_that_holds_no_preset(refuse, tmp_path, name):
    (tmp_path / "a_file").write_text("{}")
    (tmp_path / "empty").mkdir()
    assert isinstance(refuse(tmp_path / name), PresetNotFoundError | vertebra.errors.HandleError)


@pytest.mark.parametrize(
    "text", ["", "://", "file://relative", "file:///a/../b", "nowhere://x", "kaggle://a@", "HF://x"]
)
def test_a_handle_that_means_nothing(refuse, text):
    assert isinstance(refuse(text), PresetNotFoundError | vertebra.errors.HandleError | UnknownNameError)


# === Weights ===


@pytest.mark.parametrize(
    "change",
    [
        lambda data: b"",
        lambda data: data[:7],
        lambda data: data[: len(data) // 2],
        lambda data: data[:-1],
        lambda data: data + b"\0",
        lambda data: data + data,
        lambda data: struct.pack("<Q", len(data)) + data[8:],
        lambda data: struct.pack("<Q", 2**64 - 1) + data[8:],
        lambda data: data[:8] + b"[" + data[9:],
        lambda data: data.replace(b"F32", b"F99", 1),
        lambda data: data.replace(b'"data_offsets":[0,', b'"data_offsets":[4,', 1),
        lambda data: b"<!doctype html><title>Log in</title>" + data,
        lambda data: b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n",
        lambda data: b"PK\x03\x04" + data,
        lambda data: b"\x89HDF\r\n\x1a\n" + data,
    ],
    ids=[
        "empty",
        "no header",
        "half",
        "a byte short",
        "a byte long",
        "twice",
        "header as long as the file",
        "header without end",
        "header that is no object",
        "unknown dtype",
        "hole",
        "web page",
        "git-lfs",
        "zip",
        "HDF5",
    ],
)
def test_a_weights_file_that_is_not_what_it_says(refuse, preset, change):
    (preset / WEIGHTS).write_bytes(change((preset / WEIGHTS).read_bytes()))
    error = refuse(preset, WeightsFileError)
    assert Path(error.path) == preset / WEIGHTS


class Trap:
    """Writes a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.write_text, (Path(self.path), "ran")


def test_a_pickle_is_never_opened(refuse, preset, tmp_path):
    (preset / WEIGHTS).write_bytes(pickle.dumps(Trap(tmp_path / "trap")))
    assert "pickle" in refuse(preset, WeightsFileError).problem
    assert not (tmp_path / "trap").exists()
    pickle.loads((preset / WEIGHTS).read_bytes())  # the trap works
    assert (tmp_path / "trap").exists()


@pytest.mark.keras
def test_a_preset_without_weights_loads_only_without_them(refuse, preset):
    (preset / WEIGHTS).unlink()
    refuse(preset, WeightsFileError)
    assert vertebra.Backbone.from_preset(preset, load_weights=False).num_layers == 2
    (preset / WEIGHTS).mkdir()
    refuse(preset, WeightsFileError)


@pytest.mark.parametrize("name", ["config.json", WEIGHTS])
@pytest.mark.parametrize("how", ["dangling", "loop", "pipe", "socket", "device", "a folder"])
def test_what_is_no_file_is_named(refuse, preset, name, how):
    path = preset / name
    path.unlink()
    if how == "pipe":
        os.mkfifo(path)
    elif how == "socket":
        os.mknod(path, stat.S_IFSOCK | 0o600)
    elif how == "a folder":
        path.mkdir()
    else:
        path.symlink_to({"dangling": "../store/blob", "loop": name, "device": "/dev/zero"}[how])
    error = refuse(preset, (PresetNotFoundError, WeightsFileError))
    assert name in str(error)
    assert how in ("a folder", "socket") or any(word in str(error) for word in ("does not exist", "cannot", "device"))


@pytest.mark.parametrize(
    "change",
    [
        lambda index: index["weight_map"].update({"pooled_dense/bias": "../model-00001-of-00002.safetensors"}),
        lambda index: index["weight_map"].update({"pooled_dense/bias": "pytorch_model.bin"}),
        lambda index: index["weight_map"].update({"pooled_dense/bias": "model-00009-of-00009.safetensors"}),
        lambda index: index["weight_map"].pop("pooled_dense/bias"),
        lambda index: index["weight_map"].update({"a": sorted(index["weight_map"].values())[0]}),
        lambda index: index.update(weight_map=[]),
        lambda index: index.pop("weight_map"),
    ],
    ids=["outside", "pickle", "missing", "one less", "one more", "list", "none"],
)
def test_an_index_that_does_not_fit_its_shards(refuse, backbone, tmp_path, change):
    backbone.save_to_preset(tmp_path / "preset", max_shard_size=1.5e-5)
    index = json.loads((tmp_path / "preset" / INDEX).read_text())
    change(index)
    (tmp_path / "preset" / INDEX).write_text(json.dumps(index))
    refuse(tmp_path / "preset", WeightsFileError)


@pytest.mark.keras
def test_a_shard_that_is_missing_or_from_another_preset(refuse, backbone, preset, tmp_path):
    backbone.save_to_preset(tmp_path / "sharded", max_shard_size=1.5e-5)
    shard = sorted((tmp_path / "sharded").glob("model-*"))[0]
    shutil.copy(preset / WEIGHTS, shard)
    refuse(tmp_path / "sharded", WeightsFileError)
    shard.unlink()
    refuse(tmp_path / "sharded", WeightsFileError)


@pytest.mark.parametrize(
    "change",
    [
        lambda index: index["weight_map"].update({"/layers/dense/vars": "../model_00000.weights.h5"}),
        lambda index: index["weight_map"].update({"/layers/dense/vars": ["/etc/passwd"]}),
        lambda index: index["weight_map"].update({"/layers/dense/vars": "model_00009.weights.h5"}),
        lambda index: index["weight_map"].update({"/layers/dense/vars": "model.weights.json"}),
        lambda index: index["weight_map"].pop("/layers/dense/vars"),
        lambda index: index.update(weight_map=[]),
        lambda index: index.pop("weight_map"),
    ],
    ids=["outside", "absolute", "missing", "itself", "one less", "list", "none"],
)
def test_an_index_of_kerashub_that_does_not_fit_its_shards(refuse, golden, tmp_path, change):
    preset = Path(shutil.copytree(golden / "kerashub_sharded", tmp_path / "preset"))
    index = json.loads((preset / "model.weights.json").read_text())
    change(index)
    (preset / "model.weights.json").write_text(json.dumps(index))
    refuse(preset, WeightsFileError)


def test_a_shard_of_kerashub_that_is_damaged(refuse, golden, tmp_path):
    preset = Path(shutil.copytree(golden / "kerashub_sharded", tmp_path / "preset"))
    shard = preset / "model_00001.weights.h5"
    for damaged in (shard.read_bytes()[:-1000], b"PK\x03\x04", b""):
        shard.write_bytes(damaged)
        refuse(preset, WeightsFileError)
    shard.unlink()
    refuse(preset, WeightsFileError)


# === Config ===


@pytest.mark.parametrize(
    "change",
    [
        lambda text: "",
        lambda text: "[]",
        lambda text: text[:-3],
        lambda text: text.replace("{", '{"backbone": "BertBackbone",', 1),
        lambda text: text.replace('"num_layers": 2', '"num_layers": 2, "num_layers": 3'),
        lambda text: text.replace('"dropout": 0.1', '"dropout": NaN'),
        lambda text: text.replace('"dropout": 0.1', '"dropout": 1e999'),
        lambda text: text.replace('"num_layers": 2', f'"num_layers": {"9" * 5000}'),
        lambda text: text.replace('"num_layers": 2', f'"num_layers": {"[" * 100_000}'),
        lambda text: text + " " * 10_000_000,
        lambda text: text.encode("utf-16").decode("latin-1"),
    ],
    ids=[
        "empty",
        "list",
        "cut short",
        "field twice",
        "argument twice",
        "not a number",
        "infinite",
        "digits",
        "nested",
        "too long",
        "utf-16",
    ],
)
def test_a_config_that_is_not_sound_json(refuse, preset, change):
    text = (preset / "config.json").read_text()
    changed = change(text)
    assert changed != text
    (preset / "config.json").write_bytes(changed.encode("latin-1"))
    refuse(preset, PresetConfigError)


@pytest.fixture
def configure(preset):
    """Changes the fields of a native preset's config, or the constructor's arguments in it."""

    def change(fields=(), arguments=()):
        config = json.loads((preset / "config.json").read_text())
        config |= dict(fields)
        if arguments:
            config["config"] |= dict(arguments)
        (preset / "config.json").write_text(json.dumps(config))
        return preset

    return change


@pytest.mark.parametrize(
    "fields",
    [
        {"vertebra_format": 2},
        {"vertebra_format": 0},
        {"vertebra_format": "1"},
        {"vertebra_format": True},
        {"backbone": "BertBackbon"},
        {"backbone": "os.system"},
        {"backbone": "vertebra_bert.backbone:BertBackbone"},
        {"backbone": None},
        {"backbone": ["BertBackbone"]},
        {"config": None},
        {"config": []},
        {"config": {}},
        {"module": "os"},
        {"registered_name": "keras>Lambda"},
    ],
    ids=str,
)
def test_a_native_config_with_another_field(refuse, configure, fields):
    refuse(configure(fields), PresetConfigError)


def test_an_unknown_class_gets_a_suggestion(refuse, configure):
    assert "BertBackbone" in str(refuse(configure({"backbone": "BertBackbon"}), PresetConfigError))


def test_a_config_of_no_known_format_is_refused(refuse, preset):
    (preset / "config.json").write_text('{"class_name": "BertBackbone", "config": {}}')
    assert "format" in refuse(preset, PresetConfigError).problem
    (preset / "config.json").unlink()
    refuse(preset, PresetNotFoundError)


@pytest.mark.parametrize("name", ["vocabulary_size", "num_layers", "num_heads", "hidden_dim", "intermediate_dim"])
def test_an_argument_that_is_missing_is_named(refuse, preset, name):
    config = json.loads((preset / "config.json").read_text())
    del config["config"][name]
    (preset / "config.json").write_text(json.dumps(config))
    assert name in str(refuse(preset, PresetConfigError))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("num_layer", 2),
        ("kernel_initializer", {"module": "os", "class_name": "system"}),
        ("num_layers", "2"),
        ("num_layers", 2.0),
        ("num_layers", True),
        ("num_layers", None),
        ("num_layers", -1),
        ("num_layers", 10**9),
        ("hidden_dim", 0),
        ("hidden_dim", 10**29),
        ("num_heads", 5),
        ("dropout", "0.1"),
        ("dropout", 1),
        ("dropout", True),
        ("activation", ["gelu"]),
        ("activation", "keras.activations.deserialize"),
        ("trainable", 1),
        ("name", 5),
        ("name", "a/b"),
        ("name", "a\x1b]0;b\x07"),  # this and the following: CF-11, V6
        ("name", "a\0b"),
        ("name", "a\u202eb"),
        ("name", "a" * 256),
        ("dtype", "float33"),
        ("dtype", {"module": "os", "class_name": "system", "config": "true"}),
        ("dtype", {"class_name": "DTypePolicy", "config": {"name": "float32"}}),
        ("layer_norm_epsilon", None),
    ],
    ids=str,
)
def test_an_argument_that_the_constructor_does_not_take_is_named(refuse, configure, name, value):
    assert name in str(refuse(configure(arguments={name: value}), PresetConfigError))


@pytest.mark.keras
@pytest.mark.parametrize(
    "plan",
    [
        {},
        [],
        "query",
        {"layers": ["query"]},
        {"layers": ["query"], "config": None},
        {"layers": ["query"], "config": {"rank": 0}},
        {"layers": ["query"], "config": {"rank": 2, "surprise": 1}},
        {"layers": ["query"], "config": {"rank": 2, "strategy": "os:system"}},
        {"layers": ["(a+)+$"], "config": {"rank": 2}},
        {"layers": [1], "config": {"rank": 2}},
        {"layers": None, "config": {"rank": 2}},
    ],
    ids=str,
)
def test_an_adapter_in_the_config_that_cannot_be(refuse, configure, plan):
    assert isinstance(refuse(configure(arguments={"lora": plan})), PresetConfigError | LoraError | UnknownNameError)


ODD = [None, True, -1, 0, 1.5, 10**20, "", "../../x", "\0", [], {}, [[]], {"class_name": "Lambda"}]


@pytest.mark.parametrize(
    "name",
    [
        *("vocabulary_size", "num_layers", "num_heads", "hidden_dim", "intermediate_dim", "max_sequence_length"),
        *("num_segments", "dropout", "attention_dropout", "activation", "layer_norm_epsilon", "initializer_range"),
        *("name", "trainable", "dtype", "lora", "quantized"),
    ],
)
def test_whatever_an_argument_is_nothing_but_our_errors_escapes(configure, name):
    refused = 0
    for value in ODD:
        folder = configure(arguments={name: value})
        try:
            assert vertebra.Backbone.from_preset(folder).count_params() == 6656
        except VertebraError:
            refused += 1
    assert refused >= 8  # of 13; None, a rate of 0, and a few more are what some argument takes


@pytest.fixture
def foreign(golden, tmp_path):
    """Copies a preset of a peer, and changes its config."""

    def change(name, change):
        shutil.copytree(golden / name, tmp_path / name, dirs_exist_ok=True)
        config = json.loads((golden / name / "config.json").read_text())
        change(config)
        (tmp_path / name / "config.json").write_text(json.dumps(config))
        return tmp_path / name

    return change


TRANSFORMERS_FIELDS = (
    *("model_type", "vocab_size", "num_hidden_layers", "num_attention_heads", "hidden_size", "intermediate_size"),
    *("hidden_dropout_prob", "attention_probs_dropout_prob", "max_position_embeddings", "type_vocab_size"),
    *("hidden_act", "layer_norm_eps", "initializer_range", "is_decoder", "pruned_heads", "quantization_config"),
)


@pytest.mark.parametrize("field", TRANSFORMERS_FIELDS)
def test_whatever_a_field_of_transformers_is_nothing_but_our_errors_escapes(foreign, field):
    for value in ODD:
        folder = foreign("transformers", lambda config, value=value: config.update({field: value}))
        assert_loads_or_is_refused(folder)


KERASHUB_FIELDS = (
    *("vocabulary_size", "num_layers", "num_heads", "hidden_dim", "intermediate_dim", "max_sequence_length"),
    *("num_segments", "dropout", "name", "trainable", "dtype", "lora", "quantized"),
)


@pytest.mark.parametrize("field", ["registered_name", "config", *KERASHUB_FIELDS])
def test_whatever_a_field_of_kerashub_is_nothing_but_our_errors_escapes(foreign, field):
    for value in ODD:

        def change(config, value=value):
            (config["config"] if field in KERASHUB_FIELDS else config)[field] = value

        assert_loads_or_is_refused(foreign("kerashub", change))


def assert_loads_or_is_refused(folder):
    """Loads the config of a preset, as a class and as data; each gives a backbone or facts, or one of our errors."""
    for read in (
        lambda: vertebra.Backbone.from_preset(folder, load_weights=False),
        lambda: inspect_preset(str(folder)),
    ):
        with contextlib.suppress(VertebraError):
            assert read()


@pytest.mark.keras
def test_a_model_that_could_not_be_is_refused_before_memory_is_taken(refuse, configure):
    resource = pytest.importorskip("resource")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.monotonic()
    for name in ("vocabulary_size", "hidden_dim", "intermediate_dim", "max_sequence_length"):
        refuse(configure(arguments={name: 2**30}))
    assert time.monotonic() - start < 10
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 256 * 1024  # kB; the tables have 64 GB


# === Runtimes ===


@pytest.mark.keras
def test_a_backend_that_is_not_installed_is_said(child, runtime):
    code = (
        "import sys, vertebra\n"
        "sys.modules[sys.argv[1]] = None\n"
        "try:\n"
        "    vertebra.Backbone.from_preset('bert_tiny_en_uncased')\n"
        "except vertebra.errors.RuntimeUnavailableError as error:\n"
        "    print(error.runtime, 'keras' in sys.modules)"
    )
    assert child(code, runtime, interpreter=True).split() == [runtime, "False"]


def test_keras_bound_to_a_backend_that_no_plugin_runs_is_said(child, golden):
    code = (
        "import os, sys\n"
        "os.environ['KERAS_BACKEND'] = 'numpy'\n"
        "import keras, vertebra\n"
        "try:\n"
        "    vertebra.Backbone.from_preset(sys.argv[1])\n"
        "except vertebra.errors.RuntimeBoundError as error:\n"
        "    print(error.bound, keras.config.backend())"
    )
    assert child(code, golden / "transformers", interpreter=True).split() == ["numpy", "numpy"]


# === Saves that fail ===


FILL_THE_DISK = """
import os, subprocess, sys
from pathlib import Path
import vertebra
from vertebra.errors import PresetSaveError

golden, site = Path(sys.argv[1]), Path(sys.argv[2])
old = vertebra.Backbone.from_preset(golden / "transformers", name="old")
old.enable_lora(2)
new = vertebra.Backbone.from_preset(golden / "transformers", name="new")
new.enable_lora(2)
old.save_to_preset(site / "preset")
old.save_lora_weights(site / "adapter.safetensors")

def state():
    return {str(path): path.read_bytes() for path in site.rglob("*") if path.is_file() and path.name != "ballast"}

def attempt(save, target):
    try:
        save(site / target)
    except PresetSaveError as error:
        return error.__cause__.errno
    return None

def fill(free):
    (site / "ballast").unlink(missing_ok=True)
    left = os.statvfs(site).f_bavail * os.statvfs(site).f_bsize - free
    (site / "ballast").write_bytes(bytes(left))

before, outcomes = state(), []
for free in (0, 4096, 8192, 16384):
    fill(free)
    for save, target in ((new.save_to_preset, "preset"), (new.save_to_preset, "other")):
        outcomes.append(attempt(save, target))
        assert state() == before, (free, target)
fill(0)
outcomes.append(attempt(new.save_lora_weights, "adapter.safetensors"))
(site / "ballast").unlink()
subprocess.run(["mount", "-o", "remount,ro", site], check=True)
outcomes.append(attempt(new.save_to_preset, "preset"))
outcomes.append(attempt(new.save_lora_weights, "adapter.safetensors"))
assert state() == before
assert vertebra.Backbone.from_preset(site / "preset").name == "old"
subprocess.run(["mount", "-o", "remount,rw", site], check=True)
assert attempt(new.save_to_preset, "preset") is None
assert vertebra.Backbone.from_preset(site / "preset").name == "new"
print(*outcomes)
"""


def test_a_full_or_read_only_disk_keeps_the_old_preset_and_the_process(child, golden, tmp_path, mounted):
    full, read_only = 28, 30  # ENOSPC and EROFS of Linux
    outcomes = child(FILL_THE_DISK, golden, tmp_path / "site", under=mounted).split()
    assert [int(code) for code in outcomes] == [full] * 9 + [read_only] * 2


def test_a_folder_that_is_not_ours_to_write_is_said(backbone, tmp_path):
    if os.geteuid() == 0:
        pytest.skip("root may write everywhere")
    (tmp_path / "locked").mkdir(mode=0o500)
    with pytest.raises(PresetSaveError):
        backbone.save_to_preset(tmp_path / "locked" / "preset")
    assert list((tmp_path / "locked").iterdir()) == []


# For each line that it reads, starts a process that saves two presets in turn over each other for ever.
SAVE_FOR_EVER = """
import itertools, json, os, sys
import numpy as np
import vertebra

target, arguments = sys.argv[1], json.loads(sys.argv[2])
presets = []
for layers, shard in ((2, 8e-6), (1, None)):
    backbone = vertebra.models.BertBackbone(**arguments | {"num_layers": layers})
    for variable in backbone.weights:
        variable.assign(np.full(variable.shape, layers))
    presets.append((backbone, shard))
    backbone.save_to_preset(target, max_shard_size=shard)
print("ready", flush=True)
for _ in sys.stdin:
    saver = os.fork()
    if not saver:
        if "vertebra_jax.threads" in sys.modules:  # these saves compute nothing, and need none of JAX's threads
            sys.modules["vertebra_jax.threads"]._is_forked = False
        print(os.getpid(), flush=True)
        for backbone, shard in itertools.cycle(presets):
            backbone.save_to_preset(target, max_shard_size=shard)
    os.waitpid(saver, 0)
    print("killed", flush=True)
"""


@pytest.mark.keras
def test_a_save_that_is_killed_leaves_the_old_preset_or_the_new_one(tmp_path, arguments, values):
    """SV-01, and V14: a leftover is removed by the next save."""
    target, interrupted, found = tmp_path / "preset", False, set()
    arguments = arguments | {"vocabulary_size": 100_000}  # 6 MB take long enough to write on any disk
    command = [sys.executable, "-c", SAVE_FOR_EVER, target, json.dumps(arguments)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "text": True}
    with subprocess.Popen(command, **pipes) as parent:
        assert parent.stdout.readline() == "ready\n"
        (target / "tokenizer.json").write_text("{}")
        for run in range(RUNS):
            print("next", file=parent.stdin, flush=True)
            saver = int(parent.stdout.readline())
            deadline = time.monotonic() + 30
            while not any(f"-{saver}." in path.name for path in tmp_path.iterdir()):  # until it has begun to write
                assert time.monotonic() < deadline
            if run % 2:  # else at once, in the middle of writing
                time.sleep(random.uniform(0, 0.02))
            os.kill(saver, signal.SIGKILL)
            assert parent.stdout.readline() == "killed\n"
            found.add(whole_version(target, values))
            rest = [path for path in tmp_path.iterdir() if path != target]
            assert all(path.name.startswith(".preset.") and path.name.endswith(".tmp") for path in rest)
            assert len(rest) <= 1
            interrupted = interrupted or bool(rest)
        parent.stdin.close()
    assert interrupted  # else no process was killed in the middle of a save
    assert found <= {1, 2}


def whole_version(target, values):
    """Returns which of the two presets a folder holds, after checking that nothing of the other is in it."""
    loaded = vertebra.Backbone.from_preset(target)
    layers = loaded.num_layers
    assert all((array == layers).all() for array in values(loaded).values())
    files = {path.name for path in target.iterdir()}
    shards = {WEIGHTS} if layers == 1 else {name for name in files if name.startswith("model-")} | {INDEX}
    assert files == {"config.json", "metadata.json", "certificate.safetensors", "tokenizer.json"} | shards
    held = [name for path in target.glob("model*.safetensors") for name in load_file(path)]
    assert sorted(held) == sorted(values(loaded))
    return layers
