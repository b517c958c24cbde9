"""Signatures: the file as a stranger may write it, and a statement that a trusted key has signed."""

import base64
import contextlib
import functools
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fuzz.mutations import of_json
from fuzz.target import Read, Target

TYPE = "application/vnd.in-toto+json"
WORDS = (
    *("mediaType", "verificationMaterial", "publicKey", "hint", "rawBytes", "tlogEntries", "dsseEnvelope", "payload"),
    *(
        "payloadType",
        "signatures",
        "sig",
        "keyid",
        "_type",
        "subject",
        "digest",
        "sha256",
        "predicateType",
        "predicate",
    ),
    *("serialization", "method", "files", "shards", "allow_symlinks", "resources", "name", "algorithm", "hash_type"),
    *("x509CertificateChain", "certificates", "certificate", "blake2", TYPE, "0" * 64, "AAAA"),
)


@functools.cache
def key() -> Any:
    """Returns a private key, always the same one."""
    from cryptography.hazmat.primitives.asymmetric import ec

    return ec.derive_private_key(20_261_130, ec.SECP256R1())


def write_keys(folder: Path) -> tuple[Path, Path]:
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

    private, public = folder / "ours.pem", folder / "ours.pub"
    private.write_bytes(key().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    public.write_bytes(key().public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    return private, public


@functools.cache
def signature() -> bytes:
    """Returns the signature of a folder with one file."""
    from vertebra_signing.scheme import ModelSigning

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "config.json")
        path.write_text("{}")
        private, _ = write_keys(Path(folder))
        return ModelSigning().sign({"config.json": path}, "preset", private, [])


def signed(statement: bytes) -> bytes:
    """Returns a signature of another statement by the same key."""
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec

    document = json.loads(signature())
    encoded = b"DSSEv1 %d %s %d %s" % (len(TYPE), TYPE.encode(), len(statement), statement)
    envelope = document["dsseEnvelope"]
    envelope["payload"] = base64.b64encode(statement).decode()
    envelope["signatures"][0]["sig"] = base64.b64encode(key().sign(encoded, ec.ECDSA(hashes.SHA256()))).decode()
    return json.dumps(document).encode()


def opening(is_signed: bool):
    """Returns what opens a target: the input is a signature, or a statement that is signed first."""

    @contextlib.contextmanager
    def opened(folder: Path) -> Iterator[Read]:
        from vertebra_signing.scheme import ModelSigning

        _, public = write_keys(folder)
        scheme, path = ModelSigning(), folder / "model.sig"

        def read(data: bytes) -> None:
            path.write_bytes(signed(data) if is_signed else data)
            scheme.verify(path, [public])

        yield read

    return opened


def statements() -> list[bytes]:
    return [base64.b64decode(json.loads(signature())["dsseEnvelope"]["payload"])]


NEEDS = ("model_signing", "OpenSSL")
TARGETS = [
    Target("signature", opening(False), lambda: [signature(), signed(statements()[0])], of_json, WORDS, NEEDS),
    Target("signed-statement", opening(True), statements, of_json, WORDS, NEEDS),
]
