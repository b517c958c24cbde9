"""Small tokenizers of the families of decoders, trained with the `tokenizers` library and read from their files."""

import functools
import json
import tempfile
from pathlib import Path

import tokenizers
from tokenizers import AddedToken, decoders, models, normalizers, pre_tokenizers, trainers

from awkward_texts import training_texts
from vertebra_text import Tokenizer

SIZE = 500
SPECIAL = ["<pad>", "<s>", "</s>", "<unk>"]
BYTES = [f"<0x{number:02X}>" for number in range(256)]


def byte_level():
    """As GPT-2, Llama 3 and Qwen."""
    backend = tokenizers.Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    return backend, trainers.BpeTrainer(vocab_size=SIZE, initial_alphabet=alphabet, special_tokens=SPECIAL)


def sentencepiece_bytes(strip):
    """As Llama 2 and Mistral (with `strip`) or Gemma: characters that the vocabulary lacks are bytes."""
    backend = tokenizers.Tokenizer(models.BPE(byte_fallback=True, fuse_unk=True, unk_token="<unk>"))
    steps = [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    backend.normalizer = normalizers.Sequence(steps if strip else steps[1:])
    last = [decoders.Strip(" ", 1, 0)] if strip else []
    backend.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), *last])
    return backend, trainers.BpeTrainer(vocab_size=SIZE, special_tokens=[*SPECIAL, *BYTES], limit_alphabet=60)


def metaspace():
    """As T5 and XLM-R."""
    backend = tokenizers.Tokenizer(models.Unigram())
    backend.pre_tokenizer = pre_tokenizers.Metaspace()
    backend.decoder = decoders.Metaspace()
    return backend, trainers.UnigramTrainer(vocab_size=SIZE, special_tokens=SPECIAL, unk_token="<unk>")


def wordpiece():
    """As BERT, whose texts lose the spaces before punctuation marks."""
    backend = tokenizers.Tokenizer(models.WordPiece(unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.decoder = decoders.WordPiece(cleanup=False)
    special = ["[PAD]", "[CLS]", "[SEP]", "[UNK]", "[MASK]"]
    return backend, trainers.WordPieceTrainer(vocab_size=SIZE, special_tokens=special)


KINDS = {
    "byte_level": byte_level,
    "byte_fallback": lambda: sentencepiece_bytes(strip=True),
    "byte_fallback_without_prefix": lambda: sentencepiece_bytes(strip=False),
    "metaspace": metaspace,
    "wordpiece": wordpiece,
}


@functools.cache
def tokenizer(kind):
    """Returns a tokenizer of a kind."""
    backend, trainer = KINDS[kind]()
    texts = [*training_texts(), "i do n't say 's , it 're . no ! i 've ' m ? ' quoted '"]
    backend.train_from_iterator(texts, trainer)
    if kind != "wordpiece":
        backend.add_special_tokens([AddedToken("<|end|>", special=True, normalized=False)])
    with tempfile.TemporaryDirectory() as folder:
        document = json.loads(backend.to_str())
        document["added_tokens"] = [item for item in document["added_tokens"] if item["content"] not in BYTES]
        Path(folder, "tokenizer.json").write_text(json.dumps(document), encoding="utf-8")
        config = {"tokenizer_class": "PreTrainedTokenizerFast", "clean_up_tokenization_spaces": kind == "wordpiece"}
        if kind != "wordpiece":
            config |= {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"}
        Path(folder, "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
        Path(folder, "config.json").write_text(json.dumps({"model_type": "llama"}), encoding="utf-8")
        return Tokenizer.from_preset(folder)
