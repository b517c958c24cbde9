"""Weights: the header of safetensors files, HDF5 files and pickles by their child processes, and shard indexes."""

import contextlib
import dataclasses
import io
import json
import shutil
import struct
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from unittest import mock

from forking import fork_readers
from fuzz.mutations import of_bytes, of_json, of_safetensors, of_zip
from fuzz.target import Read, Target

GOLDEN = Path(__file__).parents[2] / "golden" / "bert"
CHILD_SECONDS = 20
"""How long a child process may read an input; in programs, it is a minute."""


def one_file(
    name: str, map_file: Callable[[Path], object]
) -> Callable[[Path], contextlib.AbstractContextManager[Read]]:
    """Returns what opens a target that maps one file and reads all of its tensors."""

    @contextlib.contextmanager
    def opened(folder: Path) -> Iterator[Read]:
        path = folder / name

        def read(data: bytes) -> None:
            path.write_bytes(data)
            mapped = map_file(path)
            for tensor, entry in mapped.header.entries.items():
                assert len(mapped.view(tensor).tobytes()) == entry.size

        yield read

    return opened


# === safetensors ===

DTYPES = ("BOOL", "U8", "F16", "BF16", "F32", "F64", "I64", "F8_E4M3", "C64", "F4")


def safetensors_file(header: dict, data: bytes) -> bytes:
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def safetensors_seeds() -> list[bytes]:
    first = {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}
    second = {"dtype": "BF16", "shape": [4], "data_offsets": [24, 32]}
    empty = {"dtype": "I64", "shape": [0], "data_offsets": [32, 32]}
    return [
        safetensors_file({}, b""),
        safetensors_file({"__metadata__": {"format": "pt"}, "a": first}, bytes(24)),
        safetensors_file({"layer.weight": first, "layer.bias": second, "nothing": empty}, bytes(32)),
    ]


def map_safetensors(path: Path) -> object:
    from vertebra._weights.safetensors.format import MappedTensors

    return MappedTensors(path)


SAFETENSORS = Target(
    "safetensors",
    one_file("model.safetensors", map_safetensors),
    safetensors_seeds,
    of_safetensors,
    ("dtype", "shape", "data_offsets", "__metadata__", "format", *DTYPES),
)

# === HDF5 and pickles ===


@contextlib.contextmanager
def in_forks() -> Iterator[None]:
    """Has the children be forks, which spares the start of an interpreter, with less time than in programs."""
    from vertebra._weights.hdf5 import listing
    from vertebra._weights.pickles import mapping

    short = dataclasses.replace(listing.LISTING, seconds=CHILD_SECONDS)
    with (
        fork_readers(),
        mock.patch.object(listing, "LISTING", short),
        mock.patch("vertebra._weights.hdf5.mapping.LISTING", short),
        mock.patch.object(mapping, "_SECONDS", CHILD_SECONDS),
    ):
        yield


@contextlib.contextmanager
def open_hdf5(folder: Path) -> Iterator[Read]:
    from vertebra._weights.hdf5.mapping import map_hdf5

    with one_file("model.weights.h5", lambda path: map_hdf5([path])[0])(folder) as read, in_forks():
        yield read


def hdf5_seeds() -> list[bytes]:
    """Returns files with groups, attributes, and each kind of dataset: in the file's two layouts."""
    import h5py
    import numpy as np

    seeds = []
    with tempfile.TemporaryDirectory() as folder:
        for newest in ("earliest", "latest"):
            path = Path(folder, "sound.h5")
            with h5py.File(path, "w", libver=newest) as file:
                variables = file.create_group("layers/dense/vars")
                variables.attrs["name"] = "dense"
                variables["0"] = np.arange(12, dtype="f4").reshape(3, 4)
                variables["1"] = np.zeros(4, "V2")
                variables["1"].attrs["dtype"] = "bfloat16"
                file.create_dataset("packed", data=np.arange(100.0), chunks=(30,), compression="gzip", shuffle=True)
            seeds.append(path.read_bytes())
    return [*seeds, (GOLDEN / "kerashub_lora.lora.h5").read_bytes()]


