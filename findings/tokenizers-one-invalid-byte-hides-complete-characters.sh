#!/usr/bin/env bash
# tokenizers: one invalid byte token makes replacement characters of complete characters before and after it.
#
# Versions:    tokenizers 0.23.3, Python 3.11
# Expectation: the decoder ByteFallback, that of Llama 2, Mistral and Gemma, makes a replacement character of each byte
#              token that cannot be decoded, as its documentation says, and characters of the others, as Python's
#              bytes.decode with errors="replace" does.
# Behaviour:   a run of byte tokens is decoded as a whole or not at all. Where max_new_tokens cuts the last character of
#              an answer, all characters before it that have no token of their own are lost, too. Special tokens that
#              are skipped do not end a run, so that characters before and after them are lost together.
# Output seen: whole: '한글', by Python '한글'
#              cut: '�����', by Python '한�'
#              cut, <s>, whole: '�����', by Python '�한'
#              cut, a, whole: '��a한', by Python '�a한'
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet tokenizers==0.23.3
"$folder/venv/bin/python" - <<'PYTHON'
import sys

from tokenizers import Tokenizer, decoders, models

words = ["<unk>", "<s>", "a", *(f"<0x{byte:02X}>" for byte in range(256))]
vocabulary = {word: index for index, word in enumerate(words)}
tokenizer = Tokenizer(models.BPE(vocabulary, [], byte_fallback=True, unk_token="<unk>"))
tokenizer.add_special_tokens(["<unk>", "<s>"])
tokenizer.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Fuse()])


def decoded(title, *parts):
    """Returns the text of parts, which are bytes or tokens, and that of Python."""
    tokens, content = [], b""
    for part in parts:
        tokens += [part] if isinstance(part, str) else [f"<0x{byte:02X}>" for byte in part]
        content += {"a": b"a", "<s>": b""}[part] if isinstance(part, str) else part
    ids = [tokenizer.token_to_id(token) for token in tokens]
    text, expected = tokenizer.decode(ids, skip_special_tokens=True), content.decode(errors="replace")
    print(f"{title}: {text!r}, by Python {expected!r}")
    return text, expected


one, two = "한".encode(), "글".encode()
bad = "\N{REPLACEMENT CHARACTER}"
as_stated = [
    decoded("whole", one, two) == ("한글", "한글"),
    decoded("cut", one, two[:2]) == (bad * 5, "한" + bad),
    decoded("cut, <s>, whole", two[:2], "<s>", one) == (bad * 5, bad + "한"),
    decoded("cut, a, whole", two[:2], "a", one) == (bad * 2 + "a한", bad + "a한"),
]
sys.exit(not all(as_stated))
PYTHON
