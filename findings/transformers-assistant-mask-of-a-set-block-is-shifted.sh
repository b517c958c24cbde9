#!/usr/bin/env bash
# transformers: the mask of the assistant's tokens marks other tokens if a template collects its text in a variable.
#
# Versions:    transformers 5.23.0, tokenizers 0.23.3, jinja2 3.1.6, Python 3.11
# Expectation: return_assistant_tokens_mask marks the tokens of the text in {% generation %} blocks. Two templates that
#              render the same text, with the blocks around the same part of it, give the same mask.
# Behaviour:   the beginning of a block is taken to be the length of the text that was written so far. Within
#              {% set x %}...{% endset %}, which is written later, the text before the block in the variable is not
#              counted: the mask has the right length, and lies too far to the left. There is no warning, and training
#              on the assistant's tokens trains on those of the user.
# Output seen: text: [hello][yes][bye][no]
#              written at once, marked:  ........yes.......no.
#              with a variable, marked:  .......[ye.......[n..
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
at_once = "{% for message in messages %}" + turn + "{% endfor %}"
variable = "{% for message in messages %}{% set turn %}" + turn + "{% endset %}{{ turn }}{% endfor %}"


def text_and_marked(template):
    made = tokenizer.apply_chat_template(
        chat, chat_template=template, return_dict=True, return_assistant_tokens_mask=True
    )
    tokens = tokenizer.convert_ids_to_tokens(made["input_ids"])
    pairs = zip(tokens, made["assistant_masks"], strict=True)
    return "".join(tokens), "".join(token if marked else "." for token, marked in pairs)


text, marked = text_and_marked(at_once)
same_text, shifted = text_and_marked(variable)
print("text:", text)
print("written at once, marked: ", marked)
print("with a variable, marked: ", shifted)
sys.exit(not (text == same_text and marked == "........yes.......no." and shifted == ".......[ye.......[n.."))
PYTHON
