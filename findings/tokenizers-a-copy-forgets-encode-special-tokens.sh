#!/usr/bin/env bash
# tokenizers: copying or pickling a tokenizer resets `encode_special_tokens`, and the copy gives other ids.
#
# Versions:    tokenizers 0.23.3, Python 3.11
# Expectation: copy.deepcopy and pickle, by which workers of a data loader get their tokenizer, keep the state: padding
#              and truncation, which are set on the tokenizer, too, are kept.
# Behaviour:   `encode_special_tokens`, by which "[CLS]" in a text is text, is False in the copy. There is no warning.
# Output seen: original: ['a', '[', 'CLS', ']', '[PAD]', '[PAD]']
#              pickle: ['a', '[CLS]', '[PAD]', '[PAD]', '[PAD]', '[PAD]']; same padding: True, same truncation: True
#              deepcopy: ['a', '[CLS]', '[PAD]', '[PAD]', '[PAD]', '[PAD]']; same padding: True, same truncation: True
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet tokenizers==0.23.3
"$folder/venv/bin/python" - <<'PYTHON'
import copy
import pickle
import sys

from tokenizers import Tokenizer, models, pre_tokenizers

words = ["[PAD]", "[UNK]", "[CLS]", "[", "]", "CLS", "a"]
tokenizer = Tokenizer(models.WordLevel({word: index for index, word in enumerate(words)}, unk_token="[UNK]"))
tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
tokenizer.add_special_tokens(["[PAD]", "[CLS]"])
tokenizer.enable_padding(length=6)
tokenizer.enable_truncation(6)
tokenizer.encode_special_tokens = True
text = "a [CLS]"
tokens = tokenizer.encode(text).tokens
print(f"original: {tokens}")
lost = [tokens[:4] == ["a", "[", "CLS", "]"]]
copies = {"pickle": pickle.loads(pickle.dumps(tokenizer)), "deepcopy": copy.deepcopy(tokenizer)}
for name, other in copies.items():
    same = other.padding == tokenizer.padding, other.truncation == tokenizer.truncation
    found = other.encode(text).tokens
    print(f"{name}: {found}; same padding: {same[0]}, same truncation: {same[1]}")
    lost += [*same, found[:2] == ["a", "[CLS]"], not other.encode_special_tokens]
sys.exit(not all(lost))
PYTHON
