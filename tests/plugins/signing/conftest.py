"""Keys and certificates that were made for these tests, and a preset in a folder."""

import datetime
import shutil
from pathlib import Path

import pytest

GOLDEN = Path(__file__).parents[2] / "golden" / "bert"


@pytest.fixture(scope="session")
def keys(tmp_path_factory):
    """A folder with key pairs `ours` and `other`, `locked` with the password `secret`, and one on another curve."""
    pytest.importorskip("model_signing")
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, NoEncryption

    folder = tmp_path_factory.mktemp("keys")
    for name, curve in {
        "ours": ec.SECP256R1,
        "other": ec.SECP384R1,
        "locked": ec.SECP256R1,
        "koblitz": ec.SECP256K1,
    }.items():
        way = BestAvailableEncryption(b"secret") if name == "locked" else NoEncryption()
        write_pair(folder, name, ec.generate_private_key(curve()), way)
    return folder


def write_pair(folder, name, key, way):
    from cryptography.hazmat.primitives.serialization import Encoding, PrivateFormat, PublicFormat

    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, way)
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (folder / f"{name}.pem").write_bytes(private)
    (folder / f"{name}.pub").write_bytes(public)


@pytest.fixture(scope="session")
def certificates(tmp_path_factory):
    """A folder with a root, `root.crt`, another root, `stranger.crt`, and `leaf.pem` with `leaf.crt` of the first.

    `unfit.crt` is for the same key, and not for signatures; `locked.pem` is that key with the password `secret`.
    """
    pytest.importorskip("model_signing")
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption

    folder, now = tmp_path_factory.mktemp("certificates"), datetime.datetime.now(datetime.UTC)

    def certify(name, key, issuer, issuer_key, is_root, signs=True):
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        usage = dict.fromkeys(("content_commitment", "key_encipherment", "data_encipherment"), False)
        usage |= dict.fromkeys(("key_agreement", "encipher_only", "decipher_only"), False)
        usage |= {"digital_signature": signs and not is_root, "key_cert_sign": is_root, "crl_sign": is_root}
        usage["key_agreement"] = not signs
        certificate = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer or subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=30))
            .add_extension(x509.BasicConstraints(ca=is_root, path_length=None), critical=True)
            .add_extension(x509.KeyUsage(**usage), critical=True)
            .sign(issuer_key, hashes.SHA256())
        )
        (folder / f"{name}.crt").write_bytes(certificate.public_bytes(Encoding.PEM))
        return subject

    root_key, stranger_key, leaf_key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(3))
    root = certify("root", root_key, None, root_key, True)
    certify("stranger", stranger_key, None, stranger_key, True)
    certify("leaf", leaf_key, root, root_key, False)
    certify("unfit", leaf_key, root, root_key, False, signs=False)
    write_pair(folder, "leaf", leaf_key, NoEncryption())
    write_pair(folder, "locked", leaf_key, BestAvailableEncryption(b"secret"))
    return folder


@pytest.fixture
def preset(tmp_path):
    """A folder with a preset and its card, so that publishing adds no file but the signature."""
    folder = shutil.copytree(GOLDEN / "transformers", tmp_path / "preset")
    (folder / "README.md").write_text("# Ours\n")
    (folder / "more").mkdir()
    (folder / "more" / "file.txt").write_text("more")
    return folder
