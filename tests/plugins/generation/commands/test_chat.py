"""`vertebra chat` over the lines of standard input: the answers of `generate` to the conversation so far."""

import pytest
from jsonschema import Draft202012Validator

from vertebra.cli import main
from vertebra_generation.commands import schema
from vertebra_generation.commands.texts import harmless

pytestmark = pytest.mark.keras

TEMPLATE = "{% for message in messages %}{{ message.role }}: {{ message.content }}\n{% endfor %}assistant: "
FEW = ("--max-new-tokens", 5)


@pytest.fixture
def preset(model, tmp_path):
    model.chat_templates = TEMPLATE
    model.save_to_preset(tmp_path / "preset", certificate=False)
    return tmp_path / "preset"


def talk(model, *questions, system=None):
    """Returns the messages of a conversation, as Python generates them."""
    messages = [] if system is None else [{"role": "system", "content": system}]
    for question in questions:
        messages.append({"role": "user", "content": question})
        messages.append({"role": "assistant", "content": model.generate(messages, max_new_tokens=5)})
    return messages


def test_keeps_the_conversation_until_reset(command, preset, model, typed):
    typed("the fox\n\na dog\n/reset\nParis\n/exit\nnever read\n")
    found = command("chat", preset, *FEW, "--system", "be good", "--json")
    Draft202012Validator(schema.CHAT).validate(found)
    assert found["messages"] == talk(model, "Paris", system="be good")
    typed("the fox\na dog\n")
    assert command("chat", preset, *FEW, "--json")["messages"] == talk(model, "the fox", "a dog")


def test_prints_an_answer_for_each_line(command, preset, model, typed):
    typed("the fox\na dog")
    answers = [message["content"] for message in talk(model, "the fox", "a dog") if message["role"] == "assistant"]
    assert command("chat", preset, *FEW) == "".join(f"{harmless(answer)}\n" for answer in answers)


def test_a_conversation_that_is_too_long_can_begin_again(preset, model, typed, capsys):
    typed("the " * 5000 + "\n/reset\nfox\n/quit\n")
    assert main(["chat", str(preset), *map(str, FEW)]) == 1
    shown = capsys.readouterr()
    assert "expected at most 4,096 tokens" in shown.err
    assert "/reset begins a new conversation" in shown.err
    assert "/exit ends the command" in shown.err
    assert shown.out == f"\n{harmless(talk(model, 'fox')[-1]['content'])}\n"


def test_an_answer_that_is_cut_is_named(preset, typed, capsys):
    typed("fox")
    assert main(["chat", str(preset), *map(str, FEW)]) == 0
    assert "most tokens that --max-new-tokens allows" in capsys.readouterr().err


def test_a_preset_without_a_chat_template_is_an_error(command, make, tmp_path, typed):
    make().save_to_preset(tmp_path / "plain", certificate=False)
    typed("fox")
    assert "Chat template" in command("chat", tmp_path / "plain", status=1)


def test_beams_are_wrong_usage(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["chat", "a_preset", "--num-beams", "2"])
    assert ended.value.code == 2
    assert "beam search" in capsys.readouterr().err


def test_lines_that_are_no_text_are_an_error(command, preset, typed):
    typed(b"\xff\n")
    assert "line 1" in command("chat", preset, status=1)


def test_generate_asks_a_prompt_as_a_message(command, preset, model):
    printed = command("generate", preset, "the fox", *FEW, "--system", "be good")
    assert printed == f"{harmless(talk(model, 'the fox', system='be good')[-1]['content'])}\n"
