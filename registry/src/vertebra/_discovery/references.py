"""Resolves the references of plugins to their code, to find those that cannot be imported before a user does."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from vertebra._discovery import runtimes
from vertebra._discovery.catalog import BACKBONES, catalog, known_formats
from vertebra.errors import RuntimeChoiceError
from vertebra.specs import BackboneSpec, resolve_reference


def broken_references(plugins: Collection[str]) -> dict[str, list[str]]:
    """Returns why references of plugins to classes, translations and demos cannot be resolved, by name of the plugin.

    Binds a runtime; without one, only translations are resolved, because other code may need it.
    """
    try:
        has_runtime = runtimes.bind_any() is not None
    except RuntimeChoiceError:
        has_runtime = False
    broken: dict[str, list[str]] = {}
    for entry in catalog(BACKBONES).claims():
        if entry.plugin in plugins:
            broken.setdefault(entry.plugin, []).extend(_broken(entry.value, has_runtime))
    return {plugin: problems for plugin, problems in broken.items() if problems}


def _broken(spec: BackboneSpec, has_runtime: bool) -> Iterator[str]:
    references = {f"{format} translation": spec.formats[format].translation for format in known_formats(spec)}
    if has_runtime:
        named = {"class": spec.backbone, "demo": spec.demo, "migration": spec.migrate}
        references |= {title: reference for title, reference in named.items() if reference}
    for title, reference in references.items():
        try:
            found = resolve_reference(reference)
            if title.endswith("translation"):
                found()
        except Exception as error:
            yield f"the {title} of {spec.name}, {reference}, cannot be imported ({type(error).__name__}: {error})"
