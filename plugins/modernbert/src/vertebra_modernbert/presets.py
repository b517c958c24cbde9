"""Built-in presets."""

PRESETS = ()
