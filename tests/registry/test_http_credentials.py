"""Tokens and keys that cannot be sent are named before they are, and never shown."""

import pytest

from vertebra import PresetHandle, http
from vertebra.errors import SettingsError

SECRET = "hf_abcDEF0123"


@pytest.mark.parametrize("text", [SECRET, "AKIA/+=_-.~", "user@example.org", "bearer"])
def test_others_are_sent(text):
    http.check_credential("HF_TOKEN", text)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        *(
            (f"{quote}{SECRET}{end}", "quotation mark")
            for quote, end in (*zip("\"'`", "\"'`", strict=True), "\u201c\u201d")
        ),
        (f'{SECRET}"', "quotation mark"),
        (f"Bearer {SECRET}", "begins with 'Bearer'"),
        (f"bearer {SECRET}", "begins with 'Bearer'"),
        *((f"{SECRET}{end}", "a line break") for end in ("\n", "\r\n", " ", "\t", "\0", "\x7f", "\u00a0", "\u200b")),
        (f"{SECRET} {SECRET}", "a space"),
        *((f"{SECRET}{letter}", "not ASCII") for letter in ("é", "ß", "密", "\u0430")),
    ],
    ids=ascii,
)
def test_what_cannot_be_sent_is_named_and_not_shown(text, problem):
    with pytest.raises(SettingsError, match=problem) as caught:
        http.check_credential("HF_TOKEN", text)
    assert caught.value.origin == "HF_TOKEN"
    assert SECRET not in str(caught.value)


def test_a_transport_checks_its_token():
    transport = http.Transport("https://models.example.org", token=lambda: f'"{SECRET}"')
    with pytest.raises(SettingsError, match=r"the token for https://models\.example") as caught:
        transport.get(PresetHandle("acme", "bert"), "index.json")
    assert SECRET not in str(caught.value)
