"""Findings of `vertebra doctor` on what plugins contribute: clashes, presets, formats, and the code that they name."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from vertebra._discovery.backbone_classes import bind_for
from vertebra._discovery.catalog import (
    BACKBONES,
    FORMATS,
    KINDS,
    PRESETS,
    RUNTIMES,
    SOURCES,
    Entry,
    catalog,
    clashes,
    known_formats,
)
from vertebra._discovery.extras import install_command
from vertebra._formats.translation import load_translation
from vertebra.errors import PluginError, RuntimeChoiceError, exception_text
from vertebra.errors.base import shown
from vertebra.handles import PresetHandle
from vertebra.specs import BUILTIN_FORMATS, BackboneSpec, PresetSpec, resolve_reference

ContributionFinding = tuple[str, bool, str]
"""The subject of a check, whether it passed, and a sentence on the result."""
_NEEDED = {
    BACKBONES: "no architecture is installed, so no preset can be loaded: install a plugin with one",
    RUNTIMES: "none is installed, so no model can be built: install a runtime plugin together with its backend",
}
_MOST_NAMES = 5


def examine_contributions() -> Iterator[ContributionFinding]:
    """Yields findings on names that clash, kinds without a contribution, unknown formats, and presets."""
    for title, name, claims in clashes():
        yield f"{title} {name}", False, f"claimed by {' and '.join(claims)}; set VERTEBRA_PREFER or VERTEBRA_BLOCK"
    for kind in KINDS:
        names = [*(BUILTIN_FORMATS if kind is FORMATS else ()), *(entry.name for entry in catalog(kind))]
        if kind in _NEEDED and not list(catalog(kind).claims()):
            yield kind.plural, False, _NEEDED[kind]
        else:
            yield kind.plural, True, ", ".join(names) if len(names) <= 20 else f"{len(names)} installed"
    yield from _unknown_formats()
    yield from _presets()


def _unknown_formats() -> Iterator[ContributionFinding]:
    for entry in catalog(BACKBONES).claims():
        unknown = sorted(entry.value.formats.keys() - set(known_formats(entry.value)))
        if unknown:
            known = ", ".join(BUILTIN_FORMATS[1:])
            problem = (
                f"{entry.owner} has a FormatSpec for {', '.join(unknown)}, which no plugin contributes as a format"
            )
            yield f"formats of {entry.name}", False, f"{problem}; built-in formats are {known}"


def _presets() -> Iterator[ContributionFinding]:
    """Yields a finding for each plugin and reason why its presets cannot be loaded.

    A source that is known, and not installed, is no failure: who loads other presets does not need it.
    """
    affected: dict[tuple[str, bool, str], list[str]] = {}
    for entry in catalog(PRESETS):
        for passed, problem in _problems(entry.value):
            affected.setdefault((entry.owner.distribution, passed, problem), []).append(entry.name)
    for (distribution, passed, problem), names in affected.items():
        more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
        yield f"presets of {distribution}", passed, f"{', '.join(names[:_MOST_NAMES])}{more}: {problem}"


def _problems(preset: PresetSpec) -> Iterator[tuple[bool, str]]:
    """Yields the reasons why a preset cannot be loaded that are known without a look at its files.

    Each comes with whether that is normal.
    """
    if preset.backbone not in catalog(BACKBONES):
        yield False, f"the backbone {preset.backbone} is of no installed plugin{_install(preset.backbone)}"
    schemes = list(dict.fromkeys(PresetHandle.parse(handle).scheme for handle in (preset.handle, *preset.copies)))
    if not any(map(catalog(SOURCES).__contains__, schemes)):
        texts = " or ".join(f"{scheme}://" for scheme in schemes)
        yield bool(install_command(schemes[0])), f"no installed plugin reads {texts}{_install(schemes[0])}"


def _install(name: str) -> str:
    command = install_command(name)
    return f"; install one with: {command}" if command else "; install one"


# === The code that plugins name ===


def broken_references(plugins: Collection[str]) -> dict[str, list[str]]:
    """Returns why references of plugins to classes, translations and functions cannot be used, by name of the plugin.

    Binds a runtime; without one, only translations are resolved, because other code may need it.
    """
    entries = [entry for entry in catalog(BACKBONES).claims() if entry.plugin in plugins]
    try:
        runtime = bind_for([entry.value for entry in entries]).name
    except RuntimeChoiceError:
        runtime = ""
    broken: dict[str, list[str]] = {}
    for entry in entries:
        broken.setdefault(entry.plugin, []).extend(_broken_translations(entry))
        broken[entry.plugin] += _broken_code(entry.value) if runtime and entry.value.computes_on(runtime) else []
    from vertebra.cli.controls.plugin_commands import broken_commands  # other commands do without

    for plugin in plugins:
        broken.setdefault(plugin, []).extend(broken_commands(plugin))
    return {plugin: problems for plugin, problems in broken.items() if problems}


def _broken_translations(entry: Entry[BackboneSpec]) -> Iterator[str]:
    for format in known_formats(entry.value):
        try:
            load_translation(entry, format)
        except PluginError as error:
            yield error.problem


def _broken_code(spec: BackboneSpec) -> Iterator[str]:
    from vertebra.backbone import Backbone

    for title, reference in {"class": spec.backbone, "demo": spec.demo, "migration": spec.migrate}.items():
        if reference is None:
            continue
        subject = f"the {title} of {spec.name}, {reference},"
        try:
            found = resolve_reference(reference)
        except Exception as error:
            yield f"{subject} cannot be imported ({exception_text(error)})"
            continue
        if title == "class" and not (isinstance(found, type) and issubclass(found, Backbone)):
            yield f"{subject} is {shown(found)}, expected a subclass of vertebra.Backbone"
        elif not callable(found):
            yield f"{subject} is {shown(found)}, expected a function"
