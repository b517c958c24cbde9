"""LoRA variants for Vertebra."""
