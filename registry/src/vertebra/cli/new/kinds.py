"""The kinds of plugins for which there is a template: a folder of `templates`, described by its `kind.toml`."""

from __future__ import annotations

import functools
import io
import tokenize
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable

from vertebra.errors import UnknownNameError

TEMPLATES = files("vertebra.cli.new") / "templates"
PACKAGE_CLASS = "ExamplePlugin"
"""Beginning of the names of the template's classes, which the author's replaces."""
COMMON = "common"
"""The folder with the files of all kinds."""
_DESCRIPTION = "kind.toml"
_KIND_COMMANDS = "vertebra new lists the kinds"


@dataclass(frozen=True, slots=True)
class Kind:
    """A template, as its `kind.toml` describes it; `example_plugin` in texts is the name of the new plugin."""

    template: str
    """Name of the template's folder."""
    help: str
    """The plugin, in one line."""
    description: str
    """The description in the metadata of the new distribution."""
    dependencies: tuple[str, ...]
    """Distributions that it needs, without versions, the core first."""
    runtimes: tuple[str, ...] = ()
    """The runtimes on which its tests run; none if they need no Keras."""
    hook: str = ""
    """The hook whose contribution has a name that must be new."""
    registers: str = ""
    """The name of that contribution."""
    named_by: str = ""
    """The option that changes that name: `scheme` or `class-name`; `name` if only another NAME does."""
    variant_of: str = ""
    """The kind of which it is another template, chosen by an option."""

    @property
    def name(self) -> str:
        """The word after `vertebra new`."""
        return self.variant_of or self.template

    def files(self) -> Iterator[tuple[str, Traversable]]:
        """Yields the template's files and those of all kinds, by path; `dot_` at the start of a name means a dot."""
        for folder in (COMMON, self.template):
            for path, file in _files(TEMPLATES / folder, ""):
                if path != _DESCRIPTION:
                    yield path, file

    def words(self) -> set[str]:
        """Returns the names that the template's code uses: of classes, imports, arguments and variables."""
        code = [file.read_text(encoding="utf-8") for path, file in self.files() if path.endswith(".py")]
        tokens = (token for text in code for token in tokenize.generate_tokens(io.StringIO(text).readline))
        return {token.string for token in tokens if token.type == tokenize.NAME}


def kinds() -> list[Kind]:
    """Returns all kinds, in order of name, without variants."""
    return [kind for kind in _all() if not kind.variant_of]


def template_of(name: str, local: bool = False) -> Kind:
    """Returns the template of a kind.

    Args:
        name: The kind.
        local: Whether the variant for this machine is wanted.

    Raises:
        UnknownNameError: there is no such kind, or it has no such variant.
    """
    found = [kind for kind in _all() if kind.name == name]
    if not found:
        raise UnknownNameError("kind of plugin", name, [kind.name for kind in kinds()], _KIND_COMMANDS)
    variants = [kind for kind in found if bool(kind.variant_of) == local]
    if not variants:
        known = [f"{kind.name} --local" for kind in _all() if kind.variant_of]
        raise UnknownNameError("kind of plugin", f"{name} --local", known, f"{name} has one template: omit --local")
    return variants[0]


@functools.cache
def _all() -> tuple[Kind, ...]:
    folders = sorted(folder.name for folder in TEMPLATES.iterdir() if (folder / _DESCRIPTION).is_file())
    return tuple(_read(name) for name in folders)


def _read(name: str) -> Kind:
    fields = tomllib.loads((TEMPLATES / name / _DESCRIPTION).read_text(encoding="utf-8"))
    lists = {field: tuple(value) for field, value in fields.items() if isinstance(value, list)}
    return Kind(name, **{**fields, **lists})


def _files(folder: Traversable, prefix: str) -> Iterator[tuple[str, Traversable]]:
    for item in sorted(folder.iterdir(), key=lambda item: item.name):
        name = f".{item.name.removeprefix('dot_')}" if item.name.startswith("dot_") else item.name
        if item.name == "__pycache__":  # pip compiles all modules that it installs
            continue
        if item.is_dir():
            yield from _files(item, f"{prefix}{name}/")
        else:
            yield f"{prefix}{name}", item
