"""The names of a new plugin: of its distribution, package, classes, and contribution."""

from __future__ import annotations

import builtins
import contextlib
import keyword
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib import metadata, util
from types import MappingProxyType

from vertebra._discovery import catalog, core_commands
from vertebra._discovery.plugins import examined
from vertebra._resolve.filenames import unsafe_names
from vertebra.cli.new.kinds import PACKAGE_CLASS, Kind
from vertebra.errors import NewPluginError
from vertebra.handles import PresetHandle

_MOST_CHARACTERS = 40
"""Longest name, so that the lines of the code stay short."""
_CORE = "vertebra"
_DISTRIBUTION = re.compile(r"[a-z][a-z0-9]*(?:-[a-z0-9]+)*")
_CLASS = re.compile(r"[A-Z][A-Za-z0-9]*")
_NEW_NAME = "Choose another NAME"
_SUFFIXES = ("Backbone", "Format", "Runtime", "Source", "Tokenizer")
"""Ends of the names of classes, which are not repeated if a name has them already."""
_OF_PROJECTS = {"build", "conftest", "dist", "docs", "setup", "src", "tests"}
"""Names of files, folders and tools of every project."""
_SCHEME, _CLASS_NAME = "scheme", "class-name"
"""The options that choose a name."""


@dataclass(frozen=True, slots=True)
class Names:
    """The names that replace those of the template."""

    distribution: str
    """`acme-llama`"""
    package: str
    """`acme_llama`"""
    class_name: str
    """`AcmeLlama`, with which the names of its classes begin."""
    short: str
    """The name of a contribution, such as a scheme: the distribution's name, without `vertebra-`."""
    registered: str
    """The full name of the contribution, or nothing if it has none."""

    @classmethod
    def of(cls, name: str, kind: Kind, chosen: Mapping[str, str] = MappingProxyType({})) -> Names:
        """Returns the names for a NAME, such as `acme-llama` or `Acme Llama`, with those that the user chose.

        Args:
            name: The NAME.
            kind: The kind of plugin.
            chosen: Names that the user gave, by option: `scheme`, `class-name`.

        Raises:
            NewPluginError: a name is invalid, or belongs to another distribution or contribution.
            HandleError: no handle can have the scheme.
        """
        words = _words(name)
        distribution = "-".join(words)
        _check_distribution(name, distribution)
        package = distribution.replace("-", "_")
        _check_package(name, package)
        own = words[1:] if words[0] == _CORE and len(words) > 1 else words
        if own[0][0].isdigit():
            raise NewPluginError(name, f"after {_CORE}- comes a digit, and names begin with a letter", _NEW_NAME)
        class_name = chosen.get(_CLASS_NAME, "".join(word[:1].upper() + word[1:] for word in own))
        short = chosen.get(_SCHEME, "-".join(own))
        names = cls(distribution, package, class_name, short, "")
        names = replace(names, registered=names.replaced(kind.registers))
        _check_chosen(name, kind, names, chosen)
        _check_contribution(name, kind, names.registered)
        return names

    def replaced(self, text: str, values: Mapping[str, str] = MappingProxyType({})) -> str:
        """Returns a text of a template with these names, and with further values for other words.

        All are replaced at once: a name may itself have a word of the template, such as `example-name`.
        """
        new = self._replacements() | dict(values)
        longest_first = sorted(new, key=len, reverse=True)
        return re.sub("|".join(map(re.escape, longest_first)), lambda found: new[found[0]], text)

    def _replacements(self) -> dict[str, str]:
        classes = {f"{PACKAGE_CLASS}{end}": f"{self.class_name.removesuffix(end)}{end}" for end in _SUFFIXES}
        return classes | {
            "example-plugin": self.distribution,
            "example_plugin": self.package,
            "EXAMPLE_PLUGIN": self.package.upper(),
            PACKAGE_CLASS: self.class_name,
            "Example Plugin": re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", self.class_name),
            "example-name": self.short,
            "example_name": self.short.replace("-", "_"),
        }


def _words(name: str) -> list[str]:
    """Returns the words of a name in lower case: `AcmeLlama`, `acme_llama` and `Acme Llama` have the same."""
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", name.strip())
    return [word.lower() for word in re.split(r"[\s_.-]+", spaced)]


