"""Items of training data: which part of their text counts."""

import pytest

from vertebra_generation.training.examples import Example, completed, example_of, rows_of_table, whole_text
from vertebra_text import TextError

CHAT = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "ho"}]


def rendered(messages, fields):
    return Example("|".join(one["content"] for one in messages), ((3, 5),), is_rendered=True)


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        ("a text", whole_text("a text")),
        ("", whole_text("")),
        (("a", " b"), completed("a", " b")),
        (["a", " b"], completed("a", " b")),
        ({"prompt": "a", "completion": " b"}, completed("a", " b")),
        ({"text": "a", "source": 3}, whole_text("a")),
        (CHAT, rendered(CHAT, {})),
        ({"messages": CHAT, "tools": []}, rendered(CHAT, {})),
        (completed("a", "b"), completed("a", "b")),
    ],
)
def test_items_are_texts_completions_or_chats(item, expected):
    assert example_of(item, rendered, "texts[0]") == expected


def test_only_the_completion_counts():
    assert completed("ab", "cde") == Example("abcde", ((2, 5),), has_prompt=True)
    assert whole_text("abc") == Example("abc", ((0, 3),))


@pytest.mark.parametrize(
    "item", [None, 3, b"a", ["a", "b", "c"], ["a", 3], [], {}, {"prompt": "a"}, {"messages": []}, {"messages": ["a"]}]
)
def test_other_items_are_named(item):
    with pytest.raises(TextError, match=r"texts\[7\]=.*, expected a text, a pair of a prompt and its completion"):
        example_of(item, rendered, "texts[7]")


def test_tables_have_prompts_and_completions_or_messages():
    table = {"prompt": ["a", "b"], "completion": ["c", "d"], "id": [1, 2]}
    assert rows_of_table(table, list(table)) == [
        {"prompt": "a", "completion": "c"},
        {"prompt": "b", "completion": "d"},
    ]
    assert rows_of_table({"prompt": "a", "completion": "c"}, ["prompt", "completion"]) == [
        {"prompt": "a", "completion": "c"}
    ]
    assert rows_of_table({"messages": [CHAT]}, ["messages"]) == [{"messages": CHAT}]
    assert rows_of_table({"text": ["a"]}, ["text"]) is None
