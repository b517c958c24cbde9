"""The table of docs/concepts/tokenizers.md: where KerasHub, SentencePiece and transformers give different token ids."""

import json

import pytest

from awkward_texts import training_texts

pytestmark = pytest.mark.keras(once=True)

BPE_ALPHABET_MERGES = ["s e", "se l", "' s", "Ġ Ġ", "Ġ a"]
LLAMA = {"model_type": "bpe", "byte_fallback": True, "normalization_rule_name": "identity", "file": "tokenizer.model"}
LLAMA |= {"remove_extra_whitespaces": False}
XLM_R = {"file": "sentencepiece.bpe.model", "model_type": "unigram"}


@pytest.fixture(scope="module")
def folder(tokenizer_peer, tmp_path_factory):
    """Returns the folder of a trained tokenizer of a class."""
    folders = {}
    kinds = {"BertTokenizer": "wordpiece", "RobertaTokenizer": "bytes"}
    kinds |= {"XLMRobertaTokenizer": json.dumps(XLM_R), "LlamaTokenizer": json.dumps(LLAMA)}

    def make(name):
        if name not in folders:
            folders[name] = tmp_path_factory.mktemp(name)
            tokenizer_peer("train", folder=str(folders[name]), kind=kinds[name], texts=training_texts())
            config = json.dumps({"tokenizer_class": name})
            (folders[name] / "tokenizer_config.json").write_text(config, encoding="utf-8")
        return folders[name]

    return make


@pytest.fixture
def compared(folder, tokenizer_peer, tmp_path):
    """Returns the tokens of a text: from Vertebra, transformers and KerasHub, which read the same tokenizer."""
    from vertebra_text import Tokenizer

    def tokens(name, text):
        tokenizer = Tokenizer.from_preset(folder(name))
        tokenizer.save_to_preset(tmp_path / name, format="kerashub")
        (theirs,) = tokenizer_peer(
            "encode", folder=str(folder(name)), texts=[text], name=name, add_special_tokens=False
        )["input_ids"]
        (kerashub,) = tokenizer_peer("encode_kerashub", folder=str(tmp_path / name), texts=[text])
        return [[tokenizer.id_to_token(id) for id in ids] for ids in (tokenizer.tokenize(text), theirs, kerashub)]

    return tokens


CASES = [
    ("BertTokenizer", "the\u00a0fox", ["the", "fox"], ["[UNK]"]),
    ("BertTokenizer", "the\u2028fox", ["the", "fox"], ["[UNK]"]),
    ("BertTokenizer", "the\u200bfox", None, ["the", "fox"]),
    ("BertTokenizer", "the\u0000fox", None, ["the", "fox"]),
    ("BertTokenizer", "①", ["①"], ["1"]),
    ("BertTokenizer", "\u0435" * 60, None, ["[UNK]"]),
    ("RobertaTokenizer", "<unk>", ["<unk>"], None),
    ("XLMRobertaTokenizer", "the\u0085fox", ["▁the", "▁fox"], None),
    ("XLMRobertaTokenizer", "the <s>", ["▁the", "<s>"], None),
]


@pytest.mark.filterwarnings("ignore:KerasHub finds no special tokens")
@pytest.mark.parametrize(("name", "text", "tokens", "kerashub"), CASES, ids=ascii)
def test_kerashub_differs_from_transformers(name, text, tokens, kerashub, compared):
    ours, theirs, others = compared(name, text)
    assert ours == theirs != others
    assert tokens in (None, ours)
    assert kerashub in (None, others)


@pytest.mark.parametrize("text", ["'sel", "  a"])
def test_kerashub_does_not_split_a_text_before_byte_pair_encoding(text, tokenizer_peer, tmp_path):
    import tokenizers

    from vertebra_text import Tokenizer

    alphabet = sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())
    tokens = [*alphabet, *(merge.replace(" ", "") for merge in BPE_ALPHABET_MERGES), "<|endoftext|>"]
    vocabulary = {token: index for index, token in enumerate(tokens)}
    arguments = {"vocabulary": vocabulary, "merges": BPE_ALPHABET_MERGES}
    tokenizer_peer("make_kerashub", folder=str(tmp_path), name="GPT2Tokenizer", arguments=arguments)
    ours = Tokenizer.from_preset(tmp_path).tokenize(text)
    assert [ours] != tokenizer_peer("encode_kerashub", folder=str(tmp_path), texts=[text])
    (tmp_path / "vocab.json").write_text(json.dumps(vocabulary), encoding="utf-8")
    (tmp_path / "merges.txt").write_text("\n".join(BPE_ALPHABET_MERGES), encoding="utf-8")
    (tmp_path / "tokenizer.json").unlink()
    theirs = tokenizer_peer("encode", folder=str(tmp_path), texts=[text], name="GPT2Tokenizer")["input_ids"]
    assert [ours] == theirs


def test_the_file_of_llama_gives_the_ids_of_sentencepiece(folder, tokenizer_peer, tmp_path):
    from vertebra_text import Tokenizer

    state = json.loads(Tokenizer.from_preset(folder("LlamaTokenizer")).backend.to_str())
    signs = {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}
    prefix = {"type": "Prepend", "prepend": "▁"}
    state |= {"pre_tokenizer": None, "normalizer": {"type": "Sequence", "normalizers": [prefix, signs]}}
    (tmp_path / "tokenizer.json").write_text(json.dumps(state), encoding="utf-8")
    (tmp_path / "tokenizer_config.json").write_text('{"tokenizer_class": "LlamaTokenizer"}', encoding="utf-8")
    text = "  the fox"
    (right,) = tokenizer_peer(
        "encode_sentencepiece", file=str(folder("LlamaTokenizer") / "tokenizer.model"), texts=[text]
    )
    assert Tokenizer.from_preset(tmp_path).tokenize(text) == right
    (fast,), (auto,) = (
        tokenizer_peer("encode", folder=str(tmp_path), texts=[text], name=name)["input_ids"]
        for name in ("PreTrainedTokenizerFast", "AutoTokenizer")
    )
    assert right == fast != auto


def test_llama_s_legacy_is_lost_when_transformers_saves(folder, tokenizer_peer, tmp_path):
    from vertebra_text import Tokenizer

    text = ["the <s>fox"]
    source, saved = str(folder("LlamaTokenizer")), str(tmp_path)
    tokenizer_peer("save", folder=saved, source=source, name="LlamaTokenizer", legacy=True)
    again = tokenizer_peer("encode", folder=saved, texts=text, name="LlamaTokenizer")["input_ids"]
    assert Tokenizer.from_preset(saved)(text)["token_ids"].tolist() != again


def test_transformers_takes_an_empty_second_text_for_none(folder, tokenizer_peer):
    from vertebra_text import Tokenizer

    name = "BertTokenizer"
    ours = Tokenizer.from_preset(folder(name))(["a"], [""])["token_ids"].tolist()
    assert ours == tokenizer_peer("encode", folder=str(folder(name)), texts=["a"], pairs=[""], name=name)["input_ids"]
    assert tokenizer_peer("encode_one", folder=str(folder(name)), text="a", pair="", name=name) != ours[0]
