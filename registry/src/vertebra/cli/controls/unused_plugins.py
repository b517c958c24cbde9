"""Names the installed plugins that cannot be used: one of them may be a policy, or have what a command needs."""

from __future__ import annotations

import sys

from vertebra._discovery.plugins import registry
from vertebra.cli.terminal.streams import say


def print_unused_plugins() -> None:
    """Prints to stderr each plugin that failed, if the command that ran has loaded the plugins."""
    if registry.cache_info().currsize:
        for line in unused_plugins():
            say(line, file=sys.stderr)


def unused_plugins() -> list[str]:
    """Returns a warning for each plugin that failed or is incompatible, and a hint."""
    unused = [plugin for plugin in registry().plugins if plugin.status in ("failed", "incompatible")]
    lines = [f"warning: plugin {p.name} of {p.owner.distribution} is not used: {p.reason}" for p in unused]
    if unused:
        names = ",".join(plugin.name for plugin in unused)
        lines.append(f"hint: vertebra doctor says more; VERTEBRA_BLOCK={names} excludes them")
    return lines
