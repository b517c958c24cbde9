#!/usr/bin/env bash
# h5py: create_dataset(..., dcpl=properties) ignores the property list when the dataset is a scalar.
#
# Versions:    h5py 3.16.0 (HDF5 2.0.0), numpy 2, Python 3.11
# Expectation: a property list that asks for space at once is used for every dataset, whatever its shape: then the
#              dataset has an offset in the file before anything is written to it.
# Behaviour:   with shape (1,) it is; with shape () a default list takes its place, without an error or a warning, and
#              the dataset has no space until it is written.
# Output seen: shape (1,): allocation early, offset 2048
#              shape (): allocation late, offset None
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet h5py==3.16.0 "numpy>=2,<3"
"$folder/venv/bin/python" - "$folder" <<'PYTHON'
import sys

import h5py


def created(shape):
    properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    properties.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    with h5py.File(f"{sys.argv[1]}/{len(shape)}.h5", "w") as file:
        dataset = file.create_dataset("x", shape=shape, dtype="float32", dcpl=properties)
        is_early = dataset.id.get_create_plist().get_alloc_time() == h5py.h5d.ALLOC_TIME_EARLY
        return is_early, dataset.id.get_offset()


seen = {shape: created(shape) for shape in [(1,), ()]}
for shape, (is_early, offset) in seen.items():
    print(f"shape {shape}: allocation {'early' if is_early else 'late'}, offset {offset}")
is_as_stated = seen[1,][0] and seen[1,][1] is not None and seen[()] == (False, None)
sys.exit(0 if is_as_stated else "the behaviour has changed")
PYTHON
