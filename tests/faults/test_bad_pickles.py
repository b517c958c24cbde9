"""Damaged and hostile pickles end the child process that reads them, and nothing else."""

import dataclasses
import json
import os
import pickle
import random
import zipfile

import pytest

from vertebra._weights.pickles import mapping
from vertebra._weights.pickles.mapping import map_pickle
from vertebra._weights.reader import process
from vertebra.errors import WeightsFileError

RUNS = int(os.environ.get("VERTEBRA_FAULT_RUNS", "15"))


def tensor_pickle(storages=("0",)):
    """Returns the pickle of a table with a tensor of two floats for each storage, as torch writes it."""

    def text(value):
        return b"X" + len(value).to_bytes(4, "little") + value.encode()

    def tensor(key):
        identity = text("storage") + b"ctorch\nFloatStorage\n" + text(key) + text("cpu") + b"K\x02tQ"
        gradients = b"\x89ccollections\nOrderedDict\n)R"
        return b"ctorch._utils\n_rebuild_tensor_v2\n((" + identity + b"K\x00K\x02\x85K\x01\x85" + gradients + b"tR"

    return b"\x80\x02}(" + b"".join(text(f"layer.{key}") + tensor(key) for key in storages) + b"u."


@pytest.fixture
def path(tmp_path):
    """A sound pickle of two tensors."""
    path = tmp_path / "pytorch_model.bin"
    write(path, tensor_pickle(("0", "1")))
    return path


def write(path, data, count=2):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", data)
        for number in range(count):
            archive.writestr(f"archive/data/{number}", bytes([0, 0, 128, 63]) * 2)


def problem(path):
    with pytest.raises(WeightsFileError) as caught:
        map_pickle(path)
    assert caught.value.path == path
    return caught.value.problem


def test_a_pickle_is_read_without_torch(path, new_interpreter):
    mapped = map_pickle(path)
    assert {name: mapped.view(name).tolist() for name in mapped.header.entries} == {
        "layer.0": [1.0, 1.0],
        "layer.1": [1.0, 1.0],
    }


@pytest.mark.parametrize("seed", range(RUNS))
def test_damaged_bytes_are_refused_or_change_values_only(path, seed):
    draws, data = random.Random(seed), bytearray(path.read_bytes())
    for _ in range(draws.randint(1, 5)):
        data[draws.randrange(len(data))] = draws.randrange(256)
    path.write_bytes(data)
    try:
        mapped = map_pickle(path)
    except WeightsFileError:
        return
    assert all(entry.size <= len(data) for entry in mapped.header.entries.values())


class Calls:
    """Pickled as a call of a function."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("function", [os.getcwd, eval, getattr, pickle.loads, __import__, os.path.join, dict])
def test_no_other_function_is_called(path, function):
    write(path, pickle.dumps({"layer.0": Calls(function)}, protocol=2))
    assert "could run code" in problem(path)


def test_a_value_of_a_builtin_type_with_state_is_refused(path):
    """The opcode BUILD sets attributes of what is on the stack: of a function of the reader, for example."""
    write(path, b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n}X\x08\x00\x00\x00__code__K\x01sb.")
    problem(path)


@pytest.mark.parametrize(
    "data",
    [
        b"\x80\x04" + b"]" * 10**5 + b".",
        b"\x80\x04X\xff\xff\xff\x7f.",
        b"\x80\x04\x96\xff\xff\xff\xff\xff\xff\xff\x7f.",
        b"\x80\x04r\xff\xff\xff\xff.",
        b"(" * 10**6,
        b"",
    ],
)
def test_pickles_that_ask_for_much_memory_are_refused(path, data):
    write(path, data)
    problem(path)


@pytest.fixture
def replaced(monkeypatch, tmp_path):
    """Puts another function in the place of the one that sorts the values of a pickle."""

    def replace(code):
        before, call, after = mapping._PROGRAM.path.read_text().partition("def _state_dict(root: Any)")
        assert call
        probe = "\n".join(f"    {line}" for line in code.splitlines())
        program = tmp_path / "probe.py"
        program.write_text(
            f"{before}def _state_dict(root):\n{probe}\n\n\n{call.replace('_state_dict', '_other')}{after}"
        )
        monkeypatch.setattr(mapping, "_PROGRAM", dataclasses.replace(mapping._PROGRAM, path=program))

    return replace


def test_the_reader_opens_no_file_and_has_limits(path, replaced):
    replaced(
        "import resource\n"
        "opened = []\n"
        "try:\n"
        "    opened.append(open(sys.executable, 'rb'))\n"
        "except OSError:\n"
        "    pass\n"
        "kinds = (resource.RLIMIT_AS, resource.RLIMIT_CPU, resource.RLIMIT_FSIZE, resource.RLIMIT_CORE)\n"
        "raise ValueError(f'{len(opened)} {[resource.getrlimit(kind)[0] for kind in kinds]}')"
    )
    count, limits = problem(path).partition(": ")[2].split(" ", 1)
    memory, *others = json.loads(limits)
    assert count == "0"
    assert others == [60, 2 * path.stat().st_size + 64 * 2**20, 0]
    assert 2**29 < memory < 2**31


def test_memory_beyond_the_limit_is_an_error(path, replaced):
    replaced("return '', {'layer.0': bytearray(2**30)}")
    assert "MemoryError" in problem(path)


def test_a_reader_that_takes_too_long_is_ended(path, replaced, monkeypatch):
    monkeypatch.setattr(mapping, "_SECONDS", 1)
    replaced("import time\ntime.sleep(60)")
    assert "more than 1 seconds" in problem(path)


def test_a_reader_that_crashes_is_named(path, replaced):
    replaced("os.kill(os.getpid(), 11)")
    assert "SIGSEGV" in problem(path)


@pytest.mark.parametrize("output", ["b''", "b'{}'", "bytes(100)"])
def test_invalid_output_of_the_reader_is_refused(path, replaced, output):
    replaced(f"sys.stdout.buffer.write({output})\nsys.stdout.flush()\nos._exit(0)")
    problem(path)


def test_a_missing_folder_for_temporary_files_is_an_error(path, monkeypatch):
    def refuse():
        raise FileNotFoundError(2, "No usable temporary directory found")

    monkeypatch.setattr(process.tempfile, "TemporaryFile", refuse)
    assert "temporary" in problem(path)
