"""Vocabularies of byte-pair encoding: a JSON object of ids, and a list of merges."""

from __future__ import annotations

from vertebra import PresetFiles
from vertebra.errors import PresetConfigError
from vertebra_text.tokenizers.files.documents import read_bytes, read_fields

_HEADER = "#version"
_MOST_ID = 2**24


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
