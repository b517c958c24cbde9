"""GGUF files byte by byte, sound or not: the `gguf` package writes sound ones only."""

import struct

NUMBERS = {
    "u8": 0,
    "i8": 1,
    "u16": 2,
    "i16": 3,
    "u32": 4,
    "i32": 5,
    "f32": 6,
    "bool": 7,
    "u64": 10,
    "i64": 11,
    "f64": 12,
}
FORMATS = dict(zip(NUMBERS, "BbHhIif?Qqd", strict=True))


def text(value):
    content = value if isinstance(value, bytes) else value.encode()
    return struct.pack("<Q", len(content)) + content


def typed(value):
    """Returns the type and the bytes of a value: a text, a flag, an int, a float, a list of one kind, or raw bytes."""
    if isinstance(value, bytes):
        return value
    if isinstance(value, str):
        return struct.pack("<I", 8) + text(value)
    if isinstance(value, list):
        kind = 8 if value and isinstance(value[0], str) else 6 if value and isinstance(value[0], float) else 5
        items = (text(item) if kind == 8 else struct.pack("<f" if kind == 6 else "<i", item) for item in value)
        return struct.pack("<IIQ", 9, kind, len(value)) + b"".join(items)
    kind = "bool" if isinstance(value, bool) else "f32" if isinstance(value, float) else "u32"
    return struct.pack("<I", NUMBERS[kind]) + struct.pack(f"<{FORMATS[kind]}", value)


def tensor(name, shape, kind=0, offset=0):
    """Returns the description of a tensor; `shape` has the outermost axis first."""
    axes = struct.pack(f"<{len(shape)}Q", *reversed(shape))
    return text(name) + struct.pack("<I", len(shape)) + axes + struct.pack("<IQ", kind, offset)


def gguf(fields=(), tensors=(), data=b"", *, counts=None, version=3, magic=b"GGUF", alignment=32):
    """Returns a file.

    Args:
        fields: Values by key, or pairs of them.
        tensors: Descriptions, as `tensor` returns them.
        data: The bytes of the tensors.
        counts: The numbers of tensors and fields that the header claims, or None for the true ones.
        version: The version.
        magic: The first four bytes.
        alignment: The multiple at which the data begins.
    """
    pairs = list(fields.items() if isinstance(fields, dict) else fields)
    counts = counts or (len(tensors), len(pairs))
    header = magic + struct.pack("<IQQ", version, *counts)
    header += b"".join(text(key) + typed(value) for key, value in pairs) + b"".join(tensors)
    return header + bytes(-len(header) % alignment) + data


LLAMA = {
    "general.architecture": "llama",
    "llama.context_length": 32,
    "llama.embedding_length": 8,
    "llama.block_count": 1,
    "llama.feed_forward_length": 16,
    "llama.attention.head_count": 2,
    "llama.attention.head_count_kv": 1,
    "llama.attention.layer_norm_rms_epsilon": 1e-5,
}
"""The fields of a tiny Llama."""
GPT2 = {
    "general.architecture": "gpt2",
    "gpt2.context_length": 16,
    "gpt2.embedding_length": 8,
    "gpt2.block_count": 1,
    "gpt2.feed_forward_length": 32,
    "gpt2.attention.head_count": 2,
    "gpt2.attention.layer_norm_epsilon": 1e-5,
}
"""The fields of a tiny GPT-2."""
TOKENIZER = {
    "tokenizer.ggml.model": "gpt2",
    "tokenizer.ggml.pre": "gpt-2",
    "tokenizer.ggml.tokens": ["a", "b", "ab", "<end>"],
    "tokenizer.ggml.token_type": [1, 1, 1, 3],
    "tokenizer.ggml.merges": ["a b"],
    "tokenizer.ggml.eos_token_id": 3,
}
"""The fields of a tiny tokenizer."""
SHAPES = {
    "token_embd.weight": (4, 8),
    "position_embd.weight": (16, 8),
    "output_norm.weight": (8,),
    "output_norm.bias": (8,),
    "blk.0.attn_norm.weight": (8,),
    "blk.0.attn_norm.bias": (8,),
    "blk.0.attn_qkv.weight": (24, 8),
    "blk.0.attn_qkv.bias": (24,),
    "blk.0.attn_output.weight": (8, 8),
    "blk.0.attn_output.bias": (8,),
    "blk.0.ffn_norm.weight": (8,),
    "blk.0.ffn_norm.bias": (8,),
    "blk.0.ffn_up.weight": (32, 8),
    "blk.0.ffn_up.bias": (32,),
    "blk.0.ffn_down.weight": (8, 32),
    "blk.0.ffn_down.bias": (8,),
}
"""The tensors of a tiny GPT-2."""


def gpt2(**changed):
    """Returns a whole tiny GPT-2 with a tokenizer; `changed` fields are left out where they are None.

    A field `gpt2.x` is named `gpt2__x` here.
    """
    named = {key.replace("__", "."): value for key, value in changed.items()}
    fields = {key: value for key, value in {**GPT2, **TOKENIZER, **named}.items() if value is not None}
    described, position = [], 0
    for name, shape in SHAPES.items():
        described.append(tensor(name, shape, 0, position))
        position += 4 * (shape[0] * shape[-1] if len(shape) == 2 else shape[0])
    return gguf(fields, described, bytes(range(1, 65)) * (position // 64) + bytes(position % 64))
