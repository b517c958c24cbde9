"""Signatures of the real library: whose key made them, what they cover, and errors in Vertebra's words."""

import base64
import hashlib
import json
import os
import subprocess
import sys

import pytest

from vertebra.errors import SignatureError
from vertebra_signing.scheme import PASSWORD, ModelSigning

SCHEME = ModelSigning()


@pytest.fixture
def files(preset):
    return {path.relative_to(preset).as_posix(): path for path in preset.rglob("*") if path.is_file()}


@pytest.fixture
def signature(files, keys, tmp_path):
    path = tmp_path / "signature"
    path.write_bytes(SCHEME.sign(files, "preset", keys / "ours.pem", ()))
    return path


def digests(files):
    return {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in files.items()}


def test_the_signed_digests_are_those_of_the_files(files, signature, keys):
    assert SCHEME.verify(signature, [keys / "ours.pub"]) == digests(files)
    assert SCHEME.verify(signature, [keys / "other.pub", keys / "ours.pub"]) == digests(files)


def test_a_signature_by_another_key_is_refused(signature, keys):
    with pytest.raises(SignatureError, match=r"none of the trusted keys verifies it .*other\.pub"):
        SCHEME.verify(signature, [keys / "other.pub"])


def test_each_supported_curve_signs(files, keys, tmp_path):
    (tmp_path / "s").write_bytes(SCHEME.sign(files, "preset", keys / "other.pem", ()))
    assert SCHEME.verify(tmp_path / "s", [keys / "other.pub"]) == digests(files)
    with pytest.raises(SignatureError, match="P-256, P-384 or P-521"):
        SCHEME.sign(files, "preset", keys / "koblitz.pem", ())


def test_the_password_of_a_key_is_in_a_variable(files, keys, tmp_path, monkeypatch):
    with pytest.raises(SignatureError, match=f"its password is not the one in {PASSWORD}"):
        SCHEME.sign(files, "preset", keys / "locked.pem", ())
    monkeypatch.setenv(PASSWORD, "wrong")
    with pytest.raises(SignatureError, match="assword"):
        SCHEME.sign(files, "preset", keys / "locked.pem", ())
    monkeypatch.setenv(PASSWORD, "secret")
    (tmp_path / "s").write_bytes(SCHEME.sign(files, "preset", keys / "locked.pem", ()))
    assert SCHEME.verify(tmp_path / "s", [keys / "locked.pub"]) == digests(files)


