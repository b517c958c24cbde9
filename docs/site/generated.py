"""The parts of pages that are made of the code: options of commands, errors, and contributions of plugins."""

import argparse
import ast
import inspect
import json
import re
import textwrap
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from vertebra import errors, layers
from vertebra._discovery import catalog
from vertebra.cli.controls.command import build_parser

ROOT = Path(__file__).parents[2]
HOOKS = {
    "architectures": catalog.BACKBONES,
    "formats": catalog.FORMATS,
    "sources": catalog.SOURCES,
    "LoRA strategies": catalog.STRATEGIES,
    "runtimes": catalog.RUNTIMES,
    "tasks": catalog.TASKS,
    "tokenizers": catalog.TOKENIZERS,
    "commands": catalog.COMMANDS,
}
OF_TASK = (
    *("answers", "check_labels", "check_stored", "columns", "default_loss", "default_metrics", "exported_to"),
    *("further_files", "further_inputs", "head_task", "read_files"),
    *("has_output_for_each_token", "head_weights", "labels_are_shares", "needs_labels", "prepare", "reads_pairs"),
    *("sample_inputs", "stored_in", "task_arguments"),
)
"""Members of tasks that plugins override: `Task` documents them."""


def options() -> str:
    """Returns a section for each command: its usage, and a table of its arguments."""
    return "\n\n".join(_command(parser, summary) for parser, summary in _commands(build_parser(plugins=True)))


