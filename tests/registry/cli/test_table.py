"""Tables on terminals of every width, and in pipes."""

import os
import pty
import subprocess
import sys
import termios

import pytest

from vertebra.cli.terminal.table import print_fields, print_table, wrap

HEADINGS = ("name", "parameters", "handle")
ROWS = [
    ["bert_tiny_en_uncased", "4,385,920", "kaggle://keras/bert/keras/bert_tiny_en_uncased/3"],
    ["short", "-", "file:///x"],
]


def test_a_pipe_gets_whole_rows(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "20")
    print_table(HEADINGS, ROWS)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert lines[1].split() == ROWS[0]


def test_a_wide_terminal_gets_the_same(on_terminal, capsys):
    print_table(HEADINGS, ROWS)
    assert on_terminal(200, print_table, HEADINGS, ROWS) == capsys.readouterr().out.splitlines()


def test_long_cells_are_wrapped_between_words(on_terminal):
    assert on_terminal(62, print_table, HEADINGS, ROWS) == [
        "NAME                  PARAMETERS  HANDLE",
        "bert_tiny_en_uncased  4,385,920   kaggle://keras/bert/keras/",
        "                                  bert_tiny_en_uncased/3",
        "short                 -           file:///x",
    ]


def test_rows_are_blocks_if_the_columns_do_not_fit(on_terminal):
    assert on_terminal(40, print_table, HEADINGS, ROWS) == [
        "bert_tiny_en_uncased",
        "  parameters  4,385,920",
        "  handle      kaggle://keras/bert/keras/",
        "              bert_tiny_en_uncased/3",
        "short",
        "  parameters  -",
        "  handle      file:///x",
    ]


@pytest.mark.parametrize("columns", range(1, 130, 7))
def test_no_word_is_broken_and_none_is_lost(on_terminal, columns):
    shown = on_terminal(columns, print_table, HEADINGS, ROWS)
    text = "".join("".join(shown).split()).lower()
    assert all(all(part in text for part in cell.lower().split("/")) for row in ROWS for cell in row)
    longest = max(len(part) for row in ROWS for cell in row for part in cell.split("/")) + 15
    assert max(map(len, shown)) <= max(columns, longest)


def test_long_values_are_wrapped_in_their_column(on_terminal):
    fields = [("format", "kerashub"), ("config", "name='a', num_layers=12, hidden_dim=768")]
    assert on_terminal(30, print_fields, fields) == [
        "format      kerashub",
        "config      name='a',",
        "            num_layers=12,",
        "            hidden_dim=768",
    ]


@pytest.mark.parametrize(
    ("text", "width", "lines"),
    [
        ("", 5, [""]),
        ("a b", 1, ["a", "b"]),
        ("unbreakable", 3, ["unbreakable"]),
        ("a//b/c", 4, ["a//", "b/c"]),
        ("one two", 0, ["one", "two"]),
    ],
)
def test_wrap(text, width, lines):
    assert wrap(text, width) == lines


@pytest.mark.parametrize("term", ["xterm", "dumb"])
@pytest.mark.parametrize("columns", [40, 80])
def test_a_real_terminal(columns, term):
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, columns))
    environment = {name: value for name, value in os.environ.items() if name != "COLUMNS"} | {"TERM": term}
    command = [sys.executable, "-m", "vertebra.cli", "presets"]
    with subprocess.Popen(command, env=environment, stdin=theirs, stdout=theirs, stderr=theirs) as child:
        os.close(theirs)
        shown = _read(ours)
    os.close(ours)
    assert child.returncode == 0
    assert b"\x1b" not in shown
    longer = [line.strip().rstrip("/") for line in shown.decode().splitlines() if len(line) > columns]
    assert not any(" " in line or "/" in line for line in longer)  # a long name is not broken


def _read(descriptor):
    data = b""
    while True:
        try:
            block = os.read(descriptor, 2**16)
        except OSError:  # Linux reports the end of a terminal as an error
            return data
        if not block:
            return data
        data += block
