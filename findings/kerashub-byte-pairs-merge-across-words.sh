#!/usr/bin/env bash
# KerasHub: byte-pair tokenizers never split a text into words, so pairs merge across words and ids are not GPT-2's.
#
# Versions:    keras-hub 0.32.0, keras 3.15.1, jax 0.10.2, tokenizers 0.23.3, transformers 5.23.0, Python 3.11
# Expectation: BytePairTokenizer "provides the same functionality as the official GPT-2 tokenizer", with "the same
#              output", given its vocabulary and merges.
# Behaviour:   without TensorFlow, and by default with it, the regular expression that splits words is given to
#              `tokenizers` as a plain string. No text has that string, so the whole text is one word. Of two spaces,
#              the second belongs to the next word in GPT-2; here both become one token.
# Output seen: 'a b': GPT2Tokenizer of KerasHub ['a', '_b'], of transformers ['a', '_b']
#              'a  b': GPT2Tokenizer of KerasHub ['a', '__', 'b'], of transformers ['a', '_', '_b']
#              "a 's": GPT2Tokenizer of KerasHub ['a', '_', "'s"], of transformers ['a', "_'", 's']
#              'a1b': GPT2Tokenizer of KerasHub ['a1', 'b'], of transformers ['a', '1', 'b']
#              (with _ for the letter by which GPT-2 writes a space)
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet keras==3.15.1 jax==0.10.2 jaxlib==0.10.2 transformers==5.23.0 tokenizers==0.23.3 packaging regex rich kagglehub sentencepiece
"$folder/venv/bin/pip" install --quiet --no-deps keras-hub==0.32.0
KERAS_BACKEND=jax "$folder/venv/bin/python" - <<'PYTHON' 2> /dev/null
import sys

import keras_hub
import transformers

SPACE = "\u0120"
merges = [f"{SPACE} {SPACE}", "' s", f"{SPACE} b", f"{SPACE} '", "a 1"]
tokens = ["a", "b", "s", "'", "1", SPACE, *(merge.replace(" ", "") for merge in merges), "<|endoftext|>"]
vocabulary = {token: index for index, token in enumerate(tokens)}
of_keras = keras_hub.models.GPT2Tokenizer(vocabulary=vocabulary, merges=merges)
of_transformers = transformers.GPT2Tokenizer(vocab=vocabulary, merges=[tuple(merge.split(" ")) for merge in merges])
same = []
for text in ("a b", "a  b", "a 's", "a1b"):
    ids = [int(index) for index in of_keras(text)], of_transformers(text)["input_ids"]
    same.append(ids[0] == ids[1])
    found = [[tokens[index].replace(SPACE, "_") for index in each] for each in ids]
    print(f"{text!r}: GPT2Tokenizer of KerasHub {found[0]}, of transformers {found[1]}")
sys.exit(same != [True, False, False, False])
PYTHON
