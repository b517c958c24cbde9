"""GGUF files whose headers claim more than they hold: advisories of llama.cpp's own reader, which is not used."""

import struct
from collections.abc import Iterator
from functools import partial

from faults.advisories.payload import Operations, Payload, Site

from gguf_bytes import GPT2, gguf, tensor, text

MOST = 2**64 - 1
WRAPPED = 2**61 + 1
"""Times eight bytes, it is eight again in 64 bits."""


def reading(data: bytes, site: Site) -> Operations:
    """Returns operations that read a file: an inspection, its files, and a plan."""
    import vertebra
    from vertebra._presets.inspect import inspect_preset
    from vertebra._presets.plan import plan_preset

    path = site.folder / "model.gguf"
    path.write_bytes(data)
    return (
        partial(inspect_preset, str(path)),
        partial(vertebra.open_files, path),
        partial(plan_preset, str(path)),
    )


def payloads(**files: bytes) -> Iterator[Payload]:
    for name, data in files.items():
        yield Payload(name.replace("_", " "), partial(reading, data), keras=False)


def array(kind: int, count: int, content: bytes = b"") -> dict[str, bytes]:
    return {"tokenizer.ggml.tokens": struct.pack("<IIQ", 9, kind, count) + content}


def advisories() -> dict[str, list[Payload]]:
    """Returns the payloads by advisory."""
    described = [tensor("token_embd.weight", (4, 8))]
    return {
        "CVE-2024-21802": [
            *payloads(
                five_axes=gguf(GPT2, [text("x") + struct.pack("<I5Q", 5, *[2] * 5) + bytes(12)]),
                many_axes=gguf(GPT2, [text("x") + struct.pack("<I", 2**32 - 1) + bytes(64)]),
            )
        ],
        "CVE-2024-21825": [
            *payloads(
                an_array_of_texts=gguf(GPT2 | array(8, MOST)),
                an_array_that_wraps=gguf(GPT2 | array(8, WRAPPED, text("a"))),
                an_array_of_arrays=gguf(GPT2 | array(9, 2, bytes(64))),
                an_array_of_numbers=gguf(GPT2 | array(12, WRAPPED, bytes(64))),
            )
        ],
        "CVE-2024-21836": [
            *payloads(
                tensors=gguf(GPT2, described, counts=(MOST, len(GPT2))),
                tensors_that_wrap=gguf(GPT2, described, counts=(WRAPPED, len(GPT2))),
                tensors_that_are_not_there=gguf(GPT2, described, counts=(99_999, len(GPT2))),
            )
        ],
        "CVE-2024-23496": [
            *payloads(
                a_key=b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, MOST) + bytes(64),
                a_text=gguf(GPT2 | {"general.name": struct.pack("<IQ", 8, MOST)}),
                a_name=gguf(GPT2, [struct.pack("<Q", MOST) + bytes(64)]),
                a_token=gguf(GPT2 | array(8, 2, struct.pack("<Q", MOST) + bytes(64))),
            )
        ],
        "CVE-2024-23605": [
            *payloads(
                fields=gguf(GPT2, described, counts=(1, MOST)),
                fields_that_wrap=gguf(GPT2, described, counts=(1, WRAPPED)),
                fields_that_are_not_there=gguf(GPT2, described, counts=(1, 9_999)),
            )
        ],
        "CVE-2025-53630": [
            *payloads(
                sizes_that_wrap=gguf(GPT2, [tensor(f"x{i}", (2**31 - 1, 2**31 - 1), 0, 0) for i in range(4)]),
                an_offset_that_wraps=gguf(GPT2, [tensor("token_embd.weight", (4, 8), 0, MOST - 31)], bytes(128)),
                an_axis_that_wraps=gguf(GPT2, [tensor("token_embd.weight", (WRAPPED, 8))], bytes(128)),
            )
        ],
    }
