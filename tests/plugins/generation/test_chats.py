"""Chats: training on the answers of the assistant, and templates in presets."""

import json

import numpy as np
import pytest

import vertebra
from byte_tokenizer import write_tokenizer
from vertebra.errors import ArgumentError
from vertebra_generation.chat.errors import ChatTemplateError, NoChatTemplateError
from vertebra_generation.sampling.options import GenerationOptions
from vertebra_text import Tokenizer

pytestmark = pytest.mark.keras(once=True)

TEMPLATE = (
    "{% for message in messages %}{{ message.role[0] }}:"
    "{% if message.role == 'assistant' %}{% generation %}{{ message.content }}.{% endgeneration %}"
    "{% else %}{{ message.content }}{% endif %};{% endfor %}{% if add_generation_prompt %}a:{% endif %}"
)
PLAIN = TEMPLATE.replace("{% generation %}", "").replace("{% endgeneration %}", "")
CHAT = [
    {"role": "user", "content": "a fox"},
    {"role": "assistant", "content": "the fox"},
    {"role": "user", "content": "dog"},
    {"role": "assistant", "content": "lazy"},
]
TEXT = "u:a fox;a:the fox.;u:dog;a:lazy.;"


def counted(lm, item):
    """The text of the tokens that count in a batch."""
    _, labels, weights = lm.prepare([item])
    return lm.tokenizer.detokenize(labels[0][weights[0] > 0].tolist())


def test_only_the_messages_of_the_assistant_count(make):
    lm = make()
    lm.chat_templates = TEMPLATE
    for item in (CHAT, {"messages": CHAT}):
        inputs, _, _ = lm.prepare([item])
        ids = inputs["token_ids"][0][inputs["padding_mask"][0] > 0].tolist()
        assert TEXT.startswith(lm.tokenizer.detokenize(ids))  # all but the last token
        assert counted(lm, item) == "the fox.lazy."
    assert lm.columns({"messages": [CHAT]}, None)[0] == [{"messages": CHAT}]


def test_a_template_without_marks_is_rendered_for_each_beginning(make):
    lm = make()
    lm.chat_templates = PLAIN
    assert counted(lm, CHAT) == "the fox.;lazy.;"


def test_chats_are_trained_and_scored(make):
    lm = make()
    lm.chat_templates = TEMPLATE
    before = lm.score([{"messages": CHAT}])
    lm.fit([{"messages": CHAT}] * 2, epochs=3, verbose=0)
    lm.fit({"messages": [CHAT]}, packing=True, verbose=0)
    assert lm.score([{"messages": CHAT}]) > before


def test_fields_of_an_item_are_variables_of_the_template(make):
    lm = make()
    lm.chat_templates = "{{ mood }}:" + TEMPLATE
    inputs, _, _ = lm.prepare([{"messages": CHAT, "mood": "glad"}])
    assert lm.tokenizer.detokenize(inputs["token_ids"][0].tolist()).startswith("glad:u:a fox")


def test_a_preset_brings_its_template(make, tmp_path):
    lm = make()
    lm.save_to_preset(tmp_path / "plain", format="transformers")
    with pytest.raises(NoChatTemplateError, match="has none"):
        vertebra.models.CausalLM.from_preset(tmp_path / "plain").fit([CHAT], verbose=0)
    config = tmp_path / "plain" / "tokenizer_config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"chat_template": TEMPLATE}))
    again = vertebra.models.CausalLM.from_preset(tmp_path / "plain")
    assert counted(again, CHAT) == "the fox.lazy."
    for format in ("native", "transformers"):
        again.save_to_preset(tmp_path / format, format=format)
        saved = vertebra.models.CausalLM.from_preset(tmp_path / format)
        assert saved.chat_templates.templates == {"default": TEMPLATE}, format


@pytest.mark.parametrize("format", ["native", "transformers", "kerashub"])
def test_a_template_that_is_set_is_saved(format, make, tmp_path):
    lm = make()
    lm.chat_templates = TEMPLATE
    lm.save_to_preset(tmp_path / "saved", format=format)
    assert (tmp_path / "saved" / "chat_template.jinja").read_text() == TEMPLATE
    again = vertebra.models.CausalLM.from_preset(tmp_path / "saved")
    assert again.render_chat(CHAT[:1]) == "u:a fox;a:"
    again.chat_templates = PLAIN
    again.save_to_preset(tmp_path / "again", format=format)
    assert vertebra.models.CausalLM.from_preset(tmp_path / "again").chat_templates.templates == {"default": PLAIN}


def test_a_keras_file_keeps_the_template(make, tmp_path):
    write_tokenizer(tmp_path / "tokenizer", chat_template=PLAIN)
    lm = make(Tokenizer.from_preset(tmp_path / "tokenizer"))
    lm.save(tmp_path / "plain.keras")
    again = vertebra.load_model(tmp_path / "plain.keras", compile=False)
    assert again.chat_templates.templates == {"default": PLAIN}
    assert again.further_files() == {}
    lm.chat_templates = TEMPLATE
    lm.save(tmp_path / "set.keras")
    again = vertebra.load_model(tmp_path / "set.keras", compile=False)
    assert again.chat_templates.templates == {"default": TEMPLATE}
    assert again.further_files() == {"chat_template.jinja": TEMPLATE.encode()}  # for a preset that is saved of it


def test_a_keras_file_keeps_the_options_of_generating_next_to_the_template(make, tmp_path):
    write_tokenizer(tmp_path / "tokenizer", chat_template=PLAIN)
    lm = make(Tokenizer.from_preset(tmp_path / "tokenizer"))
    lm.generation_options = GenerationOptions(max_new_tokens=7)
    lm.save(tmp_path / "options.keras")
    again = vertebra.load_model(tmp_path / "options.keras", compile=False)
    assert again.generation_options.max_new_tokens == 7
    assert again.chat_templates.templates == {"default": PLAIN}
    assert set(again.further_files()) == {"generation_config.json"}


def test_a_template_writes_the_special_tokens_of_the_tokenizer(make, tmp_path):
    write_tokenizer(tmp_path / "tokenizer")
    lm = make(Tokenizer.from_preset(tmp_path / "tokenizer"))
    lm.chat_templates = "{{ bos_token }}" + TEMPLATE
    inputs, _, _ = lm.prepare([CHAT])
    assert inputs["token_ids"][0, 0] == lm.tokenizer.bos_token_id
    assert np.count_nonzero(inputs["token_ids"] == lm.tokenizer.bos_token_id) == 1


def test_templates_that_cannot_be_used_are_refused(make):
    lm = make()
    with pytest.raises(ArgumentError, match="chat_templates=3, expected a ChatTemplates, or the text of a template"):
        lm.chat_templates = 3
    with pytest.raises(ChatTemplateError):
        lm.chat_templates = "{% for %}"
