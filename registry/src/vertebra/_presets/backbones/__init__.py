"""From the description of a preset to a backbone: its class, its arguments, and a build without values."""
