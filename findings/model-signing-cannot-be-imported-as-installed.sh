#!/usr/bin/env bash
# model-signing: installed from its own metadata, it cannot be imported; and its typed password is of the wrong type.
#
# Versions:    model-signing 1.1.1 with the requirements that pip chooses (cryptography 50.0.2 here), Python 3.11
# Expectation: a package imports after pip install, and an argument that is annotated as str takes a str.
# Behaviour:   the module of certificates imports OpenSSL, and no requirement of the package installs pyOpenSSL. With it,
#              the password of a private key, annotated as str, is passed on as it is to a function that takes bytes.
# Output seen: as installed: No module named 'OpenSSL'
#              password as str: TypeError
#              password as bytes: signed
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet model-signing==1.1.1
echo "as installed: $("$folder/venv/bin/python" -c 'import model_signing' 2>&1 | tail -n 1 | sed 's/^[A-Za-z]*: //')" \
    | tee "$folder/seen"
"$folder/venv/bin/pip" install --quiet pyOpenSSL
cat > "$folder/sign.py" <<'PYTHON'
import pathlib
import sys

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

import model_signing

folder = pathlib.Path(sys.argv[1])
(folder / "model").mkdir()
(folder / "model" / "weights").write_bytes(b"weights")
pem, pkcs8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
key = ec.generate_private_key(ec.SECP256R1())
(folder / "key").write_bytes(key.private_bytes(pem, pkcs8, serialization.BestAvailableEncryption(b"secret")))
for password in ("secret", b"secret"):
    try:
        config = model_signing.signing.Config()
        config.use_elliptic_key_signer(private_key=folder / "key", password=password)
        config.sign(folder / "model", folder / "model.sig")
        print(f"password as {type(password).__name__}: signed")
    except TypeError as error:
        print(f"password as {type(password).__name__}: {type(error).__name__}")
PYTHON
"$folder/venv/bin/python" "$folder/sign.py" "$folder" | tee -a "$folder/seen"
grep -q "^as installed: No module named 'OpenSSL'" "$folder/seen"
grep -q "^password as str: TypeError" "$folder/seen"
grep -q "^password as bytes: signed" "$folder/seen"
