"""Signs files and verifies signatures with the library `model-signing`, which is imported when it is used."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vertebra import SignatureScheme, errors

PASSWORD = "VERTEBRA_SIGNING_PASSWORD"  # noqa: S105 (the name of a variable)
"""The variable with the password of a private key."""
_CERTIFICATE = b"-----BEGIN CERTIFICATE-----"
_ALGORITHM = "sha256"
_NEW_KEY = (
    "Make one with: openssl ecparam -name prime256v1 -genkey -noout -out key.pem, and its public key with: "
    "openssl ec -in key.pem -pubout -out public.pem"
)
_RESIGN = "Fetch the preset again, or ask its publisher for a valid signature"
_MAY_SIGN = "its key usage must have digitalSignature, or its extended key usage codeSigning"
_SILENT = logging.NullHandler()
"""Keeps messages of the library, which an error repeats, out of stderr, unless the program has a handler of its own."""
_INSTALL = "Install it again with: pip install --force-reinstall vertebra-signing"


class ModelSigning(SignatureScheme):
    """Signatures in the format of OpenSSF Model Signing, made and verified with keys in files."""

    name = "model-signing"

    def sign(self, files: Mapping[str, Path], name: str, key: Path, certificates: Sequence[Path]) -> bytes:
        library = _library()
        with tempfile.TemporaryDirectory(prefix="vertebra-signing-") as folder:
            model, signature = Path(folder, "files", name), Path(folder, "signature")
            _link(files, model)
            hashing = library.hashing.Config().use_file_serialization(hashing_algorithm=_ALGORITHM)
            signer = _signer(library, key, certificates).set_hashing_config(hashing.set_allow_symlinks(True))
            signer.sign(model, signature)
            return signature.read_bytes()

    def verify(self, signature: Path, keys: Sequence[Path]) -> Mapping[str, str]:
        library, problems = _library(), []
        for verifier, name in _verifiers(library, keys):
            try:
                return _signed_digests(library, verifier, signature)
            except errors.SignatureError:
                raise
            except Exception as error:  # the library raises many kinds for a signature of any origin
                problems.append(f"{name}: {_why_refused(error)}")
        raise errors.SignatureError(signature, f"none of the trusted keys verifies it ({'; '.join(problems)})", _RESIGN)


def _library() -> Any:
    try:
        import model_signing
    except ImportError as error:  # of a library that it needs, such as pyOpenSSL
        problem = f"the library for signatures cannot be imported, because it needs {error.name}"
        raise errors.SignatureError("model-signing", problem, _INSTALL) from error
    logging.getLogger(model_signing.__name__).addHandler(_SILENT)
    return model_signing


def _link(files: Mapping[str, Path], model: Path) -> None:
    """Makes a folder with links to files, under the names that the signature states."""
    model.mkdir(parents=True)
    for name, path in files.items():
        (model / name).parent.mkdir(parents=True, exist_ok=True)
        (model / name).symlink_to(path.absolute())


# === Signing ===


def _signer(library: Any, key: Path, certificates: Sequence[Path]) -> Any:
    """Returns the library's signer.

    Raises:
        SignatureError: the key or a certificate cannot be used.
    """
    _check_readable(key, *certificates)
    config = library.signing.Config()
    password = os.environ.get(PASSWORD)
    try:
        if not certificates:
            # The library declares the password as a text, but its own library takes bytes only.
            return config.use_elliptic_key_signer(private_key=key, password=password.encode() if password else None)
        first, *chain = certificates
        # Without further certificates, the library fails; the first one may be repeated.
        signer = config.use_certificate_signer(
            private_key=key, signing_certificate=first, certificate_chain=chain or [first]
        )
        may_sign = _may_sign(first)
    except Exception as error:  # the library raises many kinds
        raise errors.SignatureError(key, *_why_not(str(error), bool(certificates))) from error
    if not may_sign:
        raise errors.SignatureError(first, f"the certificate is not for signatures: {_MAY_SIGN}", "Use another one")
    return signer


def _may_sign(certificate: Path) -> bool:
    """Returns whether the library accepts signatures by the key of a certificate: it signs with any certificate."""
    from cryptography import x509

    extensions = x509.load_pem_x509_certificate(certificate.read_bytes()).extensions
    with contextlib.suppress(x509.ExtensionNotFound):
        if extensions.get_extension_for_class(x509.KeyUsage).value.digital_signature:
            return True
    with contextlib.suppress(x509.ExtensionNotFound):
        uses = extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        return x509.oid.ExtendedKeyUsageOID.CODE_SIGNING in uses
    return False


def _why_not(text: str, certified: bool) -> tuple[str, str]:
    """Returns why a key cannot sign, by the text of the library's error, and the remedy."""
    if certified and "assword" in text:
        problem = "it has a password, and with certificates the library reads keys without one only"
        return problem, "Remove it from a copy with: openssl ec -in KEY -out COPY"
    if "assword" in text:
        problem = f"its password is not the one in {PASSWORD}, or that variable is set and the key has none"
        return problem, "Correct the variable, or unset it"
    if certified and "does not match" in text:
        problem = "it is not the key of the certificate: the first one must be that of the key"
        return problem, "Correct the order of the certificates, or the key"
    others = ", with certificates in PEM" if certified else ""
    return f"it cannot sign: expected a private key on the curve P-256, P-384 or P-521, in PEM{others}", _NEW_KEY


