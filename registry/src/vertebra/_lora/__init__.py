"""LoRA adapters: attach them to layers, activate, merge, and read and write their files."""
