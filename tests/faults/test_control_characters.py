"""V6: names from untrusted files cannot control the terminal: no escape sequences, line breaks or reordered text."""

import json
import logging
import os
import subprocess
import sys
import warnings

import numpy as np
import pytest

from vertebra._system.log import log
from vertebra._system.user_warnings import warn
from vertebra._weights.safetensors.writing import write_tensors
from vertebra._weights.tensor_entry import layout_of
from vertebra.cli import main
from vertebra.errors import PresetConfigError, WeightsMismatchError, exception_text, printable

HOSTILE = "zz\x1b]0;PWNED\x07\r\n\x9b2J\u202egnp.\u2066"
"""A title for the terminal, a line of its own, C1 control characters, and marks that reorder a line."""
BACKBONE = f"Net{HOSTILE}Backbone"


def unprintable(text):
    """Returns the characters of a text that a terminal would not show as they are, without line breaks."""
    return {character for line in text.split("\n") for character in line if not character.isprintable()}


@pytest.fixture
def preset(tmp_path):
    """A native preset of a class that is not installed; each of its names is hostile."""
    folder = tmp_path / "preset"
    folder.mkdir()
    config = {HOSTILE: HOSTILE, "numbers": [HOSTILE]}
    (folder / "config.json").write_text(json.dumps({"vertebra_format": 1, "backbone": BACKBONE, "config": config}))
    names = [f"layer_{number}/{HOSTILE}/kernel" for number in range(2)]
    layouts = {name: layout_of(name, "float32", (2, 2)) for name in names}
    arrays = dict.fromkeys(names, lambda: np.full((2, 2), np.nan, np.float32))
    write_tensors(folder / "model.safetensors", arrays, layouts, {})
    return folder


@pytest.fixture
def said(capsys):
    """Runs the command in this process, and returns all of its output, in which no character controls anything."""

    def run(*words):
        status = main([*map(str, words)])
        text = "".join(capsys.readouterr())
        assert unprintable(text) == set(), repr(text)
        assert status in (0, 1)
        return text

    return run


@pytest.mark.parametrize("words", [["inspect"], ["plan"], ["pull"], ["verify"], ["lora", "info"]])
def test_no_command_lets_names_of_a_preset_control_the_terminal(words, preset, said):
    """V6."""
    assert said(*words, preset)


def test_a_tensor_s_name_stays_on_its_line(preset, said):
    """V6."""
    assert r"zz\x1b]0;PWNED\x07\r\n\x9b2J\u202egnp.\u2066" in said("inspect", preset)


def test_json_keeps_every_name_and_has_no_control_character(preset, said):
    """V6."""
    facts = json.loads(said("inspect", preset, "--json"))
    assert facts["backbone"] == BACKBONE
    assert {tensor["name"] for tensor in facts["tensors"]} == {f"layer_{n}/{HOSTILE}/kernel" for n in range(2)}


def test_the_parser_s_errors_have_no_control_character(capsys):
    """V6: `vertebra inspect *` in a folder that a stranger filled."""
    for words in (["inspect", "a", HOSTILE], [HOSTILE], ["presets", "--max-size", HOSTILE]):
        with pytest.raises(SystemExit):
            main(words)
        shown = capsys.readouterr().err
        assert unprintable(shown) == set()
        assert r"\x1b" in shown


def test_warnings_and_log_messages_are_printable(caplog):
    """V6: where the names of tensors and files come from, the code that warns need not know."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warn(f"a warning about {HOSTILE}")
    assert unprintable(str(caught[0].message)) == set()
    from vertebra._discovery.plugins import registry

    registry()  # from here on, plugins may log, too
    logging.getLogger("vertebra").warning("the preset %s has %d tensors", HOSTILE, 3)
    logging.getLogger("vertebra").warning("plain %d", 4)
    assert [unprintable(message) for message in caplog.messages] == [set(), set()]
    assert r"zz\x1b" in caplog.messages[0]
    assert caplog.records[1].args == (4,)  # which tools that group messages need


def test_a_log_message_that_cannot_be_made_is_left_to_the_handlers():
    """V6: a plugin's mistake in a message ends no load."""
    record = logging.LogRecord("vertebra", logging.WARNING, __file__, 1, "a plugin's %s", (1, 2), None)
    assert log.filter(record)
    assert record.args == (1, 2)


def test_an_error_s_message_and_notes_are_printable_and_its_parts_are_not_changed():
    """V6: a traceback goes to the terminal, too."""
    error = WeightsMismatchError(HOSTILE, [HOSTILE], [HOSTILE], [(HOSTILE, (1,), (2,))], [HOSTILE], HOSTILE, HOSTILE)
    assert str(error).isprintable()
    assert error.missing == [HOSTILE]
    error.add_note(f"also: {HOSTILE}")
    assert error.__notes__[0].isprintable()
    assert str(PresetConfigError("config.json", HOSTILE)).isprintable()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain text, ünïcode, 你好, 👍🏽, ├─", None),
        ("\x1b[31m", r"\x1b[31m"),
        ("a\r\nb\tc\x7f", r"a\r\nb\tc\x7f"),
        ("\x9b\u202e\u2028\u200b", r"\x9b\u202e\u2028\u200b"),
        ("\udce9\U000e0001", r"\udce9\U000e0001"),
    ],
)
def test_what_is_printable(text, shown):
    """V6."""
    assert printable(text) == (text if shown is None else shown)


class MuteError(Exception):
    """An exception of a plugin whose text cannot be had."""

    def __str__(self):
        raise RuntimeError("no text")


def test_the_text_of_an_exception_that_has_none():
    """V9f."""
    assert exception_text(MuteError()) == "MuteError (without a text: str() of it failed)"
    assert exception_text(ValueError("wrong")) == "ValueError: wrong"
    assert exception_text(ValueError()) == "ValueError"


def test_the_terminal_s_title_survives_every_listing_of_a_hostile_plugin(tmp_path):
    """V6: names of entry points and distributions, and the text of a plugin's exception."""
    folder = tmp_path / "acme-1.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: ac\x1b[31mme\u202e\nVersion: 1\x9b.0\n")
    (folder / "entry_points.txt").write_text("[vertebra]\nac\x1b]0;me\x07\u202e = acme\n[vertebra.api]\n1 = acme\n")
    (tmp_path / "acme.py").write_text(f"raise RuntimeError({HOSTILE!r})")
    for words in (["plugins"], ["plugins", "--json"], ["presets"]):
        run = [sys.executable, "-m", "vertebra.cli", *words]
        done = subprocess.run(run, env=os.environ | {"PYTHONPATH": str(tmp_path)}, capture_output=True, text=True)
        assert unprintable(done.stdout + done.stderr) == set(), repr(done.stdout + done.stderr)
        assert "acme" in done.stdout + done.stderr
