"""Vocabularies of byte-pair encoding: a JSON object of ids, and a list of merges; and the ids of a `tokenizer.json`."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from vertebra import PresetFiles
from vertebra.errors import PresetConfigError
from vertebra_text.tokenizers.files.documents import read_bytes, read_fields

_HEADER = "#version"
_MOST_ID = 2**24
_LONG_NUMBER = re.compile(rb":[ \t\r\n]*[0-9]{8}")
_NOT_IDS = ("truncation", "padding")
"""The fields of a `tokenizer.json` whose numbers are lengths."""


def read_vocabulary(files: PresetFiles, name: str) -> dict[str, int]:
    """Returns the ids of the tokens.

    Raises:
        PresetConfigError: the file is no JSON object of ids, or two tokens have one id.
    """
    vocabulary = read_fields(files, name)
    for token, index in vocabulary.items():
        if type(index) is not int or not 0 <= index < _MOST_ID:
            raise PresetConfigError(name, f"the token {token[:60]!r} has the id {index!r}, expected an int from 0")
    if len(set(vocabulary.values())) < len(vocabulary):
        raise PresetConfigError(name, "two of its tokens have the same id")
    return vocabulary


def read_merges(files: PresetFiles, name: str) -> list[tuple[str, str]]:
    """Returns the pairs of tokens that are merged, the first ones first.

    Raises:
        PresetConfigError: a line is not two tokens.
    """
    data = read_bytes(files.fetch(name), name)
    try:
        lines = data.decode("utf-8").split("\n")
    except UnicodeDecodeError as error:
        raise PresetConfigError(name, f"it is not UTF-8 text ({error.reason} at byte {error.start})") from error
    merges = []
    for number, line in enumerate(lines, 1):
        line = line.removesuffix("\r")
        if not line or line.startswith(_HEADER):
            continue
        first, _, second = line.partition(" ")
        if not first or not second or " " in second:
            raise PresetConfigError(name, f"line {number} is {line[:60]!r}, expected two tokens")
        merges.append((first, second))
    return merges


def check_ids(data: bytes, name: str) -> None:
    """Refuses a `tokenizer.json` with an id that no vocabulary has: the library takes memory for all ids below it.

    Few files have a number of eight digits; the others are not parsed twice.

    Raises:
        PresetConfigError: the file has such an id.
    """
    if not _LONG_NUMBER.search(data):
        return
    try:
        fields = json.loads(data, object_pairs_hook=tuple)  # keeps fields that are there twice
    except (ValueError, RecursionError):
        return  # the library names the mistake
    for pairs in fields if isinstance(fields, tuple) else ():
        if pairs[0] in _NOT_IDS:
            continue
        for token, index in _numbers(pairs):
            if index >= _MOST_ID:
                problem = f"the token {str(token)[:60]!r} has the id {index}, expected one below {_MOST_ID:,}"
                raise PresetConfigError(name, problem)


def _numbers(value: Any) -> Iterator[tuple[Any, int]]:
    """Returns the ints in the pairs of parsed objects, each with the name of its field."""
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, tuple) and len(item) == 2 and type(item[1]) is int:
            yield item
        elif isinstance(item, tuple | list):
            waiting.extend(item)
