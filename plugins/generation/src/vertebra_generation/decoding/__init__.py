"""Decoding: continues sequences token by token, with a cache of keys and values."""
