"""LoRA: attach adapters to layers, account for what they did, and keep them in files."""
