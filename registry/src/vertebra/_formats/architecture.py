"""The architecture that reads a config in a foreign format, by the name that the config has for it."""

from __future__ import annotations

from vertebra._configuration.settings import settings
from vertebra._discovery.catalog import (
    BACKBONES,
    Entry,
    backbone_of,
    catalog,
    failed,
    identifiers,
    preferred,
    without_fallbacks,
)
from vertebra._discovery.extras import install_command
from vertebra._resolve.preset_folder import PresetFolder, config_error
from vertebra.errors.names import failed_plugins
from vertebra.specs import BackboneSpec


def find_owner(
    folder: PresetFolder, format: str, field: str, identifier: object, asked: type | None = None
) -> Entry[BackboneSpec]:
    """Returns the architecture that reads configs with this identifier.

    Args:
        folder: The preset.
        format: The format.
        field: The field of the config that has the identifier.
        identifier: The identifier.
        asked: The class that the user asked for, or None for any. Of several that read the config, it decides, or a
            class that it is derived from, else that of the built-in id, else a preferred plugin.

    Raises:
        PresetConfigError: no installed backbone reads them, or several do.
    """
    specs = [entry for entry in catalog(BACKBONES).claims() if format in entry.value.formats]
    readers = [entry for entry in specs if identifier in entry.value.formats[format].identifiers]
    chosen = next((name for name in named_classes(folder, asked) if any(name == one.name for one in readers)), None)
    claims = preferred([one for one in readers if chosen in (None, one.name)], settings().names("prefer"))
    if len(claims) > 1:
        claims = without_fallbacks(claims)
    if len(claims) == 1:
        return claims[0]
    if claims:
        raise config_error(folder, *_ambiguous(f"{field} {identifier!r}", claims))
    known = ", ".join(sorted({entry.name for entry in identifiers(format).claims()})) or "none"
    install = install_command(str(identifier).rpartition(">")[2])
    problem = f"{field} {identifier!r} is read by no installed backbone; values that can be read: {known}"
    remedy = f"Install the plugin for this architecture{f' with: {install}' if install else ''}"
    raise config_error(folder, problem, f"{remedy}.{failed_plugins(failed())}")


def named_classes(folder: PresetFolder, asked: type | None) -> list[str]:
    """Returns the names of the class that the user asked for and its bases, and of that of a built-in id."""
    bases = [base.__name__ for base in getattr(asked, "__mro__", ())]
    return [*bases, *filter(None, [backbone_of(folder.requested)])]


def _ambiguous(identifier: str, claims: list[Entry[BackboneSpec]]) -> tuple[str, str]:
    """Returns the problem and the remedy if several architectures read a config."""
    readers = " and ".join(f"{claim.value.name} of {claim.owner}" for claim in claims)
    classes = list(dict.fromkeys(claim.value.name for claim in claims))
    distributions = list(dict.fromkeys(claim.owner.distribution for claim in claims))
    remedies = []
    if len(classes) > 1:
        remedies.append(f"name the class, as in vertebra.models.{classes[0]}.from_preset")
    if len(distributions) > 1:
        remedies.append(f"prefer a plugin, as in VERTEBRA_PREFER={distributions[0]}")
    remedies.append(f"block one, as in VERTEBRA_BLOCK={distributions[-1]}")
    text = ", or ".join(remedies)
    return f"{identifier} is read by {readers}", f"{text[0].upper()}{text[1:]}"