def _check_readable(*paths: Path) -> None:
    for path in paths:
        try:
            path.open("rb").close()
        except OSError as error:
            raise errors.SignatureError(
                path, f"the file cannot be read ({error.strerror})", "Check the path"
            ) from error


# === Verifying ===


def _verifiers(library: Any, keys: Sequence[Path]) -> list[tuple[Any, str]]:
    """Returns the library's verifier of each public key, and one of all certificates, each with a name for messages.

    Raises:
        SignatureError: a file holds neither a public key nor a certificate.
    """
    _check_readable(*keys)
    roots = [key for key in keys if _CERTIFICATE in key.read_bytes()]
    verifiers = [(_verifier(library, key), str(key)) for key in keys if key not in roots]
    if roots:  # without any, the library would trust the certificates of the operating system
        verifiers.append((_chain_verifier(library, roots), ", ".join(map(str, roots))))
    return verifiers


def _verifier(library: Any, key: Path) -> Any:
    try:
        return library.verifying.Config().use_elliptic_key_verifier(public_key=key)
    except Exception as error:
        problem = "it is no key that can be trusted: expected a public key on the curve P-256, P-384 or P-521, or a "
        problem += "certificate, in PEM"
        raise errors.SignatureError(key, problem, _NEW_KEY) from error


def _chain_verifier(library: Any, roots: Sequence[Path]) -> Any:
    try:
        return library.verifying.Config().use_certificate_verifier(certificate_chain=roots)
    except Exception as error:
        names = ", ".join(map(str, roots))
        raise errors.SignatureError(names, "not all of these are certificates, in PEM", "Correct the files") from error


def _signed_digests(library: Any, verifier: Any, signature: Path) -> dict[str, str]:
    """Returns the digests in a signature that a verifier accepts; hashes no file.

    The library compares the signed digests, once it has verified them, with those that a configuration of hashing
    reports; this one records them, so that the core can compare each file when it is read.
    """

    class Recorder(library.hashing.Config):  # type: ignore[misc]
        def hash(self, model_path: Any, *, files_to_hash: Any = None) -> Any:
            return recorded

    recorded = _Recorded()
    with _without_warning(signature):
        verifier.set_hashing_config(Recorder()).verify(signature.parent, signature)
    if recorded.manifest is None:
        raise TypeError("the library has verified nothing")
    digests: dict[str, str] = {}
    method = recorded.manifest.serialization_type.get("method")
    for file in recorded.manifest.resource_descriptors():
        if file.digest.algorithm != _ALGORITHM or method != "files":
            problem = f"it has digests of {method} by {file.digest.algorithm}, and not of whole files by SHA-256"
            raise errors.SignatureError(signature, problem, "Sign the preset with: vertebra push DIR URI --sign KEY")
        digests[file.identifier] = file.digest.digest_hex
    return digests


def _without_warning(signature: Path) -> contextlib.AbstractContextManager[Any]:
    """Keeps a warning that the library prints out of the output of a command.

    It prints one for a signature without a hint at the key, as its older releases made them. For all others, the output
    of other threads is not diverted.
    """
    is_old = b'"hint"' not in signature.read_bytes()
    return contextlib.redirect_stdout(io.StringIO()) if is_old else contextlib.nullcontext()


class _Recorded:
    """Takes the place of a manifest in a comparison, and records the other side."""

    manifest: Any = None

    def __eq__(self, other: object) -> bool:
        self.manifest = other
        return True

    def __ne__(self, other: object) -> bool:
        return not self == other

    __hash__ = None  # type: ignore[assignment]


def _why_refused(error: Exception) -> str:
    """Returns why the library refuses a signature."""
    kind = type(error).__name__
    if kind == "InvalidSignature":
        return "it was changed after it was made, or was made with another key"
    if kind == "X509StoreContextError":
        return "its certificate does not lead to one of these"
    if str(error).startswith("Key mismatch"):
        return "it was made with another key"
    if "cannot be used for signing" in str(error):
        return f"its certificate is not for signatures: {_MAY_SIGN}"
    return "it is not a signature of OpenSSF Model Signing, or not by this kind of key"
