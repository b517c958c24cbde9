"""Adapter files: the project's own, PEFT's folders, KerasHub's files, and how each is read and written."""
