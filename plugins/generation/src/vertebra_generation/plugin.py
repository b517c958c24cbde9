"""The contributions of the plugin."""
