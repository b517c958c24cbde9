"""`vertebra completion`: what the shells themselves complete with the script; those that are installed are run."""

import os
import pty
import select
import shlex
import shutil
import subprocess
import sys
import time

import pytest

from vertebra._discovery import catalog as _catalog
from vertebra.cli import completion, main
from vertebra.cli.controls.command import build_parser

FREE = {"values", "only", "older_than", "message", "lora_rank", "max_shard_size", "set", "filters", "max_size"}
FREE |= {"name", "author", "scheme", "class_name", "batch_size", "prompt_tokens", "new_tokens"}
FREE |= {"devices", "mesh", "parallel", "length", "memory", "max_rank"}
"""Arguments whose values no list holds."""
COMMANDS = {"bash": ["bash", "--norc", "--noprofile", "-i"], "zsh": ["zsh", "-f", "-i"]}
START = {
    "bash": "source {script}",
    "zsh": 'unset zle_bracketed_paste; autoload -Uz compinit; compinit -u -D; eval "$(<{script})"',
}
PRESETS = [entry.name for entry in _catalog.presets()]
SCHEMES = [f"{entry.name}://" for entry in _catalog.catalog(_catalog.SOURCES)]

needs_zsh = pytest.mark.skipif(shutil.which("zsh") is None, reason="zsh is not installed")
needs_fish = pytest.mark.skipif(shutil.which("fish") is None, reason="fish is not installed")


