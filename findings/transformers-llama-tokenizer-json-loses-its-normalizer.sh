#!/usr/bin/env bash
# transformers: AutoTokenizer drops the normalizer of a Llama tokenizer.json, and leading spaces get other ids.
#
# Versions:    transformers 5.23.0, tokenizers 0.23.3, Python 3.11
# Expectation: a folder with a tokenizer.json gives the ids of that file. This one is of the form that transformers 4
#              wrote for Llama: its normalizer puts one mark before the text and makes a mark of each space, as
#              SentencePiece does.
# Behaviour:   for the class LlamaTokenizer a pre-tokenizer of transformers takes the place of the file's normalizer. It
#              adds no mark where the text begins with one, so that a leading space is lost. Neither `legacy` nor
#              `add_prefix_space` in tokenizer_config.json brings it back. There is no warning.
# Output seen: normalizer of the file: Sequence; of AutoTokenizer: None
#              'ab': file ['_ab'], AutoTokenizer ['_ab'], PreTrainedTokenizerFast ['_ab']
#              ' ab': file ['_', '_ab'], AutoTokenizer ['_ab'], PreTrainedTokenizerFast ['_', '_ab']
#              '  ab': file ['_', '_', '_ab'], AutoTokenizer ['_', '_ab'], PreTrainedTokenizerFast ['_', '_', '_ab']
#              legacy: True, add_prefix_space: True: ['_ab'] for ' ab'
#              (with _ for SentencePiece's mark)
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet numpy transformers==5.23.0 tokenizers==0.23.3
"$folder/venv/bin/python" - "$folder" <<'PYTHON' 2> /dev/null
import json
import sys
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, normalizers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

MARK = "\u2581"
folder = Path(sys.argv[1], "llama")
folder.mkdir()
merges = [("a", "b"), (MARK, "ab")]
tokens = ["<unk>", "<s>", "</s>", MARK, "a", "b", "ab", MARK + "ab"]
vocabulary = {token: index for index, token in enumerate(tokens)}
file = Tokenizer(models.BPE(vocab=vocabulary, merges=merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
file.normalizer = normalizers.Sequence([normalizers.Prepend(MARK), normalizers.Replace(" ", MARK)])
file.decoder = decoders.Sequence([decoders.Replace(MARK, " "), decoders.ByteFallback(), decoders.Fuse()])
file.add_special_tokens(tokens[:3])
file.save(str(folder / "tokenizer.json"))


def automatic(**options):
    names = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    config = {"tokenizer_class": "LlamaTokenizer", **names, **options}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return AutoTokenizer.from_pretrained(folder)


def words(tokenizer, text):
    return [token.replace(MARK, "_") for token in tokenizer.tokenize(text)]


tokenizer, plain = automatic(), PreTrainedTokenizerFast(tokenizer_file=str(folder / "tokenizer.json"))
normalizer = tokenizer.backend_tokenizer.normalizer
print(f"normalizer of the file: {type(file.normalizer).__name__}; of AutoTokenizer: {normalizer}")
gaps = []
for text in ("ab", " ab", "  ab"):
    of_file = [token.replace(MARK, "_") for token in file.encode(text).tokens]
    of_auto, of_plain = words(tokenizer, text), words(plain, text)
    print(f"{text!r}: file {of_file}, AutoTokenizer {of_auto}, PreTrainedTokenizerFast {of_plain}")
    gaps.append(of_file != of_auto)
    gaps.append(of_file != of_plain)
legacy = words(automatic(legacy=True, add_prefix_space=True), " ab")
print(f"legacy: True, add_prefix_space: True: {legacy} for ' ab'")
sys.exit(not (normalizer is None and gaps == [False, False, True, False, True, False]))
PYTHON
