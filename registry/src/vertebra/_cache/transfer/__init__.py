"""Transfers of files from a source into the cache: in ranges at once, with retries, and resumed where one ended."""
