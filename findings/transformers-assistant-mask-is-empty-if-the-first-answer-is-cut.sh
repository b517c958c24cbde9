#!/usr/bin/env bash
# transformers: truncation on the left empties the mask of the assistant's tokens, although answers are left.
#
# Versions:    transformers 5.23.0, tokenizers 0.23.3, jinja2 3.1.6, Python 3.11
# Expectation: with truncation_side="left", which keeps the end of a long chat, the mask is the end of the mask of the
#              complete chat; with "right" it is its beginning.
# Behaviour:   the first answer whose first token was cut ends the search for answers. On the right no answer follows it;
#              on the left all of the others do, and the mask has zeros only. There is no warning, and training on the
#              assistant's tokens learns nothing of the row.
# Output seen: complete:  [hello][yes][bye][no]  ........yes.......no.
#              right, 19: [hello][yes][bye][n    ........yes.......n
#              left, 19:  ello][yes][bye][no]    ......yes.......no.
#              left, 12:  es][bye][no]           ............
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet numpy transformers==5.23.0 tokenizers==0.23.3 jinja2==3.1.6
"$folder/venv/bin/python" - <<'PYTHON' 2> /dev/null
import sys

from tokenizers import Regex, Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

letters = "?[]abcdefghijklmnopqrstuvwxyz"
core = Tokenizer(models.WordLevel({letter: index for index, letter in enumerate(letters)}, unk_token="?"))
core.pre_tokenizer = pre_tokenizers.Split(Regex("."), "isolated")
tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, unk_token="?")

roles_and_texts = [("user", "hello"), ("assistant", "yes"), ("user", "bye"), ("assistant", "no")]
chat = [{"role": role, "content": text} for role, text in roles_and_texts]
answer = "{% generation %}{{ message.content }}{% endgeneration %}"
turn = "[{% if message.role == 'assistant' %}" + answer + "{% else %}{{ message.content }}{% endif %}]"
template = "{% for message in messages %}" + turn + "{% endfor %}"


def marked(title, side="right", **truncation):
    tokenizer.truncation_side = side
    made = tokenizer.apply_chat_template(
        chat, chat_template=template, return_dict=True, return_assistant_tokens_mask=True, **truncation
    )
    tokens = tokenizer.convert_ids_to_tokens(made["input_ids"])
    pairs = zip(tokens, made["assistant_masks"], strict=True)
    found = "".join(token if is_marked else "." for token, is_marked in pairs)
    print(f"{title:10} {''.join(tokens):22} {found}")
    return found


complete = marked("complete:")
right = marked("right, 19:", "right", truncation=True, max_length=19)
short = marked("left, 19:", "left", truncation=True, max_length=19)
empty = marked("left, 12:", "left", truncation=True, max_length=12)
as_expected = complete == "........yes.......no." and right == complete[:19] and short == complete[-19:]
sys.exit(not (as_expected and empty == "." * 12))
PYTHON
