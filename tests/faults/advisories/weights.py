"""Weights files that name other files, declare more than they hold, or carry objects."""

import json
import shutil
import struct
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from faults.advisories.objects import code, lambda_layer, reading, sound
from faults.advisories.payload import GOLDEN, Operations, Payload, Site

KERNEL = "layers/token_embedding/vars/0"
SHARDED = "model_00000.weights.h5"
Change = Callable[[Any, Site], object]
"""Changes an open HDF5 file."""

# === HDF5 ===


def in_hdf5(preset_name: str, name: str, change: Change, site: Site) -> Operations:
    import h5py

    preset = sound(site, preset_name)
    with h5py.File(preset / name, "a") as file:
        change(file, site)
    return reading(preset, site.folder / "target")


def in_hdf5_adapter(change: Change, site: Site) -> Operations:
    import h5py
    from faults.advisories.adapters import loading

    path = Path(shutil.copy(GOLDEN / "kerashub_lora.lora.h5", site.folder / "adapter.lora.h5"))
    with h5py.File(path, "a") as file:
        change(file, site)
    return loading(path, site)


def first(file: Any) -> str:
    """Returns the name of the first dataset of a file."""
    names: list[str] = []
    file.visititems(lambda name, item: names.append(name) if hasattr(item, "shape") else None)
    return names[0]


def replace(file: Any, value: Any) -> None:
    name = first(file)
    del file[name]
    file[name] = value


def external_link(file: Any, site: Site) -> None:
    import h5py

    replace(file, h5py.ExternalLink(str(site.secret), "/weights"))


def relative_external_link(file: Any, site: Site) -> None:
    import h5py

    replace(file, h5py.ExternalLink(site.up(site.secret, Path(file.filename).parent), "/weights"))


def soft_link(file: Any, _: Site) -> None:
    import h5py

    replace(file, h5py.SoftLink("/another"))


def external_storage(file: Any, site: Site) -> None:
    import h5py

    name = first(file)
    shape = file[name].shape
    del file[name]
    file.create_dataset(name, shape, "f4", external=[(str(site.secret), 0, h5py.h5f.UNLIMITED)])


def virtual(file: Any, site: Site) -> None:
    import h5py

    name = first(file)
    shape = file[name].shape
    del file[name]
    layout = h5py.VirtualLayout(shape, "f4")
    layout[...] = h5py.VirtualSource(str(site.secret), "weights", shape)
    file.create_virtual_dataset(name, layout)


def huge(*shape: int) -> Change:
    """Returns what declares a shape of which no chunk is in the file."""

    def change(file: Any, _: Site) -> None:
        name = first(file)
        del file[name]
        file.create_dataset(name, shape, "f4", chunks=(1024,) * len(shape), compression="gzip")

    return change


def whole_model(file: Any, site: Site) -> None:
    """Makes the file one of a whole model, with code in its config."""
    config = {"class_name": "Sequential", "config": {"layers": [lambda_layer(code(site.flag))]}}
    file.attrs["model_config"] = json.dumps(config)
    file.attrs["keras_version"] = "3.11.2"
    file.create_group("model_weights")
    replace(file, [1.0])


def hdf5(**changes: Change) -> Iterator[Payload]:
    """Yields payloads in each file of HDF5 that Vertebra reads."""
    for name, change in changes.items():
        for preset, file in (("kerashub", "model.weights.h5"), ("kerashub_sharded", SHARDED)):
            write = partial(in_hdf5, preset, file, change)
            yield Payload(f"{name}, {file}", write, needs=("h5py",))
        yield Payload(f"{name}, adapter.lora.h5", partial(in_hdf5_adapter, change), needs=("h5py",))


# === safetensors ===

Header = dict[str, Any]


def safetensors(data: bytes, change: Callable[[Header, Site], object], site: Site) -> bytes:
    """Returns a file with another header."""
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    change(header, site)
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data[8 + length :]


def in_weights(change: Callable[[Header, Site], object], site: Site) -> Operations:
    preset = sound(site, "transformers")
    path = preset / "model.safetensors"
    path.write_bytes(safetensors(path.read_bytes(), change, site))
    return reading(preset, site.folder / "target")


def in_tensors_of_adapter(change: Callable[[Header, Site], object], site: Site) -> Operations:
    from faults.advisories.adapters import loading, sound_adapter

    adapter = sound_adapter(site)
    path = adapter / "adapter_model.safetensors"
    path.write_bytes(safetensors(path.read_bytes(), change, site))
    return loading(adapter, site)


def headers(name: str, change: Callable[[Header, Site], object], ignored: bool = False) -> Iterator[Payload]:
    yield Payload(f"{name}, header of weights", partial(in_weights, change), ignored)
    yield Payload(f"{name}, header of an adapter", partial(in_tensors_of_adapter, change), ignored)


def with_metadata(value: str, header: Header, site: Site) -> None:
    header["__metadata__"] = {"format": "pt", "config": value.replace("FLAG", str(site.flag))}


def with_shape(shape: list[int], end: int | None, header: Header, _: Site) -> None:
    """Declares another shape of the first tensor."""
    name = next(name for name in header if name != "__metadata__")
    header[name]["shape"] = shape
    if end is not None:
        header[name]["data_offsets"] = [0, end]


def with_tensor(name: str, header: Header, _: Site) -> None:
    """Renames the first tensor."""
    first_name = next(name for name in header if name != "__metadata__")
    header[name] = header.pop(first_name)


