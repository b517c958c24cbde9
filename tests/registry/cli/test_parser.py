"""Words of the command line: wrong ones, other names for commands, and help."""

import re

import pytest

from vertebra._discovery.core_commands import MODULES
from vertebra.cli import main
from vertebra.cli.controls.command import build_parser


def refused(capsys, *words):
    """Returns the error for wrong usage."""
    with pytest.raises(SystemExit) as stop:
        main(words)
    assert stop.value.code == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    return shown.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["presest"], "there is no command vertebra presest. Did you mean presets?"),
        (["INSPECT"], "Did you mean inspect"),
        (["lora", "merg"], "there is no command vertebra lora merg. Did you mean merge?"),
        (["cache", "prnue"], "Did you mean prune?"),
        (["xyzzy"], "The commands are: backbones, bundle, cache,"),
        (["list"], "vertebra presets lists built-in presets"),
        (["ls"], "vertebra cache ls those in the cache"),
        (["downlaod"], "vertebra pull PRESET downloads a preset"),
        (["version"], "there is no command vertebra version. vertebra --version prints the version."),
        (["verison"], "vertebra --version prints the version."),
        (["install", "x"], "vertebra pull PRESET downloads a preset."),
        (["upgrade"], "vertebra lock --update the locked presets."),
        (["cp", "x", "y"], "vertebra pull PRESET --to DIR"),
        (["check"], "vertebra doctor this installation."),
        (["cache", "du"], "vertebra cache ls lists the presets in the cache."),
        (["lora", "fuse"], "vertebra lora merge ADAPTER"),
        (["generat"], "Did you mean generate"),
        (["cache", "rm", "x"], "vertebra cache prune PRESET removes a preset"),
        (["lora", "show", "x"], "vertebra lora info ADAPTER"),
        (["completion", "bsh"], "invalid choice: 'bsh'"),
    ],
)
def test_a_wrong_command_is_answered_with_the_right_one(words, said, capsys):
    assert said in refused(capsys, *words)


@pytest.mark.parametrize("word", ["load", "run", "serve", "uninstal", "logs", "tree"])
def test_a_word_that_only_resembles_another_name_is_not_answered_with_its_command(word, capsys):
    said = refused(capsys, word)
    assert "Did you mean" in said or "The commands are:" in said


@pytest.mark.parametrize(
    ("words", "usage", "said"),
    [
        (["sources", "x"], "usage: vertebra sources ", "vertebra sources: error: unrecognized arguments: x"),
        (["inspect", "x", "--jsn"], "usage: vertebra inspect ", "unrecognized arguments: --jsn. Did you mean --json?"),
        (["--json", "plan", "x"], "usage: vertebra plan ", "--json comes after the command: vertebra plan ... --json"),
        (["-v"], "usage: vertebra ", "unrecognized arguments: -v. Did you mean -V?"),
        (["lora", "info", "x", "y"], "usage: vertebra lora info ", "unrecognized arguments: y"),
        (["pull", "x", "--lokced=1"], "usage: vertebra pull ", "Did you mean --locked?"),
        (["presets", "--max-size", "big"], "usage: vertebra presets ", "'big' is not a size, such as 500MB or 2GB"),
    ],
)
def test_a_wrong_argument_is_answered_with_the_usage_of_its_command(words, usage, said, capsys):
    shown = refused(capsys, *words)
    assert shown.startswith(usage)
    assert said in shown


@pytest.mark.parametrize("command", [[], ["presets"], ["lora", "merge"]])
def test_help_is_a_command_too(command, capsys):
    for words in (["help", *command], [*command, "--help"]):
        with pytest.raises(SystemExit) as stop:
            main(words)
        assert stop.value.code == 0
        assert capsys.readouterr().out.startswith(f"usage: {' '.join(['vertebra', *command])} [-h]")


def test_help_of_an_unknown_command_names_the_known_one(capsys):
    assert "Did you mean inspect?" in refused(capsys, "help", "inspct")


def test_help_lists_the_commands_in_order(capsys):
    build_parser().print_help()
    words = [line.split()[0] for line in capsys.readouterr().out.splitlines() if re.match(r" {4}\w", line)]
    assert [word for word in words if word in MODULES] == sorted(MODULES)


@pytest.mark.parametrize("words", [["-V"], ["--version"], ["--version", "presets"], ["-V", "inspect", "x"]])
def test_version(words, capsys):
    assert main(words) == 0
    assert capsys.readouterr().out.startswith("vertebra 0.")
