"""Tensors of which several processes write parts into one file, and the folder that they share."""

import threading
import time

import numpy as np
import pytest

from vertebra._weights.safetensors.format import MappedTensors
from vertebra._weights.safetensors.writing import write_tensors
from vertebra._weights.tensor_entry import layout_of
from vertebra._weights.tensor_layout import put, stored_shape, take
from vertebra._weights.together.parts import Gathered, Saving, Shared, joined, shared_weight
from vertebra._weights.together.stages import replacing_by_all
from vertebra.errors import PresetSaveError
from vertebra.translations import TensorRule


class Steps:
    """The steps of threads in one process, as those of the processes of a mesh."""

    def __init__(self, number, barrier, notes):
        self.number, self.count, self._barrier, self._notes = number, barrier.parties, barrier, notes

    @property
    def is_first(self):
        return self.number == 0

    def reach(self, name, note=""):
        self._notes[self.number] = (name, note)
        self._barrier.wait(10)
        found = list(self._notes)
        self._barrier.wait(10)
        assert len({name for name, _ in found}) == 1
        return [note for _, note in found]


def together(count, work):
    """Runs `work(steps)` in threads; returns the result or the error of each."""
    barrier, notes, found = threading.Barrier(count), [None] * count, [None] * count

    def run(number):
        try:
            found[number] = work(Steps(number, barrier, notes))
        except Exception as error:
            found[number] = error
            time.sleep(0.1)  # until the others have left the barrier
            barrier.abort()

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


def parts(array, axis, number, count):
    """Returns the part of a process: a slice of an axis, or all of it in the first one."""
    index = [slice(0, size) for size in array.shape]
    if axis is None:
        return [(tuple(index), array)] if number == 0 else []
    size = array.shape[axis] // count
    index[axis] = slice(number * size, (number + 1) * size)
    return [(tuple(index), array[tuple(index)])]


RULES = {
    "as it is": ([TensorRule("t")], [(8, 12)], Shared),
    "transposed": ([TensorRule("t", transpose=True)], [(8, 12)], Shared),
    "split into heads": ([TensorRule("t", shape=(8, 3, 4))], [(8, 12)], Shared),
    "heads first": ([TensorRule("t", shape=(4, 8, 3), axes=(1, 0, 2))], [(8, 12)], Gathered),
    "joined axes": ([TensorRule("t", shape=(24, 4))], [(8, 12)], Shared),
    "fused": ([TensorRule("t", part=(number, 3)) for number in range(3)], [(8, 4)] * 3, Shared),
    "fused, transposed": (
        [TensorRule("t", transpose=True, part=(0, 6, 4))]
        + [TensorRule("t", transpose=True, part=(number, 6)) for number in (4, 5)],
        [(8, 16), (8, 4), (8, 4)],
        Shared,
    ),
    "fused biases": ([TensorRule("t", part=(number, 2)) for number in range(2)], [(12,)] * 2, Shared),
    "from the third row on": ([TensorRule("t", first_row=2)], [(8, 12)], Gathered),
    "with an added row": ([TensorRule("t"), TensorRule("t", added=True)], [(8, 12), (1, 12)], Shared),
}


@pytest.mark.parametrize("axis", [0, -1, None], ids=["first axis", "last axis", "replicated"])
@pytest.mark.parametrize(("rules", "shapes", "kind"), RULES.values(), ids=RULES)
def test_parts_are_written_where_the_whole_has_them(rules, shapes, kind, axis, tmp_path):
    draw = np.random.default_rng(1)
    weights = [draw.normal(size=shape).astype("float32") for shape in shapes]
    entry = layout_of("t", "float32", stored_shape(rules[0], shapes[0]))
    (tmp_path / "stage").mkdir()
    (tmp_path / "scratch").mkdir()

    def write(steps):
        saving = Saving(
            steps, lambda tensor: parts(tensor, axis, steps.number, 4), tmp_path / "scratch", tmp_path / "stage"
        )
        own = [None if axis is None or array.shape[axis] % 4 else axis for array in weights]
        reads = [
            shared_weight(
                saving,
                layout_of("w", "float32", array.shape),
                lambda array=array, axis=axis: parts(array, axis, steps.number, 4),
            )
            for array, axis in zip(weights, own, strict=True)
        ]
        read = joined(rules, reads, entry)
        assert type(read) is kind
        whole = {"c": lambda: np.arange(3.0)}
        write_tensors(
            tmp_path / "private" / "t", {"t": read, **whole}, {"t": entry, "c": layout_of("c", "float64", (3,))}, {}
        )
        saving.check_written()

    assert together(4, write) == [None] * 4
    found = MappedTensors(tmp_path / "stage" / "t")
    assert np.array_equal(found.view("t"), put(rules, weights))
    assert np.array_equal(found.view("c"), np.arange(3.0))
    write_tensors(
        tmp_path / "alone",
        {"t": lambda: put(rules, weights), "c": lambda: np.arange(3.0)},
        {"t": entry, "c": layout_of("c", "float64", (3,))},
        {},
    )
    assert (tmp_path / "alone").read_bytes() == (tmp_path / "stage" / "t").read_bytes()
    assert list((tmp_path / "scratch").iterdir()) == []
    assert take(rules[0], found.view("t"), shapes[0]).shape == shapes[0]


def test_parts_that_are_missing_are_an_error(tmp_path):
    array = np.ones((4, 4), "float32")

    def save(steps):
        with replacing_by_all(tmp_path / "target", steps, None) as (stage, saving):
            read = shared_weight(saving, layout_of("w", "float32", (4, 4)), lambda: parts(array, 0, steps.number, 4))
            write_tensors(stage / "w", {"w": read}, {"w": layout_of("w", "float32", (4, 4))}, {})

    assert all(isinstance(error, ValueError) and "32 bytes of 64" in str(error) for error in together(2, save))
    assert list(tmp_path.iterdir()) == []


def test_a_folder_is_replaced_once_all_have_written(tmp_path):
    array = np.ones((4, 4), "float32")

    def save(steps):
        with replacing_by_all(tmp_path / "target", steps, None) as (stage, saving):
            (stage / "note").write_text(str(steps.number))
            read = shared_weight(saving, layout_of("w", "float32", (4, 4)), lambda: parts(array, 0, steps.number, 2))
            write_tensors(stage / "w", {"w": read}, {"w": layout_of("w", "float32", (4, 4))}, {})

    assert together(2, save) == [None, None]
    assert [path.name for path in tmp_path.iterdir()] == ["target"]
    assert (tmp_path / "target" / "note").read_text() == "0"  # files that each writes as a whole are the first one's
    assert np.array_equal(MappedTensors(tmp_path / "target" / "w").view("w"), array)


def test_a_folder_that_is_not_shared_is_an_error(tmp_path):
    def save(steps):
        target = tmp_path / ("here" if steps.is_first else "there") / "target"
        with replacing_by_all(target, steps, None) as (stage, _):
            (stage / "note").write_text("x")

    errors = together(2, save)
    assert isinstance(errors[1], PresetSaveError)
    assert "does not see" in str(errors[1])
    assert list((tmp_path / "here").iterdir()) == []
