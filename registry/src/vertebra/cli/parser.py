"""The argument parser: errors with the usage of the subcommand, and names that resemble a wrong one."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from typing import Any, NoReturn

from vertebra.cli.terminal.streams import say_lines
from vertebra.errors import close_names

_PRUNE = "vertebra cache prune PRESET removes a preset from the cache, and files that no preset needs"
_LISTINGS = (
    "vertebra presets lists built-in presets, vertebra cache ls those in the cache, vertebra backbones architectures"
)
_INSPECT = "vertebra inspect PRESET shows a preset, and vertebra lora info ADAPTER an adapter"
_CONFIG = "vertebra config list shows the settings, and vertebra config set NAME VALUE... writes one"
_CACHE_LS = "vertebra cache ls lists the presets in the cache"
_OTHER_NAMES = {
    "vertebra": {
        ("version",): "vertebra --version prints the version",
        ("install",): "pip installs plugins, and vertebra pull PRESET downloads a preset",
        ("update", "upgrade"): "pip updates plugins, and vertebra lock --update the locked presets",
        ("list", "ls", "models"): _LISTINGS,
        ("search", "find"): "vertebra presets FILTER lists the built-in presets whose names match",
        ("download", "fetch", "get", "clone"): "vertebra pull PRESET downloads a preset",
        ("upload", "publish"): "vertebra push DIR URI publishes a preset",
        ("info", "show", "describe"): _INSPECT,
        ("rm", "remove", "delete", "prune", "clean", "clear", "gc"): _PRUNE,
        (
            "copy",
            "cp",
            "export",
        ): "vertebra convert PRESET DIR writes a preset, and vertebra pull PRESET --to DIR its files",
        ("import",): "vertebra pull --from DIR imports a bundle",
        ("check", "test", "validate"): "vertebra verify PRESET checks a preset, and vertebra doctor this installation",
        ("status", "health"): "vertebra doctor checks this installation",
        ("size", "du"): "vertebra plan PRESET shows the size of a preset, and vertebra cache ls those in the cache",
        ("merge", "fuse"): "vertebra lora merge ADAPTER TARGET --base PRESET merges an adapter into a preset",
        ("create", "init", "scaffold"): "vertebra new KIND NAME writes the project of a plugin",
        ("generate", "chat"): "pip install 'vertebra[generation]' adds vertebra generate and vertebra chat",
        ("env", "settings", "configure", "options"): _CONFIG,
    },
    "vertebra config": {
        ("ls", "show", "print", "dump"): "vertebra config list shows the settings",
        ("add", "put", "edit"): "vertebra config set NAME VALUE... writes a setting",
        ("rm", "remove", "delete", "reset"): "vertebra config unset NAME removes a setting from the file",
    },
    "vertebra cache": {
        ("rm", "remove", "delete", "clear", "clean", "purge", "gc"): _PRUNE,
        ("info", "show", "scan", "size", "du"): _CACHE_LS,
        ("dir", "folder", "where"): "vertebra cache path prints the folder",
    },
    "vertebra lora": {
        ("show", "inspect", "describe"): "vertebra lora info ADAPTER shows an adapter",
        ("list", "ls"): "vertebra cache ls lists adapters in the cache, too, and vertebra strategies LoRA strategies",
        ("export", "save"): "vertebra lora convert ADAPTER TARGET --base PRESET writes an adapter in another form",
        ("apply", "fuse"): "vertebra lora merge ADAPTER TARGET --base PRESET merges an adapter into a preset",
        ("pull", "push", "lock"): "vertebra pull, push and lock take adapters, too",
    },
}
"""For names that users try, by command: the commands that do something similar, but not the same."""


class Parser(argparse.ArgumentParser):
    """An argument parser that names the alternatives to a wrong word, and the subcommand that has a wrong argument."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.set_defaults(parser=self)

    def parse(self, words: list[str]) -> argparse.Namespace:
        """Parses words as `parse_args` does; its error for unknown arguments is that of the subcommand."""
        args, unknown = self.parse_known_args(words)
        if unknown:
            parser = args.parser
            options = [option for action in parser._actions for option in action.option_strings]
            name = unknown[0].partition("=")[0]
            if name in options:  # before the command
                parser.error(f"{name} comes after the command: {parser.prog} ... {name}")
            near = close_names(name, options) if name.startswith("-") else []
            parser.error(f"unrecognized arguments: {' '.join(unknown)}.{_did_you_mean(near)}")
        return args

    def exit(self, status: int = 0, message: str | None = None) -> NoReturn:
        """Ends the process after the output has been written, so that a full disk is an error."""
        sys.stdout.flush()
        super().exit(status, message)

    def _print_message(self, message: str, file: Any = None) -> None:
        say_lines(message or "", file or sys.stderr)  # argparse would ignore that a disk is full

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if not isinstance(action, argparse._SubParsersAction):
            super()._check_value(action, value)
        elif value not in action.choices:
            self.error(f"there is no command {self.prog} {value}.{self._hint(value, sorted(action.choices))}")

    def _hint(self, value: str, commands: list[str]) -> str:
        hints = {name: hint for names, hint in _OTHER_NAMES.get(self.prog, {}).items() for name in names}
        near = close_names(value, [*commands, *hints])
        if near and near[0] in hints and near[0] not in commands and _is_typo(value.lower(), near[0]):
            return f" {hints[near[0]]}."
        near = [name for name in near if name in commands]
        return _did_you_mean(near) or f" The commands are: {', '.join(commands)}."


def _is_typo(value: str, name: str) -> bool:
    """Returns whether two words have the same letters, or all but one of them: `downlaod`, but not `load`."""
    letters, others = Counter(value), Counter(name)
    return max((letters - others).total(), (others - letters).total()) <= (len(name) > 3)


def _did_you_mean(names: list[str]) -> str:
    return f" Did you mean {', '.join(names)}?" if names else ""
