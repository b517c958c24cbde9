"""Payloads in the form of published advisories: harmless files, and the operations that read them."""
