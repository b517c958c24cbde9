"""The suite for signatures: subclass `SignatureSuite`, and define the fixtures `scheme`, `key` and `public_key`.

class TestMySignatures(SignatureSuite):
    @pytest.fixture
    def scheme(self):
        (scheme,) = my_plugin.vertebra_signatures()
        return scheme
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from vertebra.errors import SignatureError
from vertebra.interfaces import SignatureScheme
from vertebra.testing.plugins import PluginSuite, entry_module_of
from vertebra.testing.rules import rule

_FILES = {
    "config.json": b"{}",
    "weights/model.safetensors": bytes(range(256)) * 40,
    "a name.txt": "é".encode(),
    "empty": b"",
}
_HOSTILE = (b"", b"{}", b"[]", b"null", b"\xff\xfe\x00", b'{"a":' * 50_000)

_CHANGES = 300
"""About how many bytes of a signature are changed, one at a time."""


class SignatureSuite(PluginSuite):
    """Tests of signatures. Give the subclass a name that pytest collects, and define the fixtures."""

    @pytest.fixture
    def scheme(self) -> SignatureScheme:
        """The scheme, as the plugin contributes it."""
        raise NotImplementedError

    @pytest.fixture
    def key(self) -> Path:
        """A file with a private key."""
        raise NotImplementedError

    @pytest.fixture
    def public_key(self) -> Path:
        """The file with its public key, or with the certificate of its root."""
        raise NotImplementedError

    @pytest.fixture
    def other_key(self) -> Path:
        """The file with the public key of another private key."""
        raise NotImplementedError

    @pytest.fixture
    def entry_module(self, scheme: SignatureScheme, tested_modules: set[str]) -> str:
        """Name of the module that contributes the scheme."""
        return entry_module_of("vertebra_signatures", scheme.name, tested_modules)

    @pytest.fixture
    def files(self, tmp_path: Path) -> dict[str, Path]:
        """Files to sign, by name; the core passes files of the cache, whose own names are hashes."""
        paths = {name: tmp_path / "blobs" / str(number) for number, name in enumerate(_FILES)}
        (tmp_path / "blobs").mkdir()
        for name, path in paths.items():
            path.write_bytes(_FILES[name])
        return paths

    @pytest.fixture
    def signature(self, scheme: SignatureScheme, files: dict[str, Path], key: Path, tmp_path: Path) -> Path:
        """The signature of the files."""
        path = tmp_path / "model.sig"
        path.write_bytes(scheme.sign(files, "preset", key, ()))
        return path

    @rule("SG-01")
    def test_all_files_are_signed_under_their_names(
        self, scheme: SignatureScheme, signature: Path, public_key: Path, other_key: Path
    ) -> None:
        """Verifying returns the SHA-256 of each file by its name, if one of the keys is the right one."""
        expected = {name: hashlib.sha256(content).hexdigest() for name, content in _FILES.items()}
        assert dict(scheme.verify(signature, [public_key])) == expected
        assert dict(scheme.verify(signature, [other_key, public_key])) == expected

    @rule("SG-02")
    def test_another_key_is_refused(self, scheme: SignatureScheme, signature: Path, other_key: Path) -> None:
        """A signature by none of the keys is a SignatureError."""
        with pytest.raises(SignatureError):
            scheme.verify(signature, [other_key])

    @rule("SG-03")
    def test_a_damaged_signature_is_refused(self, scheme: SignatureScheme, signature: Path, public_key: Path) -> None:
        """A damaged signature, or a file of any other kind, is a SignatureError."""
        whole = signature.read_bytes()
        cut = [whole[: len(whole) * part // 10] for part in range(1, 10)]
        for content in (*_HOSTILE, *cut, whole.swapcase()):
            signature.write_bytes(content)
            with pytest.raises(SignatureError):
                scheme.verify(signature, [public_key])

    @rule("SG-04")
    def test_a_file_that_is_no_key_is_named(
        self, scheme: SignatureScheme, signature: Path, files: dict[str, Path], tmp_path: Path
    ) -> None:
        """A key that is missing, or is none, is a SignatureError that names the file."""
        (tmp_path / "no-key").write_text("nothing")
        for path in (tmp_path / "no-key", tmp_path / "missing-key"):
            with pytest.raises(SignatureError, match=path.name):
                scheme.verify(signature, [path])
            with pytest.raises(SignatureError, match=path.name):
                scheme.sign(files, "preset", path, ())

    @rule("SG-05")
    def test_nothing_else_is_written(
        self,
        scheme: SignatureScheme,
        files: dict[str, Path],
        key: Path,
        public_key: Path,
        tmp_path: Path,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        """Signing and verifying change no file, and print nothing."""
        before = _contents(tmp_path)
        content = scheme.sign(files, "preset", key, ())
        assert _contents(tmp_path) == before
        signature = tmp_path / "model.sig"
        signature.write_bytes(content)
        scheme.verify(signature, [public_key])
        assert _contents(tmp_path) == before | {signature: content}
        assert tuple(capsys.readouterr()) == ("", "")

    @rule("SG-06")
    def test_no_byte_can_be_changed(self, scheme: SignatureScheme, signature: Path, public_key: Path) -> None:
        """After a change of any byte, verifying returns the digests of the signed files, or is a SignatureError."""
        whole = signature.read_bytes()
        expected = {name: hashlib.sha256(content).hexdigest() for name, content in _FILES.items()}
        for position in range(0, len(whole), max(1, len(whole) // _CHANGES)):
            changed = bytearray(whole)
            changed[position] ^= 1
            signature.write_bytes(changed)
            try:
                found = dict(scheme.verify(signature, [public_key]))
            except SignatureError:
                continue
            assert found == expected, f"byte {position} of {len(whole)}"


def _contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
