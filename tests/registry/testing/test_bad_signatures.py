"""The suite for signatures notices a scheme that verifies nothing."""

import hashlib
import hmac
import json

import pytest

from vertebra.errors import SignatureError
from vertebra.testing import SignatureSuite


class Keyed:
    """Signs with a secret, in place of a pair of keys."""

    def sign(self, files, name, key, certificates):
        digests = {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in files.items()}
        return json.dumps([digests, self.signed(digests, key)]).encode()

    def verify(self, signature, keys):
        try:
            digests, value = json.loads(signature.read_bytes())
        except (ValueError, RecursionError) as error:
            raise SignatureError(str(signature), "it is damaged", "Sign the files again") from error
        if not any(value == self.signed(digests, key) for key in keys):
            raise SignatureError(str(signature), "no key has signed it", "Name the right key")
        return digests

    def signed(self, digests, key):
        return hmac.new(key.read_bytes(), json.dumps(digests).encode(), "sha256").hexdigest()


class Unsigned(Keyed):
    """Names the key, and signs nothing."""

    def signed(self, digests, key):
        return hmac.new(key.read_bytes(), b"", "sha256").hexdigest()


@pytest.mark.parametrize("kind", [Keyed, Unsigned])
def test_a_scheme_that_verifies_nothing_is_noticed(kind, tmp_path):
    suite, scheme = SignatureSuite(), kind()
    for name in ("ours", "other"):
        (tmp_path / name).write_text(name)
    files = SignatureSuite.files.__wrapped__(suite, tmp_path)
    signature = SignatureSuite.signature.__wrapped__(suite, scheme, files, tmp_path / "ours", tmp_path)
    suite.test_another_key_is_refused(scheme, signature, tmp_path / "other")
    if kind is Keyed:
        suite.test_no_byte_can_be_changed(scheme, signature, tmp_path / "ours")
        return
    with pytest.raises(AssertionError) as caught:
        suite.test_no_byte_can_be_changed(scheme, signature, tmp_path / "ours")
    assert caught.value.__notes__[0].startswith("SG-06: ")
