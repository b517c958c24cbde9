"""Changes of sound inputs that keep part of their structure; the same for Hypothesis, coverage-guided and random runs.

A mutation takes an input, a source of random choices and words that mean something, and returns another input. The
choices come from `random.Random`, or from Hypothesis, which then finds a smaller input that fails, too.
"""

import copy
import encodings.cp437  # noqa: F401 (which zipfile imports when it is needed)
import io
import json
import struct
import zipfile
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

Mutation = Callable[[bytes, Random, Sequence[str]], bytes]
MOST_BYTES = 2**20

ODD_VALUES: list[Any] = [
    *(None, True, False, 0, 1, -1, 2, 0.5, -0.0, 1e308, float("nan"), float("inf"), "", " ", "a", [], {}, [[]], [None]),
    *(2**31, 2**32 - 1, 2**53 + 1, 2**63 - 1, 2**63, 2**64, 10**30, 10**40, -(2**63), 100_000),
    *(
        "__class__",
        "os.system",
        "../../x",
        "/etc/passwd",
        "a/b",
        "a\\b",
        "C:\\x",
        "\x00",
        "\x1b[31m",
        "\u202e",
        "\ud800",
    ),
    *("a" * 300, "é", "\uff21", "{}", "1", "null", "file:///x", "http://127.0.0.1:9/x", {"a": 1}, ["a"] * 50),
    *(
        "<script>",
        "![x](https://x.example)",
        "(a+)+$",
        "%00",
        "%2e%2e",
        "~",
        "$HOME",
        "builtins>eval",
        {"__reduce__": []},
    ),
]
PIECES = [b"", b"\0", b"\xff", b"\xff\xfe", b"\x80", b"\n", b"\r\n", b"{", b"}", b"[", b"]", b'"', b",", b"\\u0000"]
PIECES += [
    b"-",
    b"9" * 40,
    b"1e999",
    b"NaN",
    b"\\ud800",
    b"PK\x03\x04",
    b"\x89HDF\r\n\x1a\n",
    b"<",
    b"[" * 200,
    b"\xed\xa0\x80",
]
NUMBERS = [0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**63, 2**64 - 1]


def of_bytes(data: bytes, random: Random, words: Sequence[str]) -> bytes:
    """Changes, removes, repeats and inserts bytes."""
    result = bytearray(data)
    for _ in range(random.choice((1, 1, 1, 2, 3, 6))):
        _change_bytes(result, random, words)
    return bytes(result[:MOST_BYTES])


def _change_bytes(data: bytearray, random: Random, words: Sequence[str]) -> None:
    start = random.randint(0, len(data))
    stop = min(len(data), start + random.choice((0, 1, 1, 2, 4, 8, 64)))
    kind = random.randint(0, 6)
    if kind == 0 and start < len(data):
        data[start] ^= 1 << random.randint(0, 7)
    elif kind == 1:
        del data[start:stop]
    elif kind == 2:
        data[start:start] = data[start:stop] * random.choice((1, 2, 50))
    elif kind == 3:
        width = random.choice((1, 2, 4, 8))
        number = random.choice(NUMBERS) % 256**width
        data[start : start + width] = number.to_bytes(width, random.choice(("little", "big")))
    elif kind == 4:
        other = random.randint(0, len(data))
        data[start:stop] = data[other : other + (stop - start)]
    elif kind == 5 and words:
        data[start:stop] = random.choice(words).encode("utf-8", "surrogatepass")
    else:
        data[start:stop] = random.choice(PIECES)


def of_lines(data: bytes, random: Random, words: Sequence[str]) -> bytes:
    """Changes, removes, repeats and exchanges lines of a text."""
    if random.randint(0, 2) == 0:
        return of_bytes(data, random, words)
    lines = data.split(b"\n")
    for _ in range(random.choice((1, 1, 2, 4))):
        first, second = random.randint(0, len(lines) - 1), random.randint(0, len(lines) - 1)
        kind = random.randint(0, 4)
        if kind == 0 and len(lines) > 1:
            del lines[first]
        elif kind == 1:
            lines.insert(first, lines[second])
        elif kind == 2:
            lines[first], lines[second] = lines[second], lines[first]
        elif kind == 3 and words:
            lines.insert(first, random.choice(words).encode("utf-8", "surrogatepass"))
        else:
            changed = bytearray(lines[first])
            _change_bytes(changed, random, words)
            lines[first] = bytes(changed)
    return b"\n".join(lines)[:MOST_BYTES]


