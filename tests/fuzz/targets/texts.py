"""Texts of users and projects that others may have written: handles, lockfiles and settings."""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path

from fuzz.mutations import of_json, of_lines
from fuzz.target import Read, Target

SHA = "0123456789abcdef" * 4
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@contextlib.contextmanager
def open_handle(folder: Path) -> Iterator[Read]:
    from vertebra import PresetHandle
    from vertebra._resolve.candidates import candidate_handles, is_revision, source_of, unpinned

    def read(data: bytes) -> None:
        text = data.decode("utf-8", "surrogateescape")
        for handle in candidate_handles(text):
            assert PresetHandle.parse(str(handle)) == handle
            source = source_of(handle, text)
            if source.is_remote and source.is_pinned(handle):
                is_revision(handle, unpinned(handle))

    yield read


def handle_seeds() -> list[bytes]:
    texts = ("bert_base_en_uncased", "hf://org/name", f"hf://org/name/folder@{COMMIT}", "s3://bucket/prefix@v1", "./x")
    texts += (
        "kaggle://owner/model/keras/small/1",
        "oci://localhost:5000/a/b:tag",
        "modelscope://a/b@master",
        "file:///x",
    )
    texts += (
        f"oci://r.example/a@sha256:{SHA}",
        "package://vertebra_bert/demo/preset",
        "gs://bucket/a%40b",
        "az://container/prefix",
    )
    return [text.encode() for text in texts]


HANDLE_WORDS = (
    *(
        "hf://",
        "s3://",
        "gs://",
        "az://",
        "kaggle://",
        "oci://",
        "modelscope://",
        "package://",
        "file://",
        "://",
        "@",
        "#",
    ),
    *(
        "..",
        "%2e%2e",
        "%00",
        "%ff",
        "?",
        "//",
        "/./",
        "HF://",
        "https://huggingface.co/",
        "huggingface.co",
        "/resolve/main",
    ),
    *(
        "https://www.kaggle.com/models/",
        "s3.amazonaws.com",
        "https://user:word@host/",
        "sha256:",
        ":5000",
        "[::1]",
        "~",
    ),
)


@contextlib.contextmanager
def open_lockfile(folder: Path) -> Iterator[Read]:
    from vertebra._resolve.lockfile import Lockfile, read_lockfile, write_lockfile

    path, copy = folder / "vertebra.lock", folder / "copy.lock"

    def read(data: bytes) -> None:
        path.write_bytes(data)
        lockfile = read_lockfile(path)
        assert isinstance(lockfile, Lockfile)
        write_lockfile(copy, lockfile)
        assert read_lockfile(copy) == lockfile

    yield read


def lockfile_seeds() -> list[bytes]:
    files = {"config.json": {"size": 12, "sha256": SHA}, "model.safetensors": {"size": 0, "sha256": SHA}}
    preset = {"handle": f"hf://org/name@{COMMIT}", "files": files, "plugins": {"vertebra-bert": "0.1.0"}}
    local = {"handle": None, "files": files}
    document = {"version": 1, "presets": {"hf://org/name": preset, "./local": local}, "plugins": {"vertebra": "0.1.0"}}
    return [json.dumps(document).encode(), json.dumps({"version": 1, "presets": {}, "plugins": {}}).encode()]


@contextlib.contextmanager
def open_settings(folder: Path) -> Iterator[Read]:
    from vertebra._configuration.settings import read_settings

    path = folder / "config.toml"

    def read(data: bytes) -> None:
        path.write_bytes(data)
        read_settings({"VERTEBRA_CONFIG": str(path)}, folder / "none.toml")

    yield read


@contextlib.contextmanager
def open_machine_settings(folder: Path) -> Iterator[Read]:
    from vertebra._configuration.settings import read_settings

    path, empty = folder / "machine.toml", folder / "config.toml"
    empty.touch()

    def read(data: bytes) -> None:
        path.write_bytes(data)
        read_settings({"VERTEBRA_CONFIG": str(empty)}, path)

    yield read


def settings_seeds() -> list[bytes]:
    own = 'runtime = "torch"\nplugins = ["bert", "hf*"]\nblock = []\ncache_tiers = ["/tiers/a"]\noffline = true\n'
    return [own.encode(), b""]


def machine_seeds() -> list[bytes]:
    rules = (
        'lockfile = "vertebra.lock"\n[enforced]\nlocked = true\nrequire_signature = true\nsignature_keys = ["/k.pem"]\n'
    )
    return [*settings_seeds(), rules.encode()]


SETTINGS_WORDS = (
    *("runtime", "plugins", "block", "prefer", "cache", "cache_tiers", "lockfile", "offline", "locked", "[enforced]"),
    *("locked_plugins", "require_signature", "signature_keys", "true", "false", '""', "[]", "1979-05-27", "inf", "= "),
    *('"""', "'''", "\\u0000", "[[enforced]]", "enforced.locked = true", '"\\uD800"', "0x7fffffffffffffffff", "1e400"),
)

TARGETS = [
    Target("handle", open_handle, handle_seeds, of_lines, HANDLE_WORDS),
    Target(
        "lockfile", open_lockfile, lockfile_seeds, of_json, ("version", "presets", "plugins", "handle", "files", SHA)
    ),
    Target("settings", open_settings, settings_seeds, of_lines, SETTINGS_WORDS),
    Target("machine-settings", open_machine_settings, machine_seeds, of_lines, SETTINGS_WORDS),
]
