"""Archives whose members would leave the folder, or would be larger than memory."""

import functools
import io
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from functools import partial

from faults.advisories.objects import reading, sound
from faults.advisories.payload import Operations, Payload, Site

Data = Callable[[Site], bytes]


def tar(site: Site, *members: tuple[str, str | None], mode: str = "w") -> bytes:
    """Returns an archive of files, or links to a target."""
    output = io.BytesIO()
    with tarfile.open(fileobj=output, mode=mode) as archive:  # type: ignore[call-overload]
        for name, target in members:
            member = tarfile.TarInfo(name.replace("FLAG", str(site.flag)).replace("UP", site.up(site.outside)))
            if target is None:
                member.size = 4
            else:
                member.type = tarfile.SYMTYPE
                member.linkname = target.replace("OUTSIDE", str(site.outside)).replace("UP", site.up(site.outside))
            archive.addfile(member, io.BytesIO(b"flag"))
    return output.getvalue()


def parent(site: Site) -> bytes:
    return tar(site, ("../flag", None), ("../../flag", None))


def absolute(site: Site) -> bytes:
    return tar(site, ("FLAG", None))


def over_secret(site: Site) -> bytes:
    return tar(site, ("UP/secret.txt", None), mode="w:gz")


def through_link(site: Site) -> bytes:
    return tar(site, ("link", "OUTSIDE"), ("link/flag", None))


def to_parent(site: Site) -> bytes:
    return tar(site, ("vocab.txt", "UP/secret.txt"))


def zip_slip(site: Site) -> bytes:
    output = io.BytesIO()
    with zipfile.ZipFile(output, "w") as archive:
        for name in ("../flag", "../../flag", str(site.flag), "..\\flag", "config.json"):
            archive.writestr(name, "{}")
    return output.getvalue()


def keras_file(site: Site) -> bytes:
    """Returns a whole model in Keras's format, with names of files that lead out."""
    output = io.BytesIO()
    with zipfile.ZipFile(output, "w") as archive:
        archive.writestr("config.json", "{}")
        archive.writestr("metadata.json", '{"keras_version": "3.13.0"}')
        archive.writestr("assets/../../../flag", "flag")
        archive.writestr(f"{site.up(site.outside)}/secret.txt", "flag")
    return output.getvalue()


# === Where an archive may be ===


def in_preset(name: str, replaced: bool, data: Data, site: Site) -> Operations:
    preset = sound(site, "transformers")
    if replaced:
        (preset / "model.safetensors").write_bytes(data(site))
    else:
        (preset / name).write_bytes(data(site))
    return reading(preset, site.folder / "target")


def as_path(name: str, data: Data, site: Site) -> Operations:
    from vertebra._lora.files.describe import describe_adapter
    from vertebra._presets.inspect import inspect_preset

    path = site.folder / name
    path.write_bytes(data(site))
    return partial(inspect_preset, str(path)), partial(describe_adapter, path)


def archives(name: str, *contents: Data) -> Iterator[Payload]:
    """Yields payloads: in a preset, under the name of its weights, and as the path of a preset and an adapter."""
    for data in contents:
        yield Payload(f"{name}, {data.__name__}", partial(in_preset, name, False, data), ignored=True)
        yield Payload(f"{name}, {data.__name__}, as safetensors", partial(in_preset, name, True, data))
        yield Payload(f"{name}, {data.__name__}, as a path", partial(as_path, name, data), keras=False)


# === Directories that look like a checkpoint ===


def like_orbax(key: str, site: Site) -> Operations:
    """Writes the marker files of a checkpoint whose tree of assets leads out."""
    preset = sound(site, "transformers")
    for name in ("_CHECKPOINT_METADATA", "_METADATA", "checkpoint"):
        (preset / name).write_text(f'{{"tree_metadata": {{"assets": {{"{key}": "flag"}}}}}}')
    (preset / "pytree").mkdir()
    return reading(preset, site.folder / "target")


# === Archives that are larger than they look ===

MEMBER = 2**28
"""More than may be taken."""


@functools.cache
def bomb() -> bytes:
    """Returns a pickle of torch in an archive, whose storage is zeros."""
    output = io.BytesIO()
    with zipfile.ZipFile(output, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02}.")
        archive.writestr("archive/version", b"3\n")
        with archive.open("archive/data/0", "w", force_zip64=True) as member:
            for _ in range(MEMBER >> 24):
                member.write(bytes(2**24))
    return output.getvalue()


@functools.cache
def gzip_bomb() -> bytes:
    packer = zlib.compressobj(1, zlib.DEFLATED, 31)
    return b"".join([*(packer.compress(bytes(2**24)) for _ in range(MEMBER >> 24)), packer.flush()])


def converted(site: Site) -> Operations:
    from vertebra._presets.convert import convert_preset

    preset = sound(site, "transformers")
    (preset / "model.safetensors").unlink()
    (preset / "pytorch_model.bin").write_bytes(bomb())
    return [partial(convert_preset, preset, site.folder / "target", "native")]


def configured(file: str, site: Site) -> Operations:
    """Puts an archive under the name of a file of JSON."""
    preset = sound(site, "transformers")
    (preset / file).write_bytes(gzip_bomb())
    return reading(preset, site.folder / "target")


def advisories() -> dict[str, list[Payload]]:
    """Returns the payloads by advisory."""
    return {
        "CVE-2007-4559": [*archives("preset.tar", parent, absolute, through_link, to_parent)],
        "CVE-2025-12060": [*archives("assets.tar.gz", parent, over_secret, through_link)],
        "CVE-2024-55459": [*archives("preset.tar.gz", over_secret, absolute)],
        "CVE-2024-5187": [*archives("test_data.tar", parent, over_secret)],
        "GHSA-hqp4-2352-xf5r": [*archives("model.keras", keras_file, zip_slip), *archives("preset.zip", zip_slip)],
        "KERAS-MFV-001": [
            Payload(f"{key!r} as an asset", partial(like_orbax, key), ignored=True)
            for key in ("../flag", "../../flag", "/flag", "a/../../flag")
        ],
        "CVE-2019-9674": [
            Payload("pytorch_model.bin, zip", converted),
            Payload("config.json, gzip", partial(configured, "config.json")),
            Payload("model.safetensors, gzip", partial(configured, "model.safetensors")),
        ],
    }
