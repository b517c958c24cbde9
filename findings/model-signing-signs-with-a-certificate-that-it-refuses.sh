#!/usr/bin/env bash
# model-signing: signs with a certificate that is not for signatures, and then refuses each signature that it has made.
#
# Versions:    model-signing 1.1.1, pyopenssl, Python 3.11
# Expectation: a certificate without the key usage digitalSignature is refused when it signs, or accepted when it verifies.
# Behaviour:   use_certificate_signer signs without a word; the verifier, with the same root, then raises an error.
# Output seen: signed
#              verified: ValueError
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet model-signing==1.1.1 pyopenssl
cd "$folder"
mkdir model && echo weights > model/weights
openssl ecparam -name prime256v1 -genkey -noout -out root.key
openssl req -x509 -new -key root.key -subj "/CN=Root" -days 30 -out root.pem \
    -addext "basicConstraints=critical,CA:TRUE" -addext "keyUsage=critical,keyCertSign,cRLSign" 2> /dev/null
openssl ecparam -name prime256v1 -genkey -noout -out own.key
openssl req -new -key own.key -subj "/CN=Publisher" -out own.csr 2> /dev/null
openssl x509 -req -in own.csr -CA root.pem -CAkey root.key -CAcreateserial -days 30 -out own.pem 2> /dev/null
cat > sign.py <<'PYTHON'
from model_signing import signing, verifying

config = signing.Config()
config.use_certificate_signer(private_key="own.key", signing_certificate="own.pem", certificate_chain=["root.pem"])
config.sign("model", "model.sig")
print("signed")
try:
    verifying.Config().use_certificate_verifier(certificate_chain=["root.pem"]).verify("model", "model.sig")
    print("verified: yes")
except Exception as error:
    print("verified:", type(error).__name__)
PYTHON
venv/bin/python sign.py 2> /dev/null | tee seen
grep -q "^signed$" seen
grep -q "^verified: .*Error$" seen
