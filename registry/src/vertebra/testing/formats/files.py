"""The suite that every format of single files must pass.

class TestMyFormat(FileFormatSuite):
    @pytest.fixture
    def format(self):
        (format,) = my_plugin.vertebra_formats()
        return format

    @pytest.fixture
    def file(self, tmp_path):
        return write_a_small_one(tmp_path / "model.suffix")
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

import pytest

import vertebra
from vertebra._discovery.checks import check_format
from vertebra._weights.single_file import MappedSingleFile, SingleFileKind
from vertebra._weights.tensor_entry import numpy_dtype
from vertebra.errors import PluginError, VertebraError
from vertebra.interfaces import FileFormat
from vertebra.specs import FileHeader
from vertebra.testing.backbones.comparing import computed
from vertebra.testing.plugins import PluginSuite, entry_module_of
from vertebra.testing.rules import rule

_CHANGES = 200
"""Damaged files that are read."""
_FIRST = 8
"""Bytes of a remote file that are read first."""


class FileFormatSuite(PluginSuite):
    """Tests of a format of single files. Give the subclass a name that pytest collects, and define the fixtures."""

    # === Fixtures ===

    @pytest.fixture
    def format(self) -> FileFormat:
        """The format, as the plugin contributes it."""
        raise NotImplementedError

    @pytest.fixture
    def file(self, tmp_path: Path) -> Path:
        """A sound file of at most a few MB, of an architecture that is installed."""
        raise NotImplementedError

    @pytest.fixture
    def entry_module(self, format: FileFormat, tested_modules: set[str]) -> str:
        """Name of the module that contributes the format."""
        return entry_module_of("vertebra_formats", format.name, tested_modules)

    @pytest.fixture
    def light_references(self, format: FileFormat) -> Sequence[str]:
        """The class of the format."""
        return [f"{type(format).__module__}:{type(format).__name__}"]

    @pytest.fixture
    def kind(self, format: FileFormat, file: Path) -> SingleFileKind:
        """The kind of the file."""
        return SingleFileKind(format, "the plugin", file.name)

    # === Rules ===

    @rule("FF-01")
    def test_its_name_can_be_a_folder(self, format: FileFormat) -> None:
        """The name has lower-case letters, digits, `-` and `_`, and the suffix is a dot and letters or digits."""
        check_format("the plugin", format)

    @rule("FF-02")
    def test_a_header_is_read_without_the_tensors(self, format: FileFormat, file: Path) -> None:
        """`header_end` asks for the bytes that `header` reads, in a few steps, and never for all of a long file."""
        data = file.read_bytes()
        end, asked = _FIRST, 0
        while (wanted := min(format.header_end(data[:end]), len(data))) > end:
            end, asked = wanted, asked + 1
        assert asked <= 20
        stub = bytearray(data[:end] + bytes(len(data) - end))
        with memoryview(data) as whole, memoryview(stub) as first:
            expected: FileHeader = format.header(file, whole)
            assert format.header(file, first) == expected
        longer = data + bytes(2**26)
        assert format.header_end(longer[: 2**17]) < len(longer), "it asks for bytes after the header"

    @rule("FF-03")
    def test_damaged_files_are_refused(self, kind: SingleFileKind, file: Path) -> None:
        """A file that is cut short, or whose bytes were changed, is read or refused with an error of Vertebra."""
        data, damaged, source = file.read_bytes(), file.with_name(f"damaged{file.name}"), random.Random(0)
        for _ in range(_CHANGES):
            damaged.write_bytes(_damaged(data, source))
            try:
                mapped = MappedSingleFile(damaged, kind)
                for name in mapped.header.entries:
                    mapped.view(name)
            except PluginError:
                raise
            except VertebraError:
                continue

    @rule("FF-04")
    def test_tensors_are_as_described(self, kind: SingleFileKind, file: Path) -> None:
        """Each tensor lies in the file, and its values have the dtype and the shape that `header` describes."""
        mapped = MappedSingleFile(file, kind)
        assert mapped.header.entries
        for name, entry in mapped.header.entries.items():
            array = mapped.view(name)
            assert (array.dtype, array.shape) == (numpy_dtype(entry.dtype), entry.shape)
            assert array.flags.writeable

    @rule("FF-05")
    def test_a_file_loads(self, file: Path) -> None:
        """A file loads as a backbone, which computes."""
        backbone = vertebra.Backbone.from_preset(file)
        assert computed(backbone, backbone.sample_inputs())


def _damaged(data: bytes, source: random.Random) -> bytes:
    """Returns a file with a few other bytes, most of them in its first part, or cut short."""
    changed = bytearray(data)
    for _ in range(source.randint(1, 4)):
        first = source.randrange(min(len(changed), 2**12) if source.random() < 0.9 else len(changed))
        value = source.choice((0, 1, 255, source.randrange(256)))
        changed[first : first + source.choice((1, 1, 8))] = bytes([value]) * source.choice((1, 1, 8))
    return bytes(changed[: source.randrange(len(changed))] if source.random() < 0.2 else changed)
