"""The program that reads a pickle of torch in a child process, because a pickle can run code.

Its only argument is a job, a JSON object from `mapping.py`. The pickle is its standard input. It writes the tensors to
standard output, as a safetensors file. On an error in the pickle it writes the message to standard error and ends with
exit status 1.

A pickle holds either the tensors by name, or, as the files of a training run, several values of which one has the
tensors by name, such as `state_dict`.
"""

from __future__ import annotations

import json
import os
import re
import struct
import sys
import warnings
from collections.abc import Iterator
from typing import Any

JOB = json.loads(sys.argv[1])
sys.path += JOB["search"]  # the interpreter is isolated: without this it can import only the standard library

import torch  # noqa: E402
from resource_limits import limit_resources  # type: ignore[import-not-found]  # noqa: E402

_DTYPES = {
    "bool": "BOOL",
    "uint8": "U8",
    "int8": "I8",
    "float8_e4m3fn": "F8_E4M3",
    "float8_e5m2": "F8_E5M2",
    "uint16": "U16",
    "int16": "I16",
    "float16": "F16",
    "bfloat16": "BF16",
    "uint32": "U32",
    "int32": "I32",
    "float32": "F32",
    "uint64": "U64",
    "int64": "I64",
    "float64": "F64",
}
_MOST_DEPTH = 3
_MOST_NAMES = 20
_REFUSED = re.compile(r"WeightsUnpickler error: (.*?)( was not an allowed| Please use|\. |\n|$)")


def main() -> None:
    """Does the job, and ends the process at once, without code that a damaged state could reach."""
    status = 0
    try:
        warnings.simplefilter("ignore")
        torch.set_num_threads(1)
        limit_resources(JOB)
        key, values = _state_dict(_load())
        _write(key, values)
        sys.stdout.flush()
    except MemoryError:
        status = _complain("it needs more memory than a file of its size can hold")
    except Exception as error:
        status = _complain(_reason(error))
    os._exit(status)


def _complain(problem: str) -> int:
    sys.stderr.write(problem)
    sys.stderr.flush()
    return 1


def _load() -> Any:
    """Reads the pickle; the storages of a zip archive are mapped, where the system names open files."""
    file, name = open(0, "rb", closefd=False), "/dev/fd/0"  # noqa: SIM115
    file.seek(0)
    start = file.read(4)
    file.seek(0)
    if start == b"PK\x03\x04" and os.path.exists(name):
        return torch.load(name, map_location="cpu", mmap=True, weights_only=True)
    return torch.load(file, map_location="cpu", weights_only=True)


def _reason(error: Exception) -> str:
    """Returns torch's message without its advice to trust the file."""
    text = str(error)
    if found := _REFUSED.search(text):
        return f"it holds more than tensors, and is not read because that could run code ({found[1]})"
    return text.strip().partition("\n")[0] or type(error).__name__


def _state_dict(root: Any) -> tuple[str, dict[Any, Any]]:
    """Returns the one table in a pickle that has tensors by name, and the key under which it is.

    If several have tensors, those with dotted names, such as modules give, come before others, such as random states.
    """
    tables = dict(_tables(root, ""))
    modules = {key: table for key, table in tables.items() if any("." in name for name in _tensors(table))}
    found = modules or tables
    if not found:
        raise ValueError(f"it holds no tensors by name, but {type(root).__name__}")
    if len(found) > 1:
        raise ValueError(f"it holds several sets of tensors, under the keys {', '.join(map(repr, found))}")
    return next(iter(found.items()))


def _tables(value: Any, path: str) -> Iterator[tuple[str, dict[Any, Any]]]:
    """Yields each table with strings as keys that holds tensors, with its path."""
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        return
    if _tensors(value):
        yield path, value
    if path.count("/") < _MOST_DEPTH:
        for key, inner in value.items():
            yield from _tables(inner, f"{path}/{key}" if path else key)


def _tensors(table: dict[Any, Any]) -> dict[str, torch.Tensor]:
    return {name: value for name, value in table.items() if isinstance(value, torch.Tensor)}


def _write(key: str, table: dict[Any, Any]) -> None:
    tensors = _tensors(table)
    others = sorted(table.keys() - tensors.keys())
    shown = ", ".join(others[:_MOST_NAMES]) + (f" and {len(others) - _MOST_NAMES} more" if others[_MOST_NAMES:] else "")
    header: dict[str, Any] = {"__metadata__": {"key": key, "left_out": shown}}
    end = 0
    for name, tensor in tensors.items():
        size = tensor.numel() * tensor.element_size()
        header[name] = {"dtype": _dtype(name, tensor), "shape": list(tensor.shape), "data_offsets": [end, end + size]}
        end += size
    encoded = json.dumps(header, separators=(",", ":")).encode()
    if 8 + len(encoded) + end > JOB["output"]:
        raise ValueError(f"its tensors take {end} bytes, more than a file of its size can hold")
    output = sys.stdout.buffer
    output.write(struct.pack("<Q", len(encoded)) + encoded)
    for tensor in tensors.values():
        if tensor.numel():
            output.write(tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy().data)


def _dtype(name: str, tensor: torch.Tensor) -> str:
    dtype = _DTYPES.get(str(tensor.dtype).removeprefix("torch."))
    if type(tensor) not in (torch.Tensor, torch.nn.Parameter) or tensor.layout != torch.strided or dtype is None:
        raise ValueError(f"tensor {name!r} is a {type(tensor).__name__} of {tensor.dtype}, {tensor.layout}")
    if name == "__metadata__":
        raise ValueError(f"a tensor is named {name!r}")
    return dtype


if __name__ == "__main__":
    main()