TARGETS = (
    '{"_target_": "os.system", "_args_": ["touch FLAG"]}',
    '{"_target_": "builtins.exec", "source": "open(\'FLAG\', \'w\')"}',
    '{"cls": {"_target_": "numpy.f2py.crackfortran.myeval", "b": "open(\'FLAG\', \'w\')"}}',
)

# === Indexes of shards ===


def in_index(name: str, site: Site) -> Operations:
    preset = sound(site, "transformers_sharded")
    path = preset / "model.safetensors.index.json"
    index = json.loads(path.read_bytes())
    shard, *_ = sorted(set(index["weight_map"].values()))
    filled = _filled(name, preset, site)
    for tensor, file in index["weight_map"].items():
        index["weight_map"][tensor] = filled if file == shard else file
    path.write_text(json.dumps(index))
    return reading(preset, site.folder / "target")


def in_index_of_kerashub(name: str, site: Site) -> Operations:
    preset = sound(site, "kerashub_sharded")
    path = preset / "model.weights.json"
    index = json.loads(path.read_bytes())
    key = sorted(index["weight_map"])[0]
    filled = _filled(name, preset, site)
    index["weight_map"][key] = [filled] if isinstance(index["weight_map"][key], list) else filled
    path.write_text(json.dumps(index))
    return reading(preset, site.folder / "target")


def _filled(name: str, preset: Path, site: Site) -> str:
    return name.replace("UP", site.up(site.secret, preset)).replace("SECRET", str(site.secret))


INDEXED = ("UP", "SECRET", "./UP", "a/../UP", "..\\secret.txt", "file://SECRET", "%2e%2e/secret.safetensors", "/UP")
SLIPPED = ("....//secret.safetensors", "model/../../UP", "//SECRET", "~/secret.safetensors", "UP\0.safetensors")


def indexed(names: tuple[str, ...]) -> Iterator[Payload]:
    for name in names:
        yield Payload(f"{name!r} as a shard", partial(in_index, name))
        yield Payload(f"{name!r} as a shard of KerasHub's", partial(in_index_of_kerashub, name), needs=("h5py",))


# === Configs that name classes ===


def with_fields(format: str, fields: Mapping[str, Any], site: Site) -> Operations:
    preset = sound(site, format)
    config = json.loads((preset / "config.json").read_bytes())
    (preset / "config.json").write_text(json.dumps(config | dict(fields)))
    for name in ("modeling_payload.py", "configuration_payload.py", "custom_generate.py", "__init__.py"):
        (preset / name).write_text(f"open({str(site.flag)!r}, 'w')\n" + "try:\n" * 1_000)
    return reading(preset, site.folder / "target")


REMOTE: tuple[dict[str, Any], ...] = (
    {"_attn_implementation_internal": "nowhere/payload"},
    {"_attn_implementation": "nowhere/payload:flash"},
    {"attn_implementation": {"": "nowhere/payload"}},
    {"auto_map": {"AutoConfig": "configuration_payload.C", "AutoModel": "nowhere/payload--modeling_payload.M"}},
    {"trust_remote_code": True, "custom_pipelines": {"x": {"impl": "modeling_payload.P", "pt": ["AutoModel"]}}},
    {"_name_or_path": "http://127.0.0.1:9/payload", "_commit_hash": "../../x"},
    {"experts_implementation": "nowhere/payload", "use_kernels": True},
)
INSTANTIATED: tuple[dict[str, Any], ...] = (
    {"_target_": "os.system", "_args_": ["touch flag"]},
    {"target": "builtins.open", "params": {"file": "flag", "mode": "w"}},
)


def configured(fields: tuple[dict[str, Any], ...], **outcomes: bool) -> Iterator[Payload]:
    """Yields payloads in the fields of configs, for each format, with whether it ignores unknown fields."""
    for format, ignored in outcomes.items():
        for each in fields:
            yield Payload(f"{json.dumps(each)} of {format}", partial(with_fields, format, each), ignored)


def advisories() -> dict[str, list[Payload]]:
    """Returns the payloads by advisory."""
    ignoring = {"transformers": True, "kerashub": True, "native": False}
    links = {"external link": external_link, "relative external link": relative_external_link}
    links |= {"soft link": soft_link, "external storage": external_storage, "virtual dataset": virtual}
    found = {
        "CVE-2026-1669": [*hdf5(**links)],
        "CVE-2026-0897": [*hdf5(petabyte=huge(2**48), matrix=huge(2**24, 2**24), cube=huge(2**20, 2**10, 2**18))],
        "CVE-2025-9905": [*hdf5(whole_model=whole_model)],
        "CVE-2025-23304": [*configured(INSTANTIATED, **ignoring)],
        "CVE-2022-25882": [*indexed(INDEXED)],
        "CVE-2024-27318": [*indexed(SLIPPED)],
        "CVE-2026-4372": [*configured(REMOTE, **ignoring)],
        "CVE-2025-3264": [*configured(({"auto_map": {"AutoModel": "modeling_payload.M"}},), **ignoring)],
    }
    for target in TARGETS:
        found["CVE-2025-23304"] += headers(f"{target[:32]}…", partial(with_metadata, target), ignored=True)
    for shape, end in (([2**20, 2**28], None), ([2**62, 4], None), ([2**24, 2**24], 2**50), ([0, 2**63], 0)):
        found["CVE-2026-0897"] += headers(f"shape {shape}", partial(with_shape, shape, end))
    for name in ("../../flag", "/flag", "a\0b", "..\\flag"):
        found.setdefault("CVE-2026-12479", []).extend(headers(f"{name!r} as a tensor", partial(with_tensor, name)))
    return found
