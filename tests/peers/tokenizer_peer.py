"""transformers, KerasHub, SentencePiece and tokenizers in a child process: train tokenizers, and encode texts."""

import functools
import importlib
import json
from pathlib import Path

import tokenizers
import transformers
from serving import serve

SPECIAL = {
    "wordpiece": ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"],
    "mpnet": ["<s>", "<pad>", "</s>", "[UNK]", "<mask>"],
    "bytes": ["<s>", "<pad>", "</s>", "<unk>", "<mask>"],
    "gpt2": ["<|endoftext|>"],
}


def train(folder, kind, texts, size=900):
    """Writes the vocabulary files of a kind of tokenizer into a folder, trained on texts."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    if kind in ("wordpiece", "mpnet"):
        made = tokenizers.BertWordPieceTokenizer(lowercase=False, strip_accents=False)
        made.train_from_iterator(
            texts, vocab_size=size, min_frequency=1, special_tokens=SPECIAL[kind], show_progress=False
        )
        made.save_model(folder)
    elif kind in ("bytes", "gpt2"):
        made = tokenizers.ByteLevelBPETokenizer()
        made.train_from_iterator(
            texts, vocab_size=size, min_frequency=1, special_tokens=SPECIAL[kind], show_progress=False
        )
        made.save_model(folder)
    elif kind == "modernbert":
        train_modernbert(folder, texts, size)
    else:
        train_sentencepiece(folder, texts, **json.loads(kind), vocab_size=size, character_coverage=0.98)


def train_modernbert(folder, texts, size):
    """Writes a `tokenizer.json` like ModernBERT's: byte pairs without a prefix space, and runs of spaces as tokens."""
    special = ["<|padding|>", "<|endoftext|>"]
    made = tokenizers.Tokenizer(tokenizers.models.BPE())
    made.normalizer = tokenizers.normalizers.NFC()
    made.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = tokenizers.decoders.ByteLevel()
    alphabet = tokenizers.pre_tokenizers.ByteLevel.alphabet()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=size, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    made.train_from_iterator(texts, trainer)
    made.add_tokens(
        [tokenizers.AddedToken(text, normalized=False) for text in ("|||IP_ADDRESS|||", "|||EMAIL_ADDRESS|||")]
    )
    made.add_tokens([tokenizers.AddedToken(" " * count, normalized=True) for count in range(24, 1, -1)])
    made.add_special_tokens(["[UNK]", "[CLS]", "[SEP]", "[PAD]", tokenizers.AddedToken("[MASK]", lstrip=True)])
    ids = [(token, made.token_to_id(token)) for token in ("[CLS]", "[SEP]")]
    made.post_processor = tokenizers.processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=ids
    )
    made.save(str(Path(folder, "tokenizer.json")))


def train_sentencepiece(folder, texts, file, **options):
    import sentencepiece

    prefix = str(Path(folder, "trained"))
    sentences = [line for text in texts for line in text.replace("\0", "").splitlines() if line.strip()]
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(sentences), model_prefix=prefix, minloglevel=2, hard_vocab_limit=False, **options
    )
    Path(f"{prefix}.model").rename(Path(folder, file))
    Path(f"{prefix}.vocab").unlink()


def save(folder, source, name="AutoTokenizer", **options):
    """Saves the tokenizer of a folder with transformers in another folder."""
    getattr(transformers, name).from_pretrained(source, **options).save_pretrained(folder)


@functools.lru_cache(maxsize=4)
def loaded(folder, name):
    return getattr(transformers, name).from_pretrained(folder)


def encode(folder, texts, name="AutoTokenizer", pairs=None, **options):
    """Returns the token ids of transformers, and everything else that it returns."""
    found = loaded(folder, name)(texts, pairs, **options)
    return {key: [list(row) for row in found[key]] for key in found}


def encode_one(folder, text, pair, name):
    """Returns the token ids of one pair that is not in a list."""
    return list(loaded(folder, name)(text, pair)["input_ids"])


def decode(folder, rows, name="AutoTokenizer", **options):
    """Returns the texts of token ids."""
    return [loaded(folder, name).decode(row, **options) for row in rows]


def special(folder, name="AutoTokenizer"):
    """Returns the special tokens with their ids, and the size of the vocabulary."""
    tokenizer = loaded(folder, name)
    roles = ("bos", "eos", "unk", "sep", "pad", "cls", "mask")
    return {role: getattr(tokenizer, f"{role}_token_id") for role in roles} | {"size": len(tokenizer)}


def make_kerashub(folder, name, arguments):
    """Saves a tokenizer of KerasHub."""
    keras_hub = importlib.import_module("keras_hub")
    getattr(keras_hub.models, name)(**arguments).save_to_preset(folder)


@functools.lru_cache(maxsize=4)
def kerashub_loaded(folder):
    """Loads a tokenizer of KerasHub by its config; its base class would need a backbone in the folder."""
    keras = importlib.import_module("keras")
    importlib.import_module("keras_hub")
    config = json.loads(Path(folder, "tokenizer.json").read_text(encoding="utf-8"))
    made = keras.saving.deserialize_keras_object(config)
    made.load_preset_assets(folder)
    return made


def encode_kerashub(folder, texts):
    """Returns the token ids of KerasHub, without special tokens."""
    return [[int(token) for token in row] for row in kerashub_loaded(folder).tokenize(texts)]


def preprocess_kerashub(folder, name, texts):
    """Returns the token ids of a preprocessor of KerasHub that is loaded from a preset, with padding."""
    models = importlib.import_module("keras_hub").models
    return [list(map(int, row)) for row in getattr(models, name).from_preset(folder)(texts)["token_ids"]]


def encode_sentencepiece(file, texts):
    """Returns the token ids of SentencePiece itself."""
    import sentencepiece

    return sentencepiece.SentencePieceProcessor(model_file=file).encode(texts)


def versions():
    names = ("transformers", "tokenizers", "sentencepiece")
    return {name: importlib.import_module(name).__version__ for name in names}


if __name__ == "__main__":
    serve(
        train=train,
        save=save,
        encode=encode,
        encode_one=encode_one,
        decode=decode,
        special=special,
        make_kerashub=make_kerashub,
        encode_kerashub=encode_kerashub,
        preprocess_kerashub=preprocess_kerashub,
        encode_sentencepiece=encode_sentencepiece,
        versions=versions,
    )
