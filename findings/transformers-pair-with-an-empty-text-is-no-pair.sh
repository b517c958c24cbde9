#!/usr/bin/env bash
# transformers: a pair whose second text is empty is a pair in a batch, and a single text outside of one.
#
# Versions:    transformers 5.23.0, tokenizers 0.23.3, Python 3.11
# Expectation: tok(a, b) gives the ids of the only row of tok([a], [b]), for any texts: an example of NLI or of question
#              answering has the same ids alone as in a batch. The library `tokenizers` keeps to that.
# Behaviour:   tok(a, "") takes the empty text for no text: its separator is missing. tok([a], [""]) makes a pair.
# Output seen: with a second text: alone [2, 5, 3, 5, 3], in a batch [2, 5, 3, 5, 3]
#              with an empty one: alone [2, 5, 3], in a batch [2, 5, 3, 3]
#              tokenizers: alone [2, 5, 3, 3], in a batch [2, 5, 3, 3]
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet numpy transformers==5.23.0 tokenizers==0.23.3
"$folder/venv/bin/python" - <<'PYTHON' 2> /dev/null
import sys

from transformers import BertTokenizer

vocabulary = {"[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3, "[MASK]": 4, "a": 5}
tokenizer = BertTokenizer(vocab=vocabulary)


def alone_and_in_batch(second):
    return tokenizer("a", second)["input_ids"], tokenizer(["a"], [second])["input_ids"][0]


filled, empty = alone_and_in_batch("a"), alone_and_in_batch("")
print(f"with a second text: alone {filled[0]}, in a batch {filled[1]}")
print(f"with an empty one: alone {empty[0]}, in a batch {empty[1]}")
core = tokenizer.backend_tokenizer
of_core = core.encode("a", "").ids, core.encode_batch([("a", "")])[0].ids
print(f"tokenizers: alone {of_core[0]}, in a batch {of_core[1]}")
pair = [2, 5, 3, 3]
sys.exit(not (filled[0] == filled[1] and empty == ([2, 5, 3], pair) and of_core == (pair, pair)))
PYTHON