@contextlib.contextmanager
def open_pickle(folder: Path) -> Iterator[Read]:
    from vertebra._weights.pickles.mapping import map_pickle

    with one_file("pytorch_model.bin", map_pickle)(folder) as read, in_forks():
        yield read


def pickled_table(storages: Sequence[str]) -> bytes:
    """Returns the pickle of a table with a tensor of two floats for each storage, as torch writes it."""

    def text(value: str) -> bytes:
        return b"X" + len(value).to_bytes(4, "little") + value.encode()

    def tensor(key: str) -> bytes:
        identity = text("storage") + b"ctorch\nFloatStorage\n" + text(key) + text("cpu") + b"K\x02tQ"
        gradients = b"\x89ccollections\nOrderedDict\n)R"
        return b"ctorch._utils\n_rebuild_tensor_v2\n((" + identity + b"K\x00K\x02\x85K\x01\x85" + gradients + b"tR"

    return b"\x80\x02}(" + b"".join(text(f"layer.{key}") + tensor(key) for key in storages) + b"u."


def pickle_seeds() -> list[bytes]:
    seeds = []
    for storages in (("0",), ("0", "1")):
        output = io.BytesIO()
        with zipfile.ZipFile(output, "w") as archive:
            archive.writestr("archive/data.pkl", pickled_table(storages))
            for key in storages:
                archive.writestr(f"archive/data/{key}", bytes([0, 0, 128, 63]) * 2)
        seeds.append(output.getvalue())
    return seeds


PICKLE_WORDS = (
    *("cos\nsystem\n", "cbuiltins\neval\n", "ctorch\nload\n", "ctorch\nHalfStorage\n", "ccollections\nOrderedDict\n"),
    *(
        "ctorch._utils\n_rebuild_parameter\n",
        "cbuiltins\ngetattr\n",
        "R",
        "b",
        "0",
        "2",
        "t",
        "Q",
        ".",
        "\x85",
        "}",
        "]",
    ),
    *(
        "\x8c\x02os\x94\x8c\x06system\x94\x93\x94",
        "c__builtin__\nset\n",
        "archive/data/0",
        "storage",
        "K\x7f",
        "M\xff\xff",
    ),
)

# === The shard index ===


@contextlib.contextmanager
def open_index(folder: Path) -> Iterator[Read]:
    from vertebra._weights.checkpoint import open_checkpoint
    from vertebra._weights.safetensors.file_kind import SAFETENSORS as KIND

    shutil.copytree(GOLDEN / "transformers_sharded", folder / "preset")
    preset = folder / "preset"
    names = {path.name for path in preset.iterdir()}

    def read(data: bytes) -> None:
        (preset / KIND.index).write_bytes(data)
        open_checkpoint(KIND, names, preset.joinpath)

    yield read


INDEX_NAME = "model.safetensors.index.json"


def index_seeds() -> list[bytes]:
    whole = json.loads((GOLDEN / "transformers_sharded" / INDEX_NAME).read_bytes())
    short = {"metadata": {"total_size": 1}, "weight_map": dict(list(whole["weight_map"].items())[:3])}
    return [json.dumps(whole).encode(), json.dumps(short).encode()]


TARGETS = [
    SAFETENSORS,
    Target("hdf5", open_hdf5, hdf5_seeds, of_bytes, forks=True),
    Target("pickle", open_pickle, pickle_seeds, of_zip, PICKLE_WORDS, forks=True),
    Target(
        "shard-index",
        open_index,
        index_seeds,
        of_json,
        (
            "weight_map",
            "metadata",
            "model-00001-of-00002.safetensors",
            "../model.safetensors",
            "embeddings.LayerNorm.bias",
        ),
    ),
]