def _check_chosen(name: str, kind: Kind, names: Names, chosen: Mapping[str, str]) -> None:
    if _SCHEME in chosen and kind.named_by != _SCHEME:
        raise NewPluginError(name, f"a plugin of the kind {kind.name} has no scheme", "Omit --scheme")
    if _SCHEME in chosen:
        PresetHandle(names.short, "path")  # raises for a scheme that no handle can have
    if not _CLASS.fullmatch(names.class_name) or keyword.iskeyword(names.class_name):
        problem = f"{names.class_name!r} is no name of a class: a capital, then letters from A to Z and digits"
        raise NewPluginError(name, problem, "Choose one with --class-name, such as AcmeLlama")
    words = kind.words()
    for new in sorted(names.replaced(word) for word in words if word.startswith(PACKAGE_CLASS)):
        if new in words or hasattr(builtins, new):
            problem = f"the code of the kind {kind.name} uses the name {new} for something else"
            raise NewPluginError(name, problem, "Choose another with --class-name, such as AcmeLlama")


def _check_distribution(name: str, distribution: str) -> None:
    if len(distribution) > _MOST_CHARACTERS:
        raise NewPluginError(
            name[:_MOST_CHARACTERS], f"its name has {len(distribution)} characters", f"Use at most {_MOST_CHARACTERS}"
        )
    if not _DISTRIBUTION.fullmatch(distribution):
        problem = "it is no name of a distribution: a letter, then letters from A to Z, digits, '-', '_' or spaces"
        raise NewPluginError(name, problem, f"{_NEW_NAME}, such as acme-llama")
    known = {_canonical(text) for text in _requirements()} | {_CORE}
    if distribution in known:
        problem = f"{distribution} is a distribution of Vertebra, or one that it needs"
        raise NewPluginError(name, problem, f"{_NEW_NAME}, such as acme-{distribution.removeprefix(f'{_CORE}-')}")
    for plugin in examined().plugins:
        if distribution in (plugin.name, _canonical(plugin.owner.distribution)):
            problem = f"the installed plugin {plugin.name!r} of {plugin.owner.distribution} has that name"
            raise NewPluginError(name, problem, f"{_NEW_NAME}, or uninstall it")
    with contextlib.suppress(metadata.PackageNotFoundError):
        found = metadata.version(distribution)
        problem = f"the distribution {distribution} {found} is installed here, which yours would replace"
        raise NewPluginError(name, problem, f"{_NEW_NAME}, such as acme-{distribution}")


def _check_package(name: str, package: str) -> None:
    for kind, is_one in {
        "is a keyword of Python": keyword.iskeyword(package),
        "is a module of Python": package in sys.stdlib_module_names,
        "is a function or class of Python": hasattr(builtins, package),
        "names something else in every project": package in _OF_PROJECTS,
        **dict.fromkeys(unsafe_names([package]).values(), True),
    }.items():
        if is_one:
            raise NewPluginError(name, f"{package} {kind}", f"{_NEW_NAME}, such as acme-{package.replace('_', '-')}")
    spec = util.find_spec(package)
    if spec is not None and spec.origin is not None:  # a folder without modules has none
        problem = f"a package {package} is installed here, so that only one of both could be imported"
        raise NewPluginError(name, problem, f"{_NEW_NAME}, or uninstall that package")


def _check_contribution(name: str, kind: Kind, registered: str) -> None:
    """Refuses the name of another plugin's contribution, or of one of the core's commands."""
    if not registered:
        return
    (known,) = (found for found in catalog.KINDS if found.hook == kind.hook)
    contributions = catalog.catalog(known)
    remedy = {
        "": "Uninstall that plugin, or change a copy of it",
        "name": f"{_NEW_NAME}, or uninstall that plugin",
    }.get(kind.named_by, f"Choose another with --{kind.named_by}")
    if registered in contributions:
        owner = next(entry.owner for entry in contributions.claims() if entry.name == registered)
        raise NewPluginError(name, f"the {known.title} {registered!r} is of {owner}", remedy)
    if known is catalog.COMMANDS and registered in core_commands.RESERVED:
        raise NewPluginError(name, f"vertebra {registered} is a command of the core", remedy)


def _requirements() -> list[str]:
    """Returns the distributions that the core and its extras need: the names of Vertebra's own plugins among them."""
    try:
        return [re.split(r"[ \[<>=~!;(]", text)[0] for text in metadata.requires(_CORE) or []]
    except metadata.PackageNotFoundError:  # the package was copied without its metadata
        return []


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