@pytest.mark.parametrize("content", [b"", b"nothing", b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"])
def test_files_that_are_no_keys_are_named(files, signature, tmp_path, content):
    (tmp_path / "bad").write_bytes(content)
    with pytest.raises(SignatureError, match=r"bad': it is no key"):
        SCHEME.verify(signature, [tmp_path / "bad"])
    with pytest.raises(SignatureError, match=r"bad': it cannot sign"):
        SCHEME.sign(files, "preset", tmp_path / "bad", ())
    with pytest.raises(SignatureError, match=r"gone': the file cannot be read"):
        SCHEME.verify(signature, [tmp_path / "gone"])


def payload_changed(signature, change):
    """Rewrites the signed statement, as an attacker without the key would."""
    data = json.loads(signature.read_text())
    statement = json.loads(base64.b64decode(data["dsseEnvelope"]["payload"]))
    change(statement)
    data["dsseEnvelope"]["payload"] = base64.b64encode(json.dumps(statement).encode()).decode()
    signature.write_text(json.dumps(data))


@pytest.mark.parametrize(
    "change",
    [
        lambda statement: statement["predicate"]["resources"].pop(),
        lambda statement: statement["predicate"]["resources"][0].update(digest="0" * 64),
        lambda statement: statement["subject"][0].update(name="other"),
    ],
)
def test_a_changed_statement_is_refused(signature, keys, change):
    payload_changed(signature, change)
    with pytest.raises(SignatureError, match="it was changed after it was made"):
        SCHEME.verify(signature, [keys / "ours.pub"])


@pytest.mark.parametrize(
    "content",
    [b"", b"{}", b"[]", b"null", b"\xff\xfe", b'{"mediaType": 1}', b'{"a":' * 50_000, b'{"verificationMaterial": {}}'],
)
def test_hostile_signatures_are_refused(keys, tmp_path, content):
    (tmp_path / "s").write_bytes(content)
    with pytest.raises(SignatureError, match="none of the trusted keys verifies it"):
        SCHEME.verify(tmp_path / "s", [keys / "ours.pub"])


# === Certificates ===


def test_a_certificate_of_a_trusted_root_signs(files, certificates, tmp_path):
    chain = [certificates / "leaf.crt", certificates / "root.crt"]
    (tmp_path / "s").write_bytes(SCHEME.sign(files, "preset", certificates / "leaf.pem", chain))
    assert SCHEME.verify(tmp_path / "s", [certificates / "root.crt"]) == digests(files)
    with pytest.raises(SignatureError, match=r"stranger\.crt"):
        SCHEME.verify(tmp_path / "s", [certificates / "stranger.crt"])


def test_a_key_signature_is_not_one_by_a_certificate(signature, certificates, files, keys, tmp_path):
    with pytest.raises(SignatureError):
        SCHEME.verify(signature, [certificates / "root.crt"])
    (tmp_path / "s").write_bytes(SCHEME.sign(files, "p", certificates / "leaf.pem", [certificates / "leaf.crt"]))
    with pytest.raises(SignatureError):
        SCHEME.verify(tmp_path / "s", [keys / "ours.pub"])


def test_the_certificate_must_be_that_of_the_key(files, keys, certificates):
    with pytest.raises(SignatureError, match="not the key of the certificate"):
        SCHEME.sign(files, "preset", keys / "ours.pem", [certificates / "leaf.crt"])


@pytest.mark.filterwarnings("ignore:The 'warn' method is deprecated")  # the library calls it
def test_a_certificate_that_is_not_for_signatures_is_refused(files, preset, certificates, tmp_path, capfd):
    """The library signs with it, and then accepts no such signature."""
    with pytest.raises(SignatureError, match=r"unfit\.crt': the certificate is not for signatures: its key usage"):
        SCHEME.sign(files, "preset", certificates / "leaf.pem", [certificates / "unfit.crt"])
    import model_signing

    paths = {"signing_certificate": certificates / "unfit.crt", "certificate_chain": [certificates / "root.crt"]}
    signer = model_signing.signing.Config().use_certificate_signer(private_key=certificates / "leaf.pem", **paths)
    signer.sign(preset, tmp_path / "s")
    with pytest.raises(SignatureError, match="its certificate is not for signatures: its key usage must have"):
        SCHEME.verify(tmp_path / "s", [certificates / "root.crt"])
    assert capfd.readouterr().err == ""


def test_a_key_with_a_password_cannot_have_certificates(files, certificates, monkeypatch):
    monkeypatch.setenv(PASSWORD, "secret")
    with pytest.raises(SignatureError, match=r"locked\.pem': it has a password, .* openssl ec -in KEY"):
        SCHEME.sign(files, "preset", certificates / "locked.pem", [certificates / "leaf.crt"])


def test_roots_in_files_without_a_last_line_end(files, certificates, tmp_path):
    (tmp_path / "s").write_bytes(SCHEME.sign(files, "p", certificates / "leaf.pem", [certificates / "leaf.crt"]))
    for name in ("root", "stranger"):
        (tmp_path / f"{name}.crt").write_bytes((certificates / f"{name}.crt").read_bytes().strip())
    assert SCHEME.verify(tmp_path / "s", [tmp_path / "stranger.crt", tmp_path / "root.crt"]) == digests(files)


# === Output ===


def test_verifying_does_not_divert_the_output_of_other_threads(signature, keys, monkeypatch):
    before, seen = sys.stdout, []
    original = ModelSigning.verify.__globals__["_Recorded"].__eq__

    def watching(self, other):
        seen.append(sys.stdout is before)
        return original(self, other)

    monkeypatch.setattr("vertebra_signing.scheme._Recorded.__eq__", watching)
    assert SCHEME.verify(signature, [keys / "ours.pub"])
    assert seen == [True]


def test_the_library_s_warning_about_old_signatures_is_not_printed(signature, keys, files, capsys):
    data = json.loads(signature.read_text())
    del data["verificationMaterial"]["publicKey"]["hint"]
    signature.write_text(json.dumps(data))
    assert SCHEME.verify(signature, [keys / "ours.pub"]) == digests(files)
    assert capsys.readouterr().out == ""


# === The library's own command ===


def command(*words):
    code = "import sys; from model_signing._cli import main; sys.exit(main())"
    return subprocess.run([sys.executable, "-c", code, *map(str, words)], capture_output=True, text=True, timeout=120)


def test_the_library_s_command_verifies_our_signatures_and_we_verify_its(files, preset, signature, keys, tmp_path):
    (preset / "model.sig").write_bytes(signature.read_bytes())
    options = ("--signature", preset / "model.sig", "--public_key", keys / "ours.pub")
    assert command("verify", "key", preset, *options).returncode == 0
    (preset / "model.sig").unlink()
    signed = command("sign", "key", preset, "--signature", tmp_path / "own.sig", "--private_key", keys / "ours.pem")
    assert signed.returncode == 0, signed.stderr
    assert SCHEME.verify(tmp_path / "own.sig", [keys / "ours.pub"]) == digests(files)


def test_signatures_of_parts_or_by_other_hashes_are_refused(preset, keys, tmp_path):
    import model_signing

    hashing = model_signing.hashing.Config().use_file_serialization(hashing_algorithm="blake2")
    signer = model_signing.signing.Config().use_elliptic_key_signer(private_key=keys / "ours.pem")
    signer.set_hashing_config(hashing).sign(preset, tmp_path / "s")
    with pytest.raises(SignatureError, match="not of whole files by SHA-256"):
        SCHEME.verify(tmp_path / "s", [keys / "ours.pub"])
    hashing = model_signing.hashing.Config().use_shard_serialization(shard_size=100)
    signer.set_hashing_config(hashing).sign(preset, tmp_path / "s")
    with pytest.raises(SignatureError, match="it has digests of shards"):
        SCHEME.verify(tmp_path / "s", [keys / "ours.pub"])


def test_the_plugin_imports_no_library_until_it_is_used():
    code = (
        "import sys, vertebra_signing.scheme; print({'model_signing', 'sigstore', 'cryptography'} & set(sys.modules))"
    )
    environment = {name: value for name, value in os.environ.items() if name != "COVERAGE_PROCESS_START"}
    assert subprocess.check_output([sys.executable, "-c", code], text=True, env=environment).strip() == "set()"
