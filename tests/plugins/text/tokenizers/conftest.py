"""Small tokenizers in each layout, made with the `tokenizers` library alone."""

import json

import pytest
import tokenizers

from awkward_texts import training_texts

BERT = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
ROBERTA = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
SIZE = 800


def write_json(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value), encoding="utf-8")


@pytest.fixture(scope="session")
def vocabularies():
    """A WordPiece and a byte-level BPE vocabulary, and the pieces of a Unigram model."""
    texts = training_texts()
    wordpiece = tokenizers.BertWordPieceTokenizer(lowercase=False, strip_accents=False)
    wordpiece.train_from_iterator(texts, vocab_size=SIZE, min_frequency=1, special_tokens=BERT, show_progress=False)
    bpe = tokenizers.ByteLevelBPETokenizer()
    bpe.train_from_iterator(texts, vocab_size=SIZE, min_frequency=1, special_tokens=ROBERTA, show_progress=False)
    unigram = tokenizers.SentencePieceUnigramTokenizer()
    unigram.train_from_iterator(
        texts, vocab_size=SIZE, show_progress=False, special_tokens=["<unk>"], unk_token="<unk>"
    )
    merges = json.loads(bpe.to_str())["model"]["merges"]
    return {
        "wordpiece": sorted(wordpiece.get_vocab(), key=wordpiece.get_vocab().get),
        "bpe": bpe.get_vocab(),
        "merges": [pair if isinstance(pair, str) else " ".join(pair) for pair in merges],
        "unigram": [tuple(piece) for piece in json.loads(unigram.to_str())["model"]["vocab"] if piece[0] != "<unk>"],
    }


@pytest.fixture
def spm(vocabularies):
    """Returns the bytes of a SentencePiece model of Unigram type."""
    from vertebra_text.tokenizers.files.sentencepiece import CONTROL, UNKNOWN, Piece, SentencePieceModel, dump_model

    first = (Piece("<unk>", 0.0, UNKNOWN), Piece("<s>", 0.0, CONTROL), Piece("</s>", 0.0, CONTROL))
    return dump_model(SentencePieceModel((*first, *(Piece(text, score) for text, score in vocabularies["unigram"]))))


@pytest.fixture
def make(vocabularies, spm, tmp_path):
    """Writes a tokenizer of a kind into a new folder, and returns the folder."""

    def folder(kind, config=None, **files):
        path = tmp_path / f"{kind}{len(list(tmp_path.iterdir()))}"
        path.mkdir()
        if kind == "bert":
            (path / "vocab.txt").write_text("".join(f"{token}\n" for token in vocabularies["wordpiece"]), "utf-8")
        elif kind == "roberta":
            write_json(path / "vocab.json", vocabularies["bpe"])
            (path / "merges.txt").write_text("#version: 0.2\n" + "\n".join(vocabularies["merges"]) + "\n", "utf-8")
        elif kind == "xlm-roberta":
            (path / "sentencepiece.bpe.model").write_bytes(spm)
            config = {"tokenizer_class": "XLMRobertaTokenizer"} | (config or {})
        if config is not None:
            write_json(path / "tokenizer_config.json", config)
        for name, value in files.items():
            write_json(path / f"{name}.json", value)
        return path

    return folder


@pytest.fixture
def make_kerashub(vocabularies, spm, tmp_path):
    """Writes a tokenizer in KerasHub's layout into a new folder, and returns the folder."""

    def folder(name, **config):
        path = tmp_path / f"{name}{len(list(tmp_path.iterdir()))}"
        assets = path / "assets" / "tokenizer"
        assets.mkdir(parents=True)
        write_json(
            path / "tokenizer.json", {"class_name": name, "config": config, "registered_name": f"keras_hub>{name}"}
        )
        if name in ("BertTokenizer", "DistilBertTokenizer"):
            (assets / "vocabulary.txt").write_text(
                "".join(f"{token}\n" for token in vocabularies["wordpiece"]), "utf-8"
            )
        elif name == "RobertaTokenizer":
            write_json(assets / "vocabulary.json", vocabularies["bpe"])
            (assets / "merges.txt").write_text("\n".join(vocabularies["merges"]) + "\n", "utf-8")
        else:
            (assets / "vocabulary.spm").write_bytes(spm)
        return path

    return folder


@pytest.fixture
def read():
    """Reads the tokenizer of a folder."""
    from vertebra_text import Tokenizer

    return Tokenizer.from_preset


@pytest.fixture
def bert(make, read):
    return read(make("bert"))
