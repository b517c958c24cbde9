"""Files of tokenizers: read, and used for a text."""

import contextlib
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from fuzz.mutations import of_bytes, of_json, of_lines
from fuzz.target import Read, Target

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
TOKENS = (*SPECIAL, *"abcdehlorw", "##e", "##l", "##o", "##d", "hello", "wor", "world", "##ld")


def opening(name: str, others: Mapping[str, str]) -> Callable[[Path], contextlib.AbstractContextManager[Read]]:
    """Returns what opens a target: a preset whose tokenizer has the input under a name, next to other files."""

    @contextlib.contextmanager
    def opened(folder: Path) -> Iterator[Read]:
        from vertebra import PresetHandle
        from vertebra._tasks.preset_files import LocalFiles
        from vertebra_text.tokenizers.pretrained import PretrainedTokenizer

        for other, text in others.items():
            (folder / other).write_text(text)
        path = folder / name
        path.touch()
        files = LocalFiles.of_folder(PresetHandle("file", str(folder)), folder)

        def read(data: bytes) -> None:
            path.write_bytes(data)
            tokenizer = PretrainedTokenizer.read(files)
            encoded = tokenizer(["hello world", "a\u00e9 [MASK]"], max_length=16)
            tokenizer.detokenize(encoded["token_ids"])
            tokenizer.get_vocabulary()

        yield read

    return opened


def tokenizer_json() -> list[bytes]:
    """Returns a tokenizer of each model of the library."""
    import tokenizers
    from tokenizers import models, normalizers, pre_tokenizers, processors

    vocabulary = {token: index for index, token in enumerate(TOKENS)}
    wordpiece = tokenizers.Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    wordpiece.normalizer, wordpiece.pre_tokenizer = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
    pair = [("[SEP]", vocabulary["[SEP]"]), ("[CLS]", vocabulary["[CLS]"])]
    wordpiece.post_processor = processors.BertProcessing(*pair)
    wordpiece.add_special_tokens(list(SPECIAL))
    bpe = tokenizers.Tokenizer(models.BPE({"h": 0, "e": 1, "l": 2, "he": 3, "hel": 4}, [("h", "e"), ("he", "l")]))
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel()
    unigram = tokenizers.Tokenizer(models.Unigram([("<unk>", 0.0), ("h", -1.0), ("he", -2.0)], unk_id=0))
    unigram.post_processor = processors.TemplateProcessing(single="$A <unk>", special_tokens=[("<unk>", 0)])
    word = tokenizers.Tokenizer(models.WordLevel({"hello": 0, "[UNK]": 1}, unk_token="[UNK]"))
    return [tokenizer.to_str().encode() for tokenizer in (wordpiece, bpe, unigram, word)]


def sentencepiece_seeds() -> list[bytes]:
    from vertebra_text.tokenizers.files.sentencepiece import CONTROL, UNKNOWN, Piece, SentencePieceModel, dump_model

    pieces = [Piece("<unk>", 0.0, UNKNOWN), Piece("<s>", 0.0, CONTROL), Piece("</s>", 0.0, CONTROL)]
    pieces += [Piece(text, -float(index)) for index, text in enumerate(("\u2581", "\u2581he", "l", "lo", "wor", "ld"))]
    return [dump_model(SentencePieceModel(tuple(pieces)))]


def vocabulary() -> list[bytes]:
    return ["".join(f"{token}\n" for token in TOKENS).encode()]


BPE = {"<s>": 0, "<pad>": 1, "</s>": 2, "<unk>": 3, "<mask>": 4, "h": 5, "e": 6, "l": 7, "o": 8, "he": 9, "hel": 10}
BPE |= {"\u0120": 11}
MERGES = "#version: 0.2\nh e\nhe l\n"
BERT, ROBERTA = {"tokenizer_class": "BertTokenizer"}, {"tokenizer_class": "RobertaTokenizer"}
XLM = {"tokenizer_class": "XLMRobertaTokenizer"}
CONFIG = "tokenizer_config.json"
JSON_WORDS = (
    *("model", "type", "vocab", "merges", "unk_token", "WordPiece", "BPE", "Unigram", "WordLevel", "added_tokens"),
    *(
        "content",
        "special",
        "normalized",
        "single_word",
        "post_processor",
        "TemplateProcessing",
        "normalizer",
        "Sequence",
    ),
    *("pre_tokenizer", "ByteLevel", "Split", "pattern", "Regex", "(a+)+$", "[", "decoder", "truncation", "padding"),
    *("strategy", "Fixed", "pad_id", "unk_id", "byte_fallback", "continuing_subword_prefix", "dropout", "Precompiled"),
)
CONFIG_WORDS = (
    *("tokenizer_class", "BertTokenizer", "model_max_length", "padding_side", "left", "added_tokens_decoder", "lstrip"),
    *("auto_map", "chat_template", "do_lower_case", "unk_token", "mask_token", "extra_special_tokens", "content"),
    *("{{ self.__class__ }}", "additional_special_tokens", "model_input_names", "[MASK]", "__type", "AddedToken"),
)

NEEDS = ("tokenizers",)
TARGETS = [
    Target("tokenizer-json", opening("tokenizer.json", {}), tokenizer_json, of_json, JSON_WORDS, NEEDS),
    Target(
        "tokenizer-config",
        opening(CONFIG, {"vocab.txt": vocabulary()[0].decode()}),
        lambda: [json.dumps(BERT | {"model_max_length": 512, "do_lower_case": True, "unk_token": "[UNK]"}).encode()],
        of_json,
        CONFIG_WORDS,
        NEEDS,
    ),
    Target("vocab-txt", opening("vocab.txt", {CONFIG: json.dumps(BERT)}), vocabulary, of_lines, TOKENS, NEEDS),
    Target(
        "vocab-json",
        opening("vocab.json", {CONFIG: json.dumps(ROBERTA), "merges.txt": MERGES}),
        lambda: [json.dumps(BPE).encode()],
        of_json,
        tuple(BPE),
        NEEDS,
    ),
    Target(
        "merges",
        opening("merges.txt", {CONFIG: json.dumps(ROBERTA), "vocab.json": json.dumps(BPE)}),
        lambda: [MERGES.encode()],
        of_lines,
        ("h e", "he l", "#version: 0.2", *BPE),
        NEEDS,
    ),
    Target(
        "sentencepiece",
        opening("sentencepiece.bpe.model", {CONFIG: json.dumps(XLM)}),
        sentencepiece_seeds,
        of_bytes,
        ("<unk>", "<s>", "\u2581", "\n\x05\n\x03", "\x15", "\x18\x02", "\x1a\x04"),
        NEEDS,
    ),
]
