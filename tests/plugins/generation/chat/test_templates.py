"""Chat templates of presets: which one is used, what it writes, and which arguments are refused."""

from datetime import datetime

import numpy as np
import pytest

from chat_templates import CONVERSATIONS, TEMPLATES, say
from vertebra import open_files
from vertebra.errors import ArgumentError, PresetConfigError
from vertebra_generation.chat.errors import ChatTemplateError, NoChatTemplateError
from vertebra_generation.chat.templates import ChatTemplates, special_tokens_of

HELLO = [say("user", "Hello")]


def templates(source, **special):
    return ChatTemplates({"default": source}, special)


@pytest.fixture
def preset(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    return tmp_path


def write(preset, config=None, **files):
    if config is not None:
        (preset / "tokenizer_config.json").write_text(config, encoding="utf-8")
    for name, text in files.items():
        path = preset / name.replace("__", "/").replace("_jinja", ".jinja")
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return ChatTemplates.read(open_files(preset))


def test_files_come_before_the_config(preset):
    config = '{"chat_template": "A"}'
    assert write(preset, config).templates == {"default": "A"}
    found = write(preset, config, chat_template_jinja="B", additional_chat_templates__rag_jinja="C")
    assert found.templates == {"default": "B", "rag": "C"}


@pytest.mark.parametrize("value", ["5", '{"a": 1}', '[{"name": "x"}]', "[5]", '[["a", "b"]]'])
def test_templates_of_another_form_are_refused(preset, value):
    with pytest.raises(PresetConfigError, match="neither a text nor a list"):
        write(preset, f'{{"chat_template": {value}}}')


def test_files_that_are_no_text_are_refused(preset):
    with pytest.raises(PresetConfigError, match="no text in UTF-8"):
        write(preset, chat_template_jinja=b"\xff\xfe")
    with pytest.raises(PresetConfigError, match="larger than"):
        write(preset, chat_template_jinja=b"x" * 3_000_000)


def test_a_preset_without_a_template_says_what_to_do(preset):
    found = write(preset, "{}")
    assert not found
    with pytest.raises(NoChatTemplateError, match=r"Pass chat_template=, .* or write it into the preset"):
        found.render(HELLO)
    assert found.render(HELLO, chat_template="{{ messages[0].content }}!") == "Hello!"


def test_the_template_of_a_name_is_used():
    found = ChatTemplates({"default": "D", "tool_use": "T", "rag": "R"}, preset="mine")
    tools = [{"name": "f"}]
    assert [found.render(HELLO), found.render(HELLO, tools=tools)] == ["D", "T"]
    assert found.render(HELLO, tools=tools, chat_template="rag") == "R"
    with pytest.raises(ArgumentError, match="did you mean 'rag'"):
        found.render(HELLO, chat_template="rags")
    with pytest.raises(ArgumentError, match="one of the templates of mine: default, rag, tool_use"):
        found.render(HELLO, chat_template="zzz")
    with pytest.raises(ArgumentError, match="chat_template=5"):
        found.render(HELLO, chat_template=5)
    with pytest.raises(ArgumentError, match="one of the templates of mine"):
        ChatTemplates({"rag": "R"}, preset="mine").render(HELLO)


def test_special_tokens_and_variables_reach_the_template():
    class Tokenizer:
        special = {"bos": "<s>", "eos": "</s>"}  # noqa: RUF012

    found = ChatTemplates({"default": "{{ bos_token }}{{ eos_token }}{{ mine }}"}, special_tokens_of(Tokenizer()))
    assert found.render(HELLO, mine=3) == "<s></s>3"
    assert found.render(HELLO, bos_token="x") == "x</s>"


def test_values_are_copied_as_plain_ones():
    class Text(str):
        __slots__ = ("secret",)

    message = {
        "role": Text("user"),
        "content": [{"n": np.int64(3), "x": np.float32(0.5), "b": np.bool_(False)}],
        "z": None,
    }
    found = templates("{{ messages[0].content[0] | tojson }} {{ messages[0].z is defined }}")
    assert found.render([message]) == '{"n": 3, "x": 0.5, "b": false} False'
    assert message["z"] is None


@pytest.mark.parametrize(
    ("messages", "words"),
    [
        ("Hello", "a list of messages"),
        ({"role": "user"}, "a list of messages"),
        (None, "a list of messages"),
        ([], "at least one message"),
        (["Hello"], r"messages\[0\]='Hello', expected a dict"),
        ([{"content": "Hello"}], "expected a dict with"),
        ([say("user", object())], r"messages\[0\]\['content'\]="),
        ([say("user", {5 + 1j: 1})], "keys that are texts"),
    ],
)
def test_wrong_messages_are_refused(messages, words):
    with pytest.raises(ArgumentError, match=words):
        templates("{{ messages }}").render(messages)


def test_messages_that_hold_themselves_are_refused():
    content = []
    content.append(content)
    with pytest.raises(ArgumentError, match="nested at most 100 deep"):
        templates("{{ messages }}").render([say("user", content)])


@pytest.mark.parametrize(
    "options",
    [
        {"tools": 5},
        {"tools": "f"},
        {"tools": [len]},
        {"documents": ["x"]},
        {"add_generation_prompt": 1},
        {"mine": {1, 2}},
    ],
    ids=str,
)
def test_wrong_options_are_refused(options):
    with pytest.raises(ArgumentError):
        templates("x").render(HELLO, **options)


# === Continuing ===


def test_the_last_message_is_continued():
    messages = [*HELLO, say("assistant", "I am ")]
    plain = templates("{% for m in messages %}{{ m.content }}|{% endfor %}")
    trimmed = templates("{% for m in messages %}{{ m.content | trim }}|{% endfor %}")
    assert plain.render(messages, continue_final_message=True) == "Hello|I am "
    assert trimmed.render(messages, continue_final_message=True) == "Hello|I am"
    blocks = templates("{% for b in messages[-1].content %}{{ b.text }};{% endfor %}")
    content = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    assert blocks.render([say("assistant", content)], continue_final_message=True) == "a;b"
    reasoning = templates("{{ messages[-1].reasoning_content }}|{{ messages[-1].content }}")
    message = say("assistant", "x", thinking="Hm")
    assert reasoning.render([message], continue_final_message="thinking") == "Hm"


def test_messages_that_cannot_be_continued_are_refused():
    with pytest.raises(ChatTemplateError, match="does not write the last message as it is"):
        templates("{{ messages[0].content[:3] }}").render(HELLO, continue_final_message=True)
    with pytest.raises(ArgumentError, match="continue_final_message='words', expected the name of a field"):
        templates("{{ messages }}").render(HELLO, continue_final_message="words")
    with pytest.raises(ArgumentError, match="add_generation_prompt"):
        templates("x").render(HELLO, continue_final_message=True, add_generation_prompt=True)


# === The assistant's text ===


@pytest.mark.parametrize("name", ["nested blocks", "chatml"])
def test_the_text_of_the_assistant_is_found(name):
    """Also in templates without generation blocks."""
    messages = CONVERSATIONS["turns"]
    found = templates(TEMPLATES[name]).render_with_spans(messages)
    assert found.text == templates(TEMPLATES[name]).render(messages)
    parts = [found.text[begin:end] for begin, end in found.spans]
    end = "</a>" if name == "nested blocks" else "<|e|>\n\n"
    assert parts == ["Yes?\n" + end, " So. " + end]


def test_blocks_in_macros_and_captured_texts_are_found():
    source = """{%- macro say(text) %}{% generation %}[{{ text }}]{% endgeneration %}{% endmacro -%}
{%- for m in messages %}{% set x %}a{{ say(m.content) }}b{% endset %}{{ x }}{{ x }}{% endfor %}"""
    found = templates(source).render_with_spans(HELLO)
    assert (found.text, found.spans) == ("a[Hello]ba[Hello]b", [(1, 8), (10, 17)])


def test_spans_that_are_not_known_are_refused():
    lengths = "{% set x %}{% generation %} {{ messages[0].content }}{% endgeneration %}{% endset %}{{ x | length }}"
    with pytest.raises(ChatTemplateError, match="Move the filters"):
        templates(lengths).render_with_spans(HELLO)
    changing = "{% for m in messages %}{{ m.content if loop.last else '…' }}{% endfor %}"
    with pytest.raises(ChatTemplateError, match=r"it writes messages\[1\] otherwise when other messages follow"):
        templates(changing).render_with_spans([*HELLO, say("assistant", "a"), say("user", "b")])


def test_the_time_can_be_given():
    found = templates("{{ strftime_now('%d %b %Y') }}")
    assert found.render(HELLO, now=datetime(2031, 5, 1)) == "01 May 2031"
    assert found.render(HELLO) == datetime.now().strftime("%d %b %Y")
