"""Adapter files: reading and writing the short form, PEFT's folders and KerasHub's files."""
