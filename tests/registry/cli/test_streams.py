"""CL-01, V9e: the standard streams of the command: encodings, a full disk, closed streams, and unexpected errors."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from vertebra.cli import main

GOLDEN = Path(__file__).parents[2] / "golden" / "bert"


def start(*words, shell="", **variables):
    """Runs the command in an interpreter, with a redirection of the shell."""
    command = f'exec "$@" {shell}'
    return subprocess.run(
        ["/bin/sh", "-c", command, "sh", sys.executable, "-m", "vertebra.cli", *map(str, words)],
        env=os.environ | variables,
        capture_output=True,
        timeout=60,
    )


@pytest.fixture
def run(python_with_numpy):
    """Runs the command in a process, with a file for its output if one is given."""

    def run_command(*words, stdout=None, **variables):
        command = ["-m", "vertebra.cli", *map(str, words)]
        return python_with_numpy(command, env=os.environ | variables, stdout=stdout, timeout=60)

    return run_command


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "ascii:strict"])
@pytest.mark.parametrize("words", [["inspect", GOLDEN / "transformers"], ["lora", "info", GOLDEN / "peft_lora"]])
def test_a_tree_is_drawn_with_the_characters_that_there_are(words, encoding, run):
    done = run(*words, PYTHONIOENCODING=encoding)
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"|- " in done.stdout
    assert b"\n`- " in done.stdout
    assert b"\\u" not in done.stdout


def test_the_locale_c_has_no_other_characters_either():
    variables = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0", "PYTHONIOENCODING": ""}
    done = start("inspect", GOLDEN / "transformers", **variables)
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"|- " in done.stdout


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_a_path_that_is_no_text_keeps_its_bytes(tmp_path, encoding, run):
    folder = os.fsencode(tmp_path) + b"/caf\xe9"
    done = run("cache", "path", VERTEBRA_CACHE=os.fsdecode(folder), PYTHONIOENCODING=encoding)
    assert (done.returncode, done.stdout) == (0, folder + b"\n")


def test_json_has_the_same_values_in_every_encoding(sample_preset, run):
    preset = sample_preset.rename(sample_preset.with_name("pr\u00e9set \u2500"))
    ascii, unicode = (run("inspect", preset, "--json", PYTHONIOENCODING=name) for name in ("ascii", "utf-8"))
    assert b"\\u2500" in ascii.stdout
    assert json.loads(ascii.stdout) == json.loads(unicode.stdout)


def test_an_error_can_be_printed_in_every_encoding(run):
    done = run("inspect", "./\u043d\u0435\u0442", PYTHONIOENCODING="ascii:strict")
    assert done.returncode == 1
    assert done.stderr.startswith(b"error: ")
    assert b"Traceback" not in done.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no /dev/full")
@pytest.mark.parametrize("words", [["presets"], ["presets", "--json"], ["--help"], ["help", "pull"], ["--version"]])
def test_output_that_cannot_be_written_is_an_error(words, run):
    with Path("/dev/full").open("wb") as full:
        done = run(*words, stdout=full)
    assert (done.returncode, done.stderr) == (1, b"error: No space left on device\n")


@pytest.mark.parametrize(("shell", "status"), [(">&-", 0), ("2>&-", 0), (">&- 2>&-", 0), ("<&-", 0)])
def test_a_closed_stream_gets_nothing(shell, status):
    done = start("presets", shell=shell)
    assert (done.returncode, done.stderr) == (status, b"")


def test_errors_have_nowhere_to_go_if_both_are_closed():
    assert start("inspect", "no_such_preset", shell=">&- 2>&-").returncode == 1


def test_an_error_of_the_system_is_a_line(tmp_path, run):
    (tmp_path / "file").touch()
    done = run("demo", "--output", tmp_path / "file", VERTEBRA_CACHE=str(tmp_path / "cache"))
    assert done.returncode == 1
    assert done.stderr == f"error: {tmp_path / 'file'}: File exists\n".encode()


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (KeyError("x"), "error: KeyError: 'x' (unexpected, in "),
        (RuntimeError("two\nlines"), "error: RuntimeError: two lines (unexpected, in "),
        (MemoryError(), "error: there is not enough memory\n"),
        (PermissionError(13, "Permission denied", "/x"), "error: /x: Permission denied\n"),
        (OSError("no number"), "error: OSError: no number (unexpected"),
    ],
)
def test_an_unexpected_error_is_a_line_with_its_line(monkeypatch, capsys, error, said):
    def fail(chosen):
        raise error

    monkeypatch.setattr("vertebra.cli.inspect._run", fail)
    assert main(["inspect", "x"]) == 1
    shown = capsys.readouterr().err
    assert shown.startswith(said)
    assert shown.count("\n") == 1


def test_the_development_mode_shows_the_traceback(tmp_path):
    (tmp_path / "file").touch()
    assert b"Traceback" in start("demo", "--output", tmp_path / "file", PYTHONDEVMODE="1").stderr