def _commands(parser: argparse.ArgumentParser) -> Iterator[tuple[argparse.ArgumentParser, str]]:
    """Yields each command without subcommands, with its summary."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            summaries = {choice.dest: choice.help or "" for choice in action._choices_actions}
            for name in sorted(summaries):
                inner = list(_commands(action.choices[name]))
                yield from inner or [(action.choices[name], summaries[name])]


def _command(parser: argparse.ArgumentParser, summary: str) -> str:
    usage = " ".join(parser.format_usage().removeprefix("usage: ").split())
    rows = [
        f"| {_cell(_names(action))} | {_cell(_help(parser, action))} |"
        for action in parser._actions
        if action.dest != "help" and action.help is not argparse.SUPPRESS
    ]
    table = "\n".join(["| argument | meaning |", "|---|---|", *rows]) if rows else "It has no arguments."
    return f"## `{parser.prog}`\n\n{_sentence(summary)}\n\n```console\n$ {usage}\n```\n\n{table}"


def _names(action: argparse.Action) -> str:
    if not action.option_strings:
        name = action.metavar or action.dest
        return " ".join(f"`{part}`" for part in ([name] if isinstance(name, str) else name))
    value = "" if action.nargs == 0 else f" {action.metavar or action.dest.upper()}"
    return ", ".join(f"`{option}{value}`" for option in action.option_strings)


def _help(parser: argparse.ArgumentParser, action: argparse.Action) -> str:
    text = _escaped(parser._get_formatter()._expand_help(action)) if action.help else ""
    if action.choices and not isinstance(action.choices, range):
        text += f" (one of {', '.join(f'`{choice}`' for choice in action.choices)})"
    return text


def _escaped(text: str) -> str:
    """Returns a text without markup."""
    return re.sub(r"([*_`\[\]])", r"\\\1", text).replace("<", "&lt;")


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())


def _sentence(text: str) -> str:
    text = text[:1].upper() + text[1:]
    return text if text.endswith(".") else f"{text}."


# === Errors ===


def error_list() -> str:
    """Returns a section for each class of `vertebra.errors`: its docstring, bases, fields and message."""
    return "\n\n".join(_error(kind) for kind in error_classes())


def error_classes() -> list[type[BaseException]]:
    """Returns the public errors and warnings, each after its base classes."""
    found = {value for value in vars(errors).values() if inspect.isclass(value) and issubclass(value, Exception)}
    return sorted(found, key=lambda kind: [base.__name__ for base in reversed(kind.__mro__) if base in found])


def _error(kind: type[BaseException]) -> str:
    bases = ", ".join(f"`{base.__name__}`" for base in kind.__bases__)
    text = inspect.cleandoc(kind.__doc__ or "")
    fields, message = _constructor(kind)
    names = f" Fields: {', '.join(f'`{field}`' for field in fields)}." if fields else ""
    # The API reference links to an object by its full name.
    lines = [
        f"### `{kind.__name__}` {{ #vertebra.errors.{kind.__name__} }}",
        _one_line(text),
        f"Base classes: {bases}.{names}",
    ]
    if kind is not errors.VertebraError and message.count("<") and message.strip("<>") not in fields:
        lines.append(f"> {_escaped(message)}")
    return "\n\n".join(lines)


def _one_line(text: str) -> str:
    return re.sub(r"\s*\n(?!\n)\s*", " ", text)


def _constructor(kind: type[BaseException]) -> tuple[list[str], str]:
    """Returns the fields that the constructor sets, and the form of its message."""
    function = vars(kind).get("__init__")
    if function is None:
        return [], ""
    tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    nodes = list(ast.walk(tree))
    fields = [
        node.attr
        for node in nodes
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and not node.attr.startswith("_")
    ]
    messages = [
        node.args[0]
        for node in nodes
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "super().__init__" and node.args
    ]
    return list(dict.fromkeys(fields)), _template(messages[0]) if messages else ""


def _template(node: ast.expr) -> str:
    """Returns a message with a name in angle brackets for each of its values."""
    if isinstance(node, ast.JoinedStr):
        return "".join(_template(part) for part in node.values)
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.BinOp):
        return _template(node.left) + _template(node.right)
    names = [inner.id for inner in ast.walk(node) if isinstance(inner, ast.Name)]
    variables = [name for name in names if name not in ("str", "repr", "ended", "shown", "self", "len")]
    return f"<{(variables or names or ['…'])[-1]}>"


# === Plugins ===


def plugins() -> str:
    """Returns a table of the distributions of this repository, with the contributions of each."""
    rows = ["| distribution | adds | contributions |", "|---|---|---|"]
    for pattern in ("registry", "plugins/*", "adapters/*"):
        for path in sorted(ROOT.glob(f"{pattern}/pyproject.toml")):
            project = tomllib.loads(path.read_text(encoding="utf-8"))["project"]
            link = f"[`{project['name']}`](plugins/{path.parent.name}.md)"
            rows.append(f"| {link} | {project['description']} | {contributions(project['name'])} |")
    return "\n".join(rows)


def contributions(distribution: str) -> str:
    """Returns the names that a distribution contributes, by kind."""
    found = []
    for label, kind in HOOKS.items():
        names = [entry.name for entry in catalog.catalog(kind) if entry.owner.distribution == distribution]
        if len(names) > 12:  # the classes of KerasHub
            found.append(f"{len(names)} {label}")
        elif names:
            found.append(f"{label}: {', '.join(f'`{name}`' for name in names)}")
    count = sum(entry.owner.distribution == distribution for entry in catalog.presets())
    return (
        "; ".join([*found, *([f"{count} built-in presets"] if count else [])]) or "those of other installed libraries"
    )


def layers_for_architectures() -> str:
    """Returns the directives for the names of `vertebra.layers`, which are imported at their first use."""
    names = sorted(layers._HOMES.items(), key=lambda item: item[0].lower())
    form = "::: {home}.{name}\n    options:\n      heading: vertebra.layers.{name}\n      toc_label: {name}"
    return "\n\n".join(form.format(home=home, name=name) for name, home in names)


def tasks() -> str:
    """Returns the directives for the tasks of `vertebra-text`, under the names that users write."""
    return _of_text({f"vertebra.models.{entry.name}": entry.value.task for entry in _entries_of_text(catalog.TASKS)})


def tokenizers() -> str:
    """Returns the directives for the classes of tokenizers of `vertebra-text`."""
    return _of_text({entry.name: entry.value.tokenizer for entry in _entries_of_text(catalog.TOKENIZERS)})


def _entries_of_text(kind: Any) -> list[Any]:
    return [entry for entry in catalog.catalog(kind) if entry.owner.distribution == "vertebra-text"]


def _of_text(targets: dict[str, str]) -> str:
    """Returns the directives for classes, by the heading of each."""
    form = "::: {target}\n    options:\n      heading: {heading}\n      toc_label: {label}\n      filters: {filters}"
    filters = json.dumps(["!^_", f"!^({'|'.join(OF_TASK)})$"])
    return "\n\n".join(
        form.format(target=target.replace(":", "."), heading=heading, label=heading.rpartition(".")[2], filters=filters)
        for heading, target in targets.items()
    )


GENERATED: dict[str, Callable[[], str]] = {
    "options": options,
    "errors": error_list,
    "plugins": plugins,
    "layers": layers_for_architectures,
    "tasks": tasks,
    "tokenizers": tokenizers,
}
"""What each marker in a page is replaced by."""