@pytest.fixture(scope="module", params=completion.SHELLS)
def any_shell(request):
    return request.param


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The current folder, with a folder and a file in it."""
    (tmp_path / "my bert").mkdir()
    (tmp_path / "adapter.safetensors").touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def script(folder):
    """Returns a function that writes the script of a shell, and returns its path."""

    def write(shell):
        path = folder / f".script.{shell}"
        path.write_text(completion.completion_script(shell))
        return path

    return write


@pytest.fixture
def complete(script):
    """Returns a function that has bash or fish complete a line, without a terminal."""

    def in_bash(line):
        words = [word for part in line.split(" ") for word in _split_at_colons(part)]
        call = f"""
            source {shlex.quote(str(script("bash")))}
            COMP_WORDBREAKS=$' \\t\\n"\\'><=;|&(:'
            COMP_WORDS=({shlex.join(words)})
            COMP_CWORD={len(words) - 1}
            $(complete -p vertebra | sed 's/.*-F \\([^ ]*\\) .*/\\1/')
            printf '%s\\n' "${{COMPREPLY[@]}}"
        """
        return subprocess.check_output(["bash", "-c", call], text=True, timeout=60).splitlines()

    def in_fish(line):
        call = f"source {script('fish')}; complete -C {shlex.quote(line)}"
        found = subprocess.check_output(["fish", "--no-config", "-c", call], text=True, timeout=60)
        return [text.partition("\t")[0] for text in found.splitlines()]

    return {"bash": in_bash, "fish": in_fish}


def _split_at_colons(word):
    """Splits a word as bash does."""
    before, colon, after = word.partition(":")
    return [part for part in (before, colon, after) if part] or [""]


def type_line(shell, script, line, expected):
    """Types a line and the Tab key in an interactive shell, and returns the output up to the expected text."""
    environment = {**os.environ, "TERM": "dumb", "HISTFILE": "/dev/null"}
    process, terminal = pty.fork()
    if process == 0:
        os.execvpe(shell, COMMANDS[shell], environment)
    try:
        os.write(terminal, f"{START[shell].format(script=shlex.quote(str(script)))}; echo LOADE''D\n".encode())
        _read_until(terminal, "LOADED")
        os.write(terminal, f"{line}\t\t".encode())
        return _read_until(terminal, expected)
    finally:
        os.close(terminal)
        os.kill(process, 9)
        os.waitpid(process, 0)


def _read_until(terminal, expected):
    shown, deadline = "", time.monotonic() + 20
    while expected not in shown and time.monotonic() < deadline:
        if select.select([terminal], [], [], 0.2)[0]:
            shown += os.read(terminal, 4096).decode(errors="replace")
    return shown


# === Completed words ===

IN_BASH_AND_FISH = pytest.mark.parametrize("shell", ["bash", pytest.param("fish", marks=needs_fish)])


@IN_BASH_AND_FISH
@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("vertebra insp", ["inspect"]),
        ("vertebra cache pr", ["prune"]),
        ("vertebra verify --strict", ["--strict-finite"]),
        ("vertebra cache prune --ol", ["--older-than"]),
        ("vertebra completion f", ["fish"]),
        ("vertebra lora info adap", ["adapter.safetensors"]),
        ("vertebra convert bert_tiny_en_uncased ./adap", ["./adapter.safetensors"]),
    ],
)
def test_commands_options_and_files(shell, line, expected, complete):
    assert complete[shell](line) == expected


@IN_BASH_AND_FISH
def test_values_of_options(shell, complete):
    formats = complete[shell]("vertebra convert x y --format ")
    assert {"native", "kerashub", "transformers"} == set(formats)
    runtimes = {entry.name for entry in _catalog.catalog(_catalog.RUNTIMES)}
    assert set(complete[shell]("vertebra verify x --runtime ")) == runtimes


@IN_BASH_AND_FISH
@pytest.mark.parametrize("before", ["inspect", "pull one two", "lora merge a b --base", "push d", "cache prune"])
def test_presets_are_ids_schemes_and_folders(shell, before, complete):
    found = {name.rstrip("/") for name in complete[shell](f"vertebra {before} ")}
    assert found == {*PRESETS, *(scheme.rstrip("/") for scheme in SCHEMES), "my bert"}


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("vertebra inspect hf:", ["//"]),
        ("vertebra inspect hf://acme", []),
        ("vertebra convert hf://acme/bert ./adap", ["./adapter.safetensors"]),
        ("vertebra convert hf://acme/bert out --dtype bf", ["bfloat16"]),
    ],
)
def test_a_handle_is_one_word_in_bash(line, expected, complete):
    assert [reply for reply in complete["bash"](line) if reply] == expected


@pytest.mark.parametrize("shell", ["bash", pytest.param("zsh", marks=needs_zsh)])
@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("vertebra insp", "vertebra inspect "),
        ("vertebra cache pru", "prune"),
        ("vertebra verify --strict", "--strict-finite"),
        ("vertebra inspect bert_small_en_u", "ncased"),
        ("vertebra inspect packa", "package://"),
        ("vertebra pull one two packa", "package://"),
        ("vertebra inspect package:", "package://"),
        ("vertebra plan my", "my\\ bert/"),
        ("vertebra lora info adapt", "adapter.safetensors"),
        ("vertebra verify x --runtime to", "torch"),
    ],
)
def test_a_line_that_is_typed_is_completed(shell, line, expected, script):
    assert expected in type_line(shell, script(shell), line, expected)


# === The script ===


def test_the_shell_accepts_the_script(any_shell, script):
    if shutil.which(any_shell) is None:
        pytest.skip(f"{any_shell} is not installed")
    assert subprocess.run([any_shell, "-n", script(any_shell)], check=True, capture_output=True).stderr == b""


def test_the_command_prints_it(any_shell, capsys):
    assert main(["completion", any_shell]) == 0
    shown = capsys.readouterr().out
    assert shown == completion.completion_script(any_shell) + "\n"
    assert all(name in shown for name in (*PRESETS, *SCHEMES, "strict-finite", "prune"))


def test_other_shells_are_wrong_usage(capsys):
    with pytest.raises(SystemExit) as caught:
        main(["completion", "csh"])
    assert caught.value.code == 2


def test_each_argument_has_a_completion_or_none_is_possible():
    listed = {"setting", "schema", "runtime", "format", "dtype", "backbone", "architecture", "shell", "kind", "license"}
    listed |= {"train", "on_uneven", "engine"}
    known = {*completion.PRESETS, *completion.FILES, *completion.FOLDERS, *listed, *FREE}
    assert {action.dest for action in completion.arguments_of(build_parser())} == known


@pytest.mark.parametrize("name", ["it's", "$(touch touched)", "a b"])
def test_schemes_are_data_to_the_shell(name, monkeypatch, folder, complete):
    monkeypatch.setattr(completion, "_names", lambda kind: [name])
    assert f"{name}://" in complete["bash"]("vertebra inspect ")
    assert not (folder / "touched").exists()


def test_other_commands_do_without_the_library():
    build = "from vertebra.cli.controls.command import build_parser; build_parser()"
    code = f"import sys; {build}; print('shtab' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-c", code], text=True, timeout=60).strip() == "False"
