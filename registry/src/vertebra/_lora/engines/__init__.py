"""The rules by which other programs use adapters in PEFT's layout, and the check of an adapter against them."""
