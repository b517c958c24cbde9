"""HDF5 files that are damaged, and readers of them that die, hang or lie: a typed error, and this process lives on.

`VERTEBRA_FAULT_RUNS` says how many damaged files are tried (15 if it is not set).
"""

import dataclasses
import json
import os
import tempfile

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vertebra._weights.hdf5 import listing, reader_process
from vertebra._weights.hdf5.mapping import map_hdf5
from vertebra._weights.reader import process
from vertebra.errors import WeightsFileError

RUNS = int(os.environ.get("VERTEBRA_FAULT_RUNS", "15"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("weights")


@pytest.fixture(scope="module")
def sound(folder):
    """The bytes of a file with groups, attributes, and each kind of dataset."""
    path = folder / "sound.h5"
    with h5py.File(path, "w") as file:
        for number in range(3):
            variables = file.create_group(f"layers/dense_{number}/vars")
            variables.attrs["name"] = "dense"
            variables["0"] = np.arange(12, dtype="f4").reshape(3, 4)
            variables["1"] = np.zeros(4, "V2")
            variables["1"].attrs["dtype"] = "bfloat16"
        file.create_dataset("packed", data=np.arange(100.0), chunks=(30,), compression="gzip", shuffle=True)
    return path.read_bytes()


def mapped_file(path):
    [mapped] = map_hdf5([path])
    return mapped


def read_all(path):
    """Reads a file, which may be refused; all tensors of an accepted file can be read."""
    try:
        mapped = mapped_file(path)
        views = {name: mapped.view(name) for name in mapped.header.entries}
    except WeightsFileError:
        return None
    for name, view in views.items():
        assert len(view.tobytes()) == mapped.header.entries[name].size
    return views


# === Damage ===


@settings(max_examples=max(RUNS * 2 // 3, 1), deadline=None)
@given(changes=st.lists(st.tuples(st.integers(0), st.integers(1, 255)), min_size=1, max_size=4))
def test_flipped_bits_are_refused_or_harmless(changes, folder, sound):
    """H5-04."""
    data = bytearray(sound)
    for position, flipped in changes:
        data[position % len(data)] ^= flipped
    path = folder / "flipped.h5"
    path.write_bytes(data)
    read_all(path)


@settings(max_examples=max(RUNS // 3, 1), deadline=None)
@given(kept=st.floats(0, 1, exclude_max=True))
def test_a_file_that_was_cut_is_refused(kept, folder, sound):
    """H5-03."""
    path = folder / "cut.h5"
    path.write_bytes(sound[: int(len(sound) * kept)])
    assert read_all(path) is None


@settings(max_examples=max(RUNS // 5, 1), deadline=None)
@given(flipped=st.integers(1, 255), position=st.integers(0, 47))
def test_a_change_in_the_weights_themselves_is_read(flipped, position, folder, sound):
    """There is no checksum: a changed byte is read as it is, and no other value changes."""
    path = folder / "changed.h5"
    path.write_bytes(sound)
    name = "layers/dense_1/vars/0"
    data = bytearray(sound)
    with h5py.File(path) as file:
        data[file[name].id.get_offset() + position] ^= flipped
    path.write_bytes(data)
    expected = bytearray(np.arange(12, dtype="f4").tobytes())
    expected[position] ^= flipped
    views = read_all(path)
    assert views.pop(name).tobytes() == expected
    assert views["layers/dense_2/vars/0"].tobytes() == np.arange(12, dtype="f4").tobytes()
    assert views["packed"].tobytes() == np.arange(100.0).tobytes()


# === Readers that cannot be trusted ===


@pytest.fixture
def path(folder, sound):
    path = folder / "model.weights.h5"
    path.write_bytes(sound)
    return path


def replace_path(path):
    return dataclasses.replace(reader_process._PROGRAM, path=path)


@pytest.fixture
def reader(monkeypatch, tmp_path):
    """Returns a function that puts another program in the place of the one that reads."""

    def replace(code):
        program = tmp_path / "reader.py"
        program.write_text(f"import json, os, signal, sys\njob = json.loads(sys.argv[1])\n{code}")
        monkeypatch.setattr(reader_process, "_PROGRAM", replace_path(program))

    return replace


def problem_of(path):
    with pytest.raises(WeightsFileError) as caught:
        mapped_file(path)
    assert caught.value.path == path
    return caught.value.problem


@pytest.mark.parametrize("name", ["SIGSEGV", "SIGABRT", "SIGKILL", "SIGXCPU"])
def test_a_reader_that_dies_is_named_by_its_signal(name, path, reader):
    reader(f"import resource; resource.setrlimit(resource.RLIMIT_CORE, (0, 0)); os.kill(os.getpid(), signal.{name})")
    assert name in problem_of(path)


def test_a_signal_without_a_name_is_given_by_number(path, reader):
    reader("os.kill(os.getpid(), 40)")
    assert "40" in problem_of(path)


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("sys.exit('the reason')", "the reason"),
        ("raise OSError('the reason')", "the reason"),
        ("sys.exit('much before' * 10 + '\\nthe reason')", "the reason"),
        ("sys.exit(3)", "status 3"),
        ("sys.stderr.buffer.write(b'\\xff the \\x1b[31m reason'); sys.exit(1)", "reason"),
        ("sys.stderr.write('x' * 10_000_000); sys.exit(1)", "xxx"),
    ],
)
def test_a_reader_that_fails_is_quoted(code, expected, path, reader):
    reader(code)
    problem = problem_of(path)
    assert expected in problem
    assert problem.isprintable()
    assert len(problem) < 2_000


def test_a_reader_that_hangs_is_stopped(path, reader, monkeypatch):
    reader("import time; time.sleep(1000)")
    monkeypatch.setattr(listing, "LISTING", dataclasses.replace(listing.LISTING, seconds=1))
    assert "1 second" in problem_of(path)


def test_all_files_share_the_time_of_one(path, reader, monkeypatch):
    """V11: each shard of a preset whose reader hangs took the whole limit anew."""
    jobs = []

    def run(files, job, output, started=listing.run_job):
        jobs.append((len(files), job.wait))
        started(files, job, output)

    monkeypatch.setattr(listing, "run_job", run)
    reader("import time; time.sleep(1000)")
    monkeypatch.setattr(listing, "LISTING", dataclasses.replace(listing.LISTING, seconds=3))
    monkeypatch.setattr(listing, "_SECONDS_OF_ANY", 1)
    with pytest.raises(WeightsFileError, match="more than 1 seconds"):
        map_hdf5([path] * 5)
    assert jobs == [(5, 3), (1, 1)]


def test_a_small_file_has_little_processor_time(path):
    """V11: mutated files of 22 kB kept the library busy for 60 s."""
    with path.open("rb") as file:
        job = listing._job([process.OpenFile(path, file)], 0)
    assert (job.seconds, job.wait) == (10, 10)


ENTRY = {"dtype": "float32", "shape": [2], "start": 100}


def answer(**changed):
    return json.dumps({"a": ENTRY | changed})


LIES = {
    "nothing": "",
    "not JSON": "a",
    "not an object": "[]",
    "an entry that is no object": '{"a": 1}',
    "a name twice": f'{{"a": {json.dumps(ENTRY)}, "a": {json.dumps(ENTRY)}}}',
    "a field too many": answer(size=1),
    "a field missing": '{"a": {"dtype": "float32", "shape": [2]}}',
    "another dtype": answer(dtype="object"),
    "a dtype that is no text": answer(dtype=["float32"]),
    "a negative size": answer(shape=[-2]),
    "two negative sizes": answer(shape=[-2, -1]),
    "a size that is a float": answer(shape=[2.0]),
    "a size that is a bool": answer(shape=[True]),
    "a size beyond 64 bits": answer(shape=[2**63]),
    "a shape that is a number": answer(shape=2),
    "17 dimensions": answer(shape=[1] * 17),
    "a negative start": answer(start=-1),
    "a start that is a float": answer(start=100.0),
    "a start within the signature": answer(start=7),
    "beyond the end": answer(start=10**6),
    "too large": answer(shape=[10**6]),
    "sizes whose product is beyond 64 bits": answer(shape=[2**62, 2**62]),
    "unpacked beyond measure": answer(shape=[2**40], start=None),
    "overlapping": json.dumps({"a": ENTRY, "b": ENTRY | {"start": 107}}),
    "the same place twice": json.dumps({"a": ENTRY, "b": ENTRY}),
    "an empty name": json.dumps({"": ENTRY}),
    "an absolute name": json.dumps({"/a": ENTRY}),
    "the parent": json.dumps({"a/../b": ENTRY}),
    "an unprintable name": json.dumps({"a\x1b": ENTRY}),
    "a deep name": json.dumps({"/".join("a" * 33): ENTRY}),
    "a long name": json.dumps({"a" * 2_000: ENTRY}),
    "NaN": '{"a": NaN}',
}


@pytest.mark.parametrize("said", LIES.values(), ids=LIES)
def test_a_reader_that_lies_is_not_believed(said, path, monkeypatch):
    def lie(files, job, output):
        output.write(said.encode())
        output.seek(0)

    monkeypatch.setattr(listing, "run_job", lie)
    problem_of(path)


def test_a_reader_that_says_too_much_is_not_believed(path, reader):
    reader("sys.stdout.write('{' + ' ' * job['output'] + '}')")
    problem_of(path)


@pytest.mark.parametrize("written", ["b''", "b'a'", "bytes(10_000)"])
def test_a_reader_that_unpacks_another_size_is_not_believed(written, path, reader):
    mapped = mapped_file(path)
    reader(f"sys.stdout.buffer.write({written})")
    with pytest.raises(WeightsFileError):
        mapped.view("packed")


# === A reader of several files ===

NOTHING = "sys.stdout.write('{}\\n'); sys.stdout.flush()"
DIE = "os.kill(os.getpid(), signal.SIGKILL)"


@pytest.fixture
def three(path, tmp_path):
    """Three files, of which the second holds a culprit."""
    paths = [tmp_path / f"model_{number:05}.weights.h5" for number in range(3)]
    for other in paths:
        other.write_bytes(path.read_bytes())
    with h5py.File(paths[1], "a") as file:
        file.create_dataset("culprit", (3,), "f4")
    return paths


def test_the_file_that_is_refused_among_others_is_named(three):
    with pytest.raises(WeightsFileError) as caught:
        map_hdf5(three)
    assert caught.value.path == three[1]
    assert "culprit" in caught.value.problem


def test_the_file_that_kills_its_reader_among_others_is_named(three, reader):
    reader(f"""
for number in job["files"]:
    if b"culprit" in os.pread(number, 100_000, 0):
        {DIE}
    {NOTHING}""")
    with pytest.raises(WeightsFileError) as caught:
        map_hdf5(three)
    assert caught.value.path == three[1]
    assert "SIGKILL" in caught.value.problem


FAILURES_IN_COMPANY = {
    "before the first": DIE,
    "within a line": f"{NOTHING}; sys.stdout.write('{{'); sys.stdout.flush(); {DIE}",
    "after the last": f"{NOTHING}; {NOTHING}; {NOTHING}; {DIE}",
    "without a word": NOTHING,
    "saying too much": f"{NOTHING}; {NOTHING}; {NOTHING}; {NOTHING}",
}


@pytest.mark.parametrize("failure", FAILURES_IN_COMPANY.values(), ids=FAILURES_IN_COMPANY)
def test_files_that_fail_only_together_are_read_one_by_one(failure, three, reader):
    reader(f"""
if len(job["files"]) > 1:
    {failure}
else:
    {NOTHING}""")
    assert [mapped.header.entries for mapped in map_hdf5(three)] == [{}, {}, {}]


# === Machines on which nothing can be read ===


@pytest.mark.parametrize("package", ["h5py", "numpy"])
def test_a_missing_package_is_named(package, path, monkeypatch):
    find_spec = process.importlib.util.find_spec
    monkeypatch.setattr(process.importlib.util, "find_spec", lambda name: None if name == package else find_spec(name))
    assert package in problem_of(path)


@pytest.mark.parametrize("executable", ["", "/nowhere/python"])
def test_a_missing_interpreter_is_an_error(executable, path, monkeypatch, new_interpreter):
    monkeypatch.setattr(process.sys, "executable", executable)
    problem_of(path)


def test_a_folder_for_temporary_files_that_is_missing_is_an_error(path, monkeypatch):
    def refuse():
        raise FileNotFoundError(2, "No usable temporary directory found")

    monkeypatch.setattr(process.tempfile, "TemporaryFile", refuse)
    problem_of(path)


def test_memory_and_open_files_of_the_reader_are_limited(path, tmp_path, monkeypatch, new_interpreter):
    """The real program, whose limits are read by a hook in the place of the library's first call."""
    program = reader_process._PROGRAM.path.read_text()
    probe = """
    import resource
    opened = []
    try:
        opened.append(open(sys.executable, "rb"))
    except OSError:
        pass
    kinds = (resource.RLIMIT_AS, resource.RLIMIT_CPU, resource.RLIMIT_FSIZE, resource.RLIMIT_CORE)
    raise ValueError(f"{len(opened)} {[resource.getrlimit(kind)[0] for kind in kinds]}")
"""
    before, call, after = program.partition("def _write_index(file: Any) -> None:\n")
    (tmp_path / "probe.py").write_text(before + call + probe + after)
    monkeypatch.setattr(reader_process, "_PROGRAM", replace_path(tmp_path / "probe.py"))
    with path.open("rb") as one, path.open("rb") as other, tempfile.TemporaryFile() as output:
        files = [process.OpenFile(path, file) for file in (one, other)]
        with pytest.raises(WeightsFileError) as caught:
            reader_process.run_job(files, listing.LISTING, output)
    count, limits = caught.value.problem.partition(": ")[2].split(" ", 1)
    memory, *others = json.loads(limits)
    assert count == "0"
    assert others == [60, listing.LISTING.output, 0]
    assert 2**29 < memory < 2**31
