"""Writes the project of a new plugin: the files of its template with its own names."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from vertebra._system.atomic_save import destination, replacing_folder
from vertebra.cli.new.kinds import Kind
from vertebra.cli.new.names import Names
from vertebra.errors import NewPluginError

PY_TYPED = "py.typed"
_KERAS = "  # EXAMPLE_KERAS"
_AUTHOR = re.compile(r"([^<>]+?)(?:\s*<([^<>\s]+@[^<>\s]+)>)?")


@dataclass(frozen=True, slots=True)
class Project:
    """The project to write."""

    kind: Kind
    names: Names
    license: str
    """An SPDX identifier."""
    author: str | None = None
    """A name, with an address in angle brackets or without one."""
    presets: Sequence[str] = ()
    """Presets for a preset pack, each as `ID=PRESET` or `PRESET`."""


def write_project(project: Project, folder: Path) -> list[str]:
    """Writes a project, completely or not at all; returns the paths of its files.

    Raises:
        NewPluginError: the folder exists and is not empty, or the project lacks something.
        PresetSaveError: a file cannot be written.
    """
    from vertebra.cli.new.packs import add_presets, check_presets

    target, name = destination(folder), project.names.distribution
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        problem = f"{folder} exists and is not an empty folder"
        raise NewPluginError(name, problem, "Choose another folder with --output, or remove it")
    check_presets(name, project.kind.template, project.presets)
    with replacing_folder(target) as stage:
        dependencies = add_presets(stage / "src" / project.names.package, project.names, project.presets)
        for path, text in _texts(project, dependencies).items():
            (stage / path).parent.mkdir(parents=True, exist_ok=True)
            (stage / path).write_text(text, encoding="utf-8", newline="\n")
        return sorted(path.relative_to(stage).as_posix() for path in stage.rglob("*") if path.is_file())


def _texts(project: Project, dependencies: Sequence[str]) -> dict[str, str]:
    """Returns the text of each file; the README is that of the kind, and then that of all kinds."""
    values = _values(project, dependencies)
    texts: dict[str, str] = {f"src/{project.names.package}/{PY_TYPED}": ""}
    for path, file in project.kind.files():
        lines = _lines_for(project.kind, file.read_text(encoding="utf-8"))
        path, text = project.names.replaced(path), project.names.replaced(lines, values)
        texts[path] = f"{text}\n{texts[path]}" if path in texts else text
    return texts


def _lines_for(kind: Kind, text: str) -> str:
    """Returns a text of the template; lines that end with `# EXAMPLE_KERAS` are for kinds whose tests need Keras."""
    kept = [
        line.removesuffix(_KERAS).rstrip() for line in text.splitlines() if kind.runtimes or not line.endswith(_KERAS)
    ]
    return "\n".join(kept).rstrip() + "\n"


def _values(project: Project, further: Sequence[str]) -> dict[str, str]:
    """Returns what replaces each `EXAMPLE_` word: the metadata, with the versions of this core, and the commands."""
    kind = project.kind
    needs = [_requirement(name) for name in dict.fromkeys((*kind.dependencies, *further))]
    known = metadata.metadata("vertebra").get_all("Provides-Extra") or []
    extras = sorted(["testing", *(runtime for runtime in kind.runtimes if runtime in known)])
    return {
        "EXAMPLE_DESCRIPTION": project.names.replaced(kind.description),
        "EXAMPLE_DEPENDENCIES": json.dumps(needs),
        "EXAMPLE_TEST_DEPENDENCIES": json.dumps([_requirement(f"vertebra[{','.join(extras)}]")]),
        "EXAMPLE_AUTHORS\n": _authors(project),
        "EXAMPLE_LICENSE": project.license,
        "EXAMPLE_RUNTIMES": f"[{', '.join(kind.runtimes)}]",
        "EXAMPLE_TESTS": "\n".join(f"$ {command}" for command in test_commands(kind)),
    }


def test_commands(kind: Kind) -> list[str]:
    """Returns the commands that run the tests: once for each runtime, because Keras has one backend in a process."""
    return [f"KERAS_BACKEND={runtime} pytest" for runtime in kind.runtimes] or ["pytest"]


def _authors(project: Project) -> str:
    if project.author is None:
        return ""
    found = _AUTHOR.fullmatch(project.author.strip())
    if found is None or not project.author.isprintable():
        problem = f"the author is {project.author!r}, expected a name, or 'name <address>'"
        raise NewPluginError(project.names.distribution, problem, "Correct --author")
    address = f", email = {json.dumps(found[2])}" if found[2] else ""
    return f"authors = [{{ name = {json.dumps(found[1], ensure_ascii=False)}{address} }}]\n"


def _requirement(distribution: str) -> str:
    """Returns a dependency: on the core's versions with the same plugin API, or on any version of another plugin."""
    if not re.fullmatch(r"vertebra(\[.+\])?", distribution):
        return distribution
    major, minor, *_ = metadata.version("vertebra").split(".")
    following = f"{major}.{int(minor) + 1}" if major == "0" else str(int(major) + 1)
    return f"{distribution}>={major}.{minor},<{following}"
