"""`vertebra completion SHELL`: prints a shell script that completes commands, options, presets and paths."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Iterator, Sequence
from typing import Any

from vertebra._configuration.config_file import SETTINGS
from vertebra._discovery import catalog as discovered
from vertebra._discovery.catalog import BACKBONES, RUNTIMES, SOURCES, catalog
from vertebra.cli.controls.command import build_parser
from vertebra.cli.new.kinds import kinds
from vertebra.schemas import schema_names

SHELLS = ("bash", "zsh", "fish")
PRESETS = ("preset", "presets", "source", "base", "uri", "include")
"""Arguments that take a preset id, a handle or a folder."""
FILES = ("adapter", "target", "lockfile", "sign", "certificate", "signature_key")
FOLDERS = ("output", "bundle", "to")
_DTYPES = ("float32", "bfloat16", "float16")
_FUNCTION = "_vertebra_presets"

# For each shell, a function that lists the ids of presets, the schemes of handles, and folders.
_BASH = """\
{function}() {{
  local name
  for name in {names}; do
    [[ $name == "$1"* ]] && printf '%s\\n' "$name"
  done
  compgen -d -- "$1"
}}
"""
_ZSH = """\
{function}() {{
  local ids=({ids}) schemes=({schemes})
  compadd -a ids
  compadd -S '' -a schemes
  _files -/
}}
"""
_FISH = """\
function {function}
  printf '%s\\n' {names}
  __fish_complete_directories (commandline -ct)
end
"""
_FUNCTIONS = {"bash": _BASH, "zsh": _ZSH, "fish": _FISH}

# For a repeated argument, shtab writes (*), which zsh completes only once; * completes every repetition.
_ZSH_REPEATED = ('"(*)::', '"*:')

# Bash splits words at colons. This function joins the words of a handle, and removes from each completion the prefix
# that the user has typed already.
_BASH_COLONS = """
_vertebra() {
  local words=() last=-1 current=0 index reply typed
  for ((index = 0; index < ${#COMP_WORDS[@]}; index++)); do
    if ((last > 0)) && [[ ${COMP_WORDS[index]} == :* || ${words[last]} == *: ]]; then
      words[last]+=${COMP_WORDS[index]}
    else
      words[++last]=${COMP_WORDS[index]}
    fi
    ((index == COMP_CWORD)) && current=$last
  done
  local COMP_WORDS=("${words[@]}") COMP_CWORD=$current
  _shtab_vertebra
  typed=${COMP_WORDS[COMP_CWORD]}
  for index in "${!COMPREPLY[@]}"; do
    reply=${COMPREPLY[index]}
    [[ $reply == *:// ]] && compopt -o nospace 2>/dev/null
    [[ -d $reply ]] && compopt -o filenames 2>/dev/null
    [[ $typed == *:* && $COMP_WORDBREAKS == *:* ]] && COMPREPLY[index]=${reply#"${typed%"${typed##*:}"}"}
  done
  return 0
}
complete -o bashdefault -F _vertebra vertebra
"""


def add_commands(commands: Any) -> None:
    """Adds the command."""
    text = "print a shell script that completes commands, options, presets and paths"
    parser = commands.add_parser("completion", help=text, description=text)
    parser.add_argument("shell", choices=SHELLS, help="the shell to write the script for")
    parser.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> int:
    sys.stdout.write(f"{completion_script(args.shell)}\n")
    return 0


def completion_script(shell: str) -> str:
    """Returns the script for a shell, with the presets, schemes and runtimes that are installed now."""
    import shtab  # no other command needs it

    parser = build_parser(plugins=True)
    names = {"runtime": _names(RUNTIMES), "format": _formats(), "dtype": _DTYPES}
    names |= {"setting": SETTINGS, "schema": schema_names()}
    names["architecture"] = _names(BACKBONES)
    names["kind"] = [kind.name for kind in kinds()]
    names["backbone"] = [entry.name for entry in catalog(BACKBONES) if entry.value.demo]
    for action in arguments_of(parser):
        _set_completion(action, names)
    ids = [entry.name for entry in discovered.presets()]
    schemes = [f"{scheme}://" for scheme in _names(SOURCES)]
    words = {"ids": _quoted(ids), "schemes": _quoted(schemes), "names": _quoted([*ids, *schemes])}
    function = _FUNCTIONS[shell].format(function=_FUNCTION, **words)
    script: str = shtab.complete(parser, shell, preamble=function)
    if shell == "zsh":
        return script.replace(*_ZSH_REPEATED)
    return script + (_BASH_COLONS if shell == "bash" else "")


def arguments_of(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """Yields the arguments of all commands, except the names of subcommands and flags without a value."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                yield from arguments_of(command)
        elif action.nargs != 0:
            yield action


def _set_completion(action: argparse.Action, names: dict[str, Sequence[str]]) -> None:
    """Sets the attribute from which shtab reads an argument's completions; a number, for example, has none."""
    import shtab

    if action.dest in names:
        action.choices = names[action.dest]
    elif action.dest in PRESETS:
        action.complete = dict.fromkeys(("bash", "zsh"), _FUNCTION) | {"fish": f"({_FUNCTION})"}  # type: ignore[attr-defined]
    elif action.dest in FILES or action.dest in FOLDERS:
        action.complete = shtab.FILE if action.dest in FILES else shtab.DIRECTORY  # type: ignore[attr-defined]


def _names(kind: Any) -> list[str]:
    return [entry.name for entry in catalog(kind)]


def _formats() -> list[str]:
    formats = (name for entry in catalog(BACKBONES) for name in discovered.known_formats(entry.value))
    return list(dict.fromkeys(["native", *formats]))


def _quoted(names: Sequence[str]) -> str:
    return " ".join(map(shlex.quote, names)) or "''"
