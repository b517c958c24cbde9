"""GGUF files, opened as a load does: the header, the config and the names in it, and the values of all tensors."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import gguf_bytes
from fuzz.target import Read, Target

WORDS = (
    *("GGUF", "general.architecture", "general.alignment", "split.count", "llama", "gemma", "gpt2", "qwen2", "phi3"),
    *("blk.0.attn_q.weight", "blk.0.attn_k.bias", "output.weight", "rope_freqs.weight", "rope_factors_long.weight"),
    *(
        "llama.attention.head_count",
        "llama.rope.scaling.type",
        "yarn",
        "linear",
        "gpt2.block_count",
        "llama.expert_count",
    ),
    *("tokenizer.ggml.model", "tokenizer.ggml.pre", "tokenizer.ggml.tokens", "tokenizer.ggml.merges", "llama-bpe"),
    *("tokenizer.ggml.scores", "tokenizer.ggml.token_type", "tokenizer.ggml.bos_token_id", "tokenizer.chat_template"),
    *("\x00\x00\x00\x00\x00\x00\x00\x80", "\xff\xff\xff\xff\xff\xff\xff\xff", "\x08\x00\x00\x00", "\x09\x00\x00\x00"),
)


@contextlib.contextmanager
def open_preset(folder: Path) -> Iterator[Read]:
    from vertebra._formats.registry import read_description
    from vertebra._resolve.open import open_folder

    path = folder / "model.gguf"

    def read(data: bytes) -> None:
        path.write_bytes(data)
        preset = read_description(open_folder(path)).open()
        for name in preset.entries:
            preset.mapped().view(name)
        preset.backbone_tensors()

    yield read


@contextlib.contextmanager
def open_header(folder: Path) -> Iterator[Read]:
    from vertebra_gguf.format import GgufFormat

    format = GgufFormat()

    def read(data: bytes) -> None:
        end = min(8, len(data))
        while (wanted := min(format.header_end(data[:end]), len(data))) > end:
            end = wanted
        format.header(folder / "model.gguf", memoryview(data[:end] + bytes(len(data) - end)))

    yield read


def seeds() -> list[bytes]:
    llama = [
        gguf_bytes.tensor("token_embd.weight", (4, 32), 8),
        gguf_bytes.tensor("blk.0.attn_q.weight", (8, 256), 12, 160),
        gguf_bytes.tensor("rope_freqs.weight", (2,), 0, 1312),
    ]
    scaled = gguf_bytes.LLAMA | {"llama.rope.scaling.type": "linear", "llama.rope.scaling.factor": 2.0}
    return [
        gguf_bytes.gpt2(),
        gguf_bytes.gguf(scaled, llama, bytes(136) + bytes(24) + bytes(1152) + b"\x00\x00\x80\x3f" * 2),
        gguf_bytes.gguf(gguf_bytes.GPT2, [gguf_bytes.tensor("token_embd.weight", (4, 8), 30)], bytes(64)),
    ]


TARGETS = (
    Target("gguf", open_preset, seeds, words=WORDS, needs=("gguf",)),
    Target("gguf_header", open_header, seeds, words=WORDS),
)
