"""Chat templates: the same texts, refusals and masks as transformers', for templates in the style of known families."""

import json

import pytest

import tool_functions
from chat_templates import CONVERSATIONS, OPTIONS, TEMPLATES, say
from vertebra import open_files
from vertebra.errors import ArgumentError
from vertebra_generation.chat.errors import ChatTemplateError
from vertebra_generation.chat.schemas import schema_of
from vertebra_generation.chat.templates import ChatTemplates

pytestmark = pytest.mark.keras(once=True)

SPECIAL = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}


@pytest.mark.parametrize("name", TEMPLATES)
def test_texts_are_those_of_transformers(name, generation_peer):
    """A refusal of a template has the template's words in both."""
    templates, texts = ChatTemplates({"default": TEMPLATES[name]}, SPECIAL), 0
    for conversation in CONVERSATIONS.values():
        for options in OPTIONS.values():
            expected = generation_peer("render", template=TEMPLATES[name], conversation=conversation, **options)
            if "error" in expected:
                with pytest.raises((ChatTemplateError, ArgumentError)) as caught:
                    templates.render(conversation, **options)
                if expected["raised"]:
                    assert f"it refuses the conversation: {expected['error']}" in str(caught.value)
                continue
            assert templates.render(conversation, **options) == expected["text"], (conversation, options)
            texts += 1
    assert texts >= 15


@pytest.mark.parametrize("name", ["smollm3", "nested blocks"])
@pytest.mark.parametrize("conversation", ["turns", "system", "call"])
def test_the_tokens_of_the_assistant_are_those_of_transformers(name, conversation, generation_peer):
    """Tokens of the peer's tokenizer are bytes."""
    messages = CONVERSATIONS[conversation]
    expected = generation_peer("render", template=TEMPLATES[name], conversation=messages, mask=True)
    found = ChatTemplates({"default": TEMPLATES[name]}, SPECIAL).render_with_spans(messages)
    offsets = [(index, index + 1) for index, letter in enumerate(found.text) for _ in letter.encode()]
    assert len(offsets) == len(expected["ids"])
    inside = [any(begin < last and end > first for first, last in found.spans) for begin, end in offsets]
    assert inside == [bool(mark) for mark in expected["mask"]]
    assert 0 < sum(expected["mask"]) < len(offsets)


@pytest.mark.parametrize(
    "template", ["{{ messages[0].content }}", {"default": "A{{ messages|length }}", "tool_use": "B", "rag": "C"}]
)
def test_templates_that_transformers_writes_are_read(template, folder, generation_peer):
    generation_peer("save_templates", folder=str(folder), template=template)
    (folder / "config.json").write_text('{"model_type": "llama"}')
    templates = ChatTemplates.read(open_files(folder))
    assert templates.templates == (template if isinstance(template, dict) else {"default": template})
    assert generation_peer("read_templates", folder=str(folder)) == template


@pytest.mark.parametrize(
    "given", ["{{ 1 }}", [{"name": "default", "template": "A"}, {"name": "tool_use", "template": "B"}]]
)
def test_templates_of_older_configs_are_read_as_transformers_reads_them(given, folder, generation_peer):
    generation_peer("save_templates", folder=str(folder), template=None)
    path = folder / "tokenizer_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"chat_template": given}))
    templates = ChatTemplates.read(open_files(folder))
    expected = generation_peer("read_templates", folder=str(folder))
    assert templates.templates == (expected if isinstance(expected, dict) else {"default": expected})
    assert templates.render([say("user", "x")], tools=[{"name": "f"}]) in ("1", "B")


@pytest.mark.parametrize("name", tool_functions.FUNCTIONS)
def test_functions_have_the_schemas_of_transformers(name, generation_peer):
    expected = generation_peer("schema", path=tool_functions.__file__, name=name)
    assert schema_of("tools[0]", tool_functions.FUNCTIONS[name]) == expected
    text = ChatTemplates({"default": "{{ tools | tojson }}"}).render(
        [say("user", "x")], tools=[tool_functions.FUNCTIONS[name]]
    )
    assert json.loads(text) == [expected]
