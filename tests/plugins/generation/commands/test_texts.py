"""Texts of models: none of them controls the terminal, and texts of all languages stay as they are."""

import pytest

from vertebra_generation.commands.texts import harmless


@pytest.mark.parametrize(
    "text",
    [
        "plain",
        "two\nlines\tand tab",
        "1\u00a0000 \u20ac",
        "\u65e5\u672c\u3000\u8a9e",
        "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",
        "\U0001f468\u200d\U0001f469\u200d\U0001f467\ufe0f",
    ],
)
def test_texts_stay(text):
    assert harmless(text) == text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("\x1b[2J", "\\x1b[2J"),
        ("a\rb\r\n", "ab\n"),
        ("\x07\x9b", "\\x07\\x9b"),
        ("\u202egnp.exe", "\\u202egnp.exe"),
        ("\ud800", "\\ud800"),
        ("\u2028", "\\u2028"),
    ],
)
def test_control_characters_are_escaped(text, expected):
    assert harmless(text) == expected
