"""The core's built-in sources and LoRA strategy, contributed through the same hooks as those of plugins."""
