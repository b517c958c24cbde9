"""The commands of the core, which keep their names, and where the code of each is."""

LISTINGS = (
    *("plugins", "backbones", "presets", "formats", "sources", "strategies", "runtimes", "tasks", "tokenizers"),
    "commands",
)
"""The commands that list contributions of plugins."""
MODULES = dict.fromkeys(LISTINGS, "listing") | {"inspect": "inspect", "doctor": "doctor", "demo": "demo"}
MODULES |= {name: name for name in ("convert", "verify", "plan", "lora", "cache", "lock", "push", "completion", "new")}
MODULES |= {"pull": "pull", "bundle": "pull", "config": "controls.config", "schema": "controls.schema"}
"""The module of each command, below `vertebra.cli`."""
RESERVED = {*MODULES, "help"}
"""The names that no plugin can give a command."""
