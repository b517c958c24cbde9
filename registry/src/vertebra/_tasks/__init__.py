"""The tasks and tokenizers of presets, as plugins describe, translate and export them."""