# === JSON ===


def of_json(data: bytes, random: Random, words: Sequence[str]) -> bytes:
    """Changes values, names and the structure of a JSON document, and sometimes its bytes."""
    if random.randint(0, 4) == 0:
        return of_bytes(data, random, words)
    try:
        document = [json.loads(data)]
    except (ValueError, RecursionError):
        return of_bytes(data, random, words)
    for _ in range(random.choice((1, 1, 1, 2, 3))):
        _change_node(document, random, words)
    return dumped(document[0], random)[:MOST_BYTES]


def dumped(value: Any, random: Random) -> bytes:
    """Returns JSON, whose texts may be escaped or not."""
    text = json.dumps(value, ensure_ascii=random.randint(0, 3) > 0)
    return text.encode("utf-8", "surrogatepass")


def _change_node(document: list[Any], random: Random, words: Sequence[str]) -> None:
    """Changes one value of a document, which is the only item of a list."""
    owner, key = _any_node(document, random)
    kind = random.randint(0, 9)
    if kind <= 3:
        owner[key] = _value(random, words)
    elif kind == 4 and isinstance(owner, dict):
        del owner[key]
    elif kind == 5 and isinstance(owner, dict):
        owner[_name(random, words)] = owner.pop(key)
    elif kind == 6 and isinstance(owner, dict):
        owner[_name(random, words)] = _value(random, words)
    elif kind == 7:
        other, name = _any_node(document, random)
        owner[key] = json.loads(json.dumps(other[name]))  # a copy, so that nothing contains itself
    elif kind == 8:
        for _ in range(random.choice((1, 3, 200))):
            owner[key] = [owner[key]] if random.randint(0, 1) else {"a": owner[key]}
    elif isinstance(owner[key], int | float) and not isinstance(owner[key], bool):
        owner[key] = random.choice((-owner[key], owner[key] + 1, owner[key] - 1, owner[key] * 2, str(owner[key])))
    else:
        owner[key] = [owner[key]] * random.choice((0, 1, 3))


def _any_node(document: list[Any], random: Random) -> tuple[Any, Any]:
    """Returns the list or dict that holds a random value, and its index or name."""
    owner: Any = document
    key: Any = 0
    while isinstance(owner[key], dict | list) and owner[key] and random.randint(0, 4):
        owner = owner[key]
        key = random.choice(sorted(owner)) if isinstance(owner, dict) else random.randint(0, len(owner) - 1)
    return owner, key


def _value(random: Random, words: Sequence[str]) -> Any:
    if words and random.randint(0, 2) == 0:
        return random.choice(words)
    return copy.deepcopy(random.choice(ODD_VALUES))  # a part of a document, which is changed further


def _name(random: Random, words: Sequence[str]) -> str:
    return random.choice([*words, "", "a", "__metadata__", "\x1b[31m", "\ud800", "x" * 300])


# === Files with JSON or a pickle inside ===


def of_safetensors(data: bytes, random: Random, words: Sequence[str]) -> bytes:
    """Changes the header of a safetensors file and corrects its length, or changes the bytes."""
    length = int.from_bytes(data[:8], "little")
    if random.randint(0, 5) == 0 or not 0 < length <= len(data) - 8:
        return of_bytes(data, random, words)
    header = of_json(data[8 : 8 + length], random, words)
    return struct.pack("<Q", len(header)) + header + data[8 + length :]


def of_zip(data: bytes, random: Random, words: Sequence[str]) -> bytes:
    """Changes one file of a zip archive and corrects the archive, or changes the bytes."""
    if random.randint(0, 3) == 0:
        return of_bytes(data, random, words)
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            files = {name: archive.read(name) for name in archive.namelist()}
    except Exception:  # of an archive that was changed before, which is changed further
        return of_bytes(data, random, words)
    if not files:
        return of_bytes(data, random, words)
    name = sorted(files, key=lambda name: (not name.endswith("data.pkl"), name))[0]
    name = name if random.randint(0, 3) else random.choice(sorted(files))
    output = io.BytesIO()
    with zipfile.ZipFile(output, "w") as archive:
        for other, content in files.items():
            archive.writestr(other, of_bytes(content, random, words) if other == name else content)
    return output.getvalue()[:MOST_BYTES]
