"""Tokenizers: the same ids as transformers' for awkward texts, in each layout of the files, and back again."""

import json
import shutil
from dataclasses import dataclass, field

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from awkward_texts import PUNCTUATION, SPACES, SPECIAL, WORDS, awkward_texts, training_texts

pytestmark = pytest.mark.keras(once=True)

COUNT = 20_000
ROLES = ("bos", "eos", "unk", "sep", "pad", "cls", "mask")
SPM_BPE = {"model_type": "bpe", "byte_fallback": True, "split_digits": True, "normalization_rule_name": "identity"}
SPM_BPE |= {"remove_extra_whitespaces": False, "file": "tokenizer.model"}
GEMMA = SPM_BPE | {"pad_id": 0, "eos_id": 1, "bos_id": 2, "unk_id": 3, "add_dummy_prefix": False}
GEMMA |= {"bos_piece": "<bos>", "eos_piece": "<eos>", "user_defined_symbols": ["<mask>", "<start_of_turn>"]}
T5 = {"file": "spiece.model", "model_type": "unigram", "pad_id": 0, "eos_id": 1, "unk_id": 2, "bos_id": -1}
XLM_R = {"file": "sentencepiece.bpe.model", "model_type": "unigram"}
MODERNBERT = {
    "unk_token": "[UNK]",
    "cls_token": "[CLS]",
    "sep_token": "[SEP]",
    "pad_token": "[PAD]",
    "mask_token": "[MASK]",
}


@dataclass(frozen=True)
class Kind:
    """A tokenizer to train: the kind of vocabulary, and the content of `tokenizer_config.json`."""

    vocabulary: object
    name: str
    options: dict = field(default_factory=dict)

    @property
    def config(self):
        return {"tokenizer_class": self.name, **self.options}

    def train(self, peer, folder):
        kind = self.vocabulary if isinstance(self.vocabulary, str) else json.dumps(self.vocabulary)
        peer("train", folder=str(folder), kind=kind, texts=training_texts())
        (folder / "tokenizer_config.json").write_text(json.dumps(self.config), encoding="utf-8")


KINDS = {
    "bert": Kind("wordpiece", "BertTokenizer"),
    "bert-cased": Kind("wordpiece", "BertTokenizer", {"do_lower_case": False}),
    "bert-accents": Kind("wordpiece", "BertTokenizer", {"strip_accents": False, "tokenize_chinese_chars": False}),
    "distilbert": Kind("wordpiece", "DistilBertTokenizer"),
    "mpnet": Kind("mpnet", "MPNetTokenizer"),
    "roberta": Kind("bytes", "RobertaTokenizer"),
    "roberta-prefix": Kind("bytes", "RobertaTokenizer", {"add_prefix_space": True}),
    "gpt2": Kind("gpt2", "GPT2Tokenizer"),
    "modernbert": Kind("modernbert", "PreTrainedTokenizerFast", MODERNBERT),
    "xlm-roberta": Kind(XLM_R, "XLMRobertaTokenizer"),
    "camembert": Kind(XLM_R, "CamembertTokenizer"),
    "t5": Kind(T5, "T5Tokenizer"),
    "gemma": Kind(GEMMA, "GemmaTokenizer", {"add_bos_token": True}),
    "llama": Kind(SPM_BPE, "LlamaTokenizer", {"add_bos_token": True}),
    "llama-legacy": Kind(SPM_BPE, "LlamaTokenizer", {"add_bos_token": True, "add_eos_token": True, "legacy": True}),
}
kinds = pytest.mark.parametrize("name", KINDS)


@pytest.fixture(scope="session")
def trained(tokenizer_peer, tmp_path_factory):
    """Returns the folder of a trained tokenizer: a config, and vocabulary files or ModernBERT's `tokenizer.json`."""
    folders = {}

    def folder(name):
        if name not in folders:
            folders[name] = tmp_path_factory.mktemp(name)
            KINDS[name].train(tokenizer_peer, folders[name])
        return folders[name]

    return folder


@pytest.fixture(scope="session")
def texts():
    return awkward_texts(COUNT)


def read(folder):
    from vertebra_text import Tokenizer

    return Tokenizer.from_preset(folder)


def ids_of(tokenizer, texts, **options):
    found = tokenizer(texts, truncation=False, **options)
    return [row[mask == 1].tolist() for row, mask in zip(found["token_ids"], found["padding_mask"], strict=True)]


def different(texts, ours, theirs):
    """Returns the first texts with different ids."""
    return [(text, *pair) for text, *pair in zip(texts, ours, theirs, strict=True) if pair[0] != pair[1]][:3]


# === The same ids ===


@kinds
def test_all_layouts_give_the_ids_of_transformers(name, trained, texts, tokenizer_peer, tmp_path):
    theirs = tokenizer_peer("encode", folder=str(trained(name)), texts=texts, name=KINDS[name].name)["input_ids"]
    assert different(texts, ids_of(read(trained(name)), texts), theirs) == []

    tokenizer_peer("save", folder=str(tmp_path / "5"), source=str(trained(name)), name=KINDS[name].name)
    assert different(texts, ids_of(read(tmp_path / "5"), texts), theirs) == []

    written = read(trained(name)).save_to_preset(tmp_path / "written", format="transformers")
    assert written == ["special_tokens_map.json", "tokenizer.json", "tokenizer_config.json"]
    assert different(texts, ids_of(read(tmp_path / "written"), texts), theirs) == []
    few = texts[:2000]
    found = tokenizer_peer("encode", folder=str(tmp_path / "written"), texts=few)["input_ids"]
    assert different(few, found, theirs[:2000]) == []


@kinds
def test_any_text_gives_the_ids_of_transformers(name, trained, tokenizer_peer):
    tokenizer = read(trained(name))
    pieces = st.sampled_from([*WORDS, *SPACES, *SPECIAL, *PUNCTUATION]) | st.text(max_size=8)
    text = st.lists(pieces, max_size=12).map("".join)

    @settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(st.lists(text, min_size=50, max_size=60))
    def compare(texts):
        theirs = tokenizer_peer("encode", folder=str(trained(name)), texts=texts, name=KINDS[name].name)["input_ids"]
        assert different(texts, ids_of(tokenizer, texts), theirs) == []

    compare()


@kinds
def test_special_tokens_and_sizes_are_those_of_transformers(name, trained, tokenizer_peer):
    tokenizer = read(trained(name))
    found = {role: getattr(tokenizer, f"{role}_token_id") for role in ROLES} | {"size": tokenizer.vocabulary_size()}
    assert found == tokenizer_peer("special", folder=str(trained(name)), name=KINDS[name].name)


# === Pairs, truncation, padding ===


OPTIONS = [
    {"padding": True},
    {"padding": True, "pad_to_multiple_of": 8},
    {"padding": "max_length", "max_length": 20, "truncation": True},
    {"padding": True, "max_length": 11, "truncation": "longest_first"},
    {"padding": True, "max_length": 9, "truncation": "longest_first", "padding_side": "left"},
    {"padding": True, "max_length": 12, "truncation": True, "add_special_tokens": False},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("paired", [False, True], ids=["texts", "pairs"])
@pytest.mark.parametrize("name", ["bert", "roberta", "xlm-roberta", "t5", "mpnet"])
def test_rows_are_those_of_transformers(name, paired, options, trained, tokenizer_peer):
    texts = awkward_texts(800)[300:]
    pairs = texts[::-1] if paired else None
    wanted = {"return_offsets_mapping": True, "return_special_tokens_mask": True}
    theirs = tokenizer_peer(
        "encode", folder=str(trained(name)), texts=texts, name=KINDS[name].name, pairs=pairs, **options, **wanted
    )
    ours = read(trained(name))(texts, pairs, **{"truncation": False, **options}, **wanted)
    names = {"token_ids": "input_ids", "padding_mask": "attention_mask", "segment_ids": "token_type_ids"}
    assert (set(ours) == {*names, "offset_mapping", "special_tokens_mask"}) == (name == "bert")
    for key, array in ours.items():
        expected = theirs[names.get(key, key)]
        assert different(texts, array.tolist(), [[_plain(item) for item in row] for row in expected]) == [], key


def _plain(item):
    return list(item) if isinstance(item, list | tuple) else item


@pytest.mark.parametrize("strategy", ["only_first", "only_second"])
def test_one_text_of_a_pair_is_truncated_as_in_transformers(strategy, trained, tokenizer_peer):
    texts, pairs = ["a quick brown fox jumps " * 3] * 3, ["the lazy dogs " * 3, "the lazy dogs " * 4, "the " * 12]
    options = {"max_length": 50, "truncation": strategy, "padding": True}
    theirs = tokenizer_peer(
        "encode", folder=str(trained("bert")), texts=texts, name="BertTokenizer", pairs=pairs, **options
    )
    assert read(trained("bert"))(texts, pairs, **options)["token_ids"].tolist() == theirs["input_ids"]


@pytest.mark.parametrize("clean", [False, True])
@pytest.mark.parametrize("name", KINDS)
def test_ids_are_decoded_as_in_transformers(name, clean, trained, tokenizer_peer, tmp_path):
    for path in trained(name).iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    config = KINDS[name].config | {"clean_up_tokenization_spaces": clean}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
    tokenizer = read(tmp_path)
    texts = awkward_texts(600)
    rows = ids_of(tokenizer, texts)
    for skip in (False, True):
        theirs = tokenizer_peer(
            "decode", folder=str(tmp_path), rows=rows, name=KINDS[name].name, skip_special_tokens=skip
        )
        assert different(texts, tokenizer.decode(rows, skip_special_tokens=skip), theirs) == []


# === Layouts of version 4 ===


LISTED = [(name, False) for name in ("bert", "roberta", "xlm-roberta", "t5", "gemma", "mpnet")]
LISTED += [(name, True) for name in ("bert", "roberta", "xlm-roberta", "mpnet")]
"""Tokenizers, and whether `added_tokens_decoder` lists the tokens; then transformers forgets a model's own symbols."""


@pytest.mark.parametrize(("name", "decoder"), LISTED)
def test_added_tokens_of_version_4_are_those_of_transformers(name, decoder, trained, tokenizer_peer, tmp_path):
    for path in trained(name).iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    size = read(tmp_path).vocabulary_size()
    mask = {"content": "[MASK]" if name == "bert" else "<mask>", "lstrip": True, "normalized": False}
    special = {"additional_special_tokens": ["<a>", "<b>"]} | ({} if name == "t5" else {"mask_token": mask})
    added = {"<a>": size, "<b>": size + 1, "New": size + 2}
    config = dict(KINDS[name].config)
    if decoder:
        flags = {"lstrip": False, "rstrip": False, "single_word": False}
        tokens = {
            str(index): flags | {"content": text, "normalized": text == "New", "special": text != "New"}
            for text, index in added.items()
        }
        special = {
            key: value | {"__type": "AddedToken"} if key == "mask_token" else value for key, value in special.items()
        }
        config |= {"added_tokens_decoder": tokens, **special}
    else:
        (tmp_path / "special_tokens_map.json").write_text(json.dumps(special), encoding="utf-8")
        (tmp_path / "added_tokens.json").write_text(json.dumps(added), encoding="utf-8")
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
    texts = [f"the {text} New <a>fox new" for text in awkward_texts(400)]
    theirs = tokenizer_peer("encode", folder=str(tmp_path), texts=texts, name=KINDS[name].name)["input_ids"]
    assert different(texts, ids_of(read(tmp_path), texts), theirs) == []


# === KerasHub ===


@pytest.mark.filterwarnings("ignore:KerasHub")
@pytest.mark.parametrize("source", ["vocabulary", "tokenizer.json"])
@pytest.mark.parametrize("name", ["bert", "bert-cased", "distilbert", "roberta", "gpt2", "xlm-roberta", "t5", "gemma"])
def test_kerashub_reads_written_tokenizers(name, source, trained, tokenizer_peer, tmp_path):
    tokenizer = read(trained(name))
    if source == "tokenizer.json":
        tokenizer.save_to_preset(tmp_path / "json", format="transformers")
        tokenizer = read(tmp_path / "json")
    tokenizer.save_to_preset(tmp_path / "new", format="kerashub")
    texts = [" ".join(word for word in text.split() if word.isascii()) for text in training_texts(300)]
    theirs = tokenizer_peer("encode_kerashub", folder=str(tmp_path / "new"), texts=texts)
    assert different(texts, tokenizer.tokenize(texts), theirs) == []
    assert different(texts, read(tmp_path / "new").tokenize(texts), theirs) == []


@pytest.mark.parametrize("options", [{}, {"lowercase": True}, {"lowercase": True, "strip_accents": True}], ids=str)
def test_tokenizers_that_kerashub_saved_are_read(options, trained, tokenizer_peer, tmp_path):
    tokens = (trained("bert") / "vocab.txt").read_text(encoding="utf-8").splitlines()
    arguments = {"vocabulary": tokens, **options}
    tokenizer_peer("make_kerashub", folder=str(tmp_path), name="BertTokenizer", arguments=arguments)
    texts = [
        " ".join(word for word in text.split() if word.isalpha() and word < "ÿ" and "ß" not in word)
        for text in training_texts(300)
    ]
    theirs = tokenizer_peer("encode_kerashub", folder=str(tmp_path), texts=texts)
    assert different(texts, read(tmp_path).tokenize(texts), theirs) == []


@pytest.mark.filterwarnings("ignore:KerasHub")
def test_kerashub_s_llama_has_the_ids_of_sentencepiece(trained, tokenizer_peer, tmp_path):
    read(trained("llama")).save_to_preset(tmp_path, format="kerashub")
    texts = awkward_texts(3000)
    theirs = tokenizer_peer("encode_kerashub", folder=str(tmp_path), texts=texts)
    assert different(texts, read(tmp_path).tokenize(texts), theirs) == []


BACKBONES = {
    "bert": "BertBackbone",
    "roberta": "RobertaBackbone",
    "distilbert": "DistilBertBackbone",
    "gpt2": "GPT2Backbone",
}


@pytest.mark.parametrize("name", BACKBONES)
def test_a_conversion_translates_the_tokenizer(name, trained, tokenizer_peer, tmp_path):
    import vertebra
    from vertebra.cli import main

    source = tmp_path / "source"
    sizes = {"num_layers": 1, "num_heads": 2, "hidden_dim": 8, "intermediate_dim": 8, "max_sequence_length": 64}
    size = read(trained(name)).vocabulary_size()
    backbone = getattr(vertebra.models, BACKBONES[name])(vocabulary_size=size, **sizes)
    backbone.save_to_preset(source, format="transformers", certificate=False)
    for file in trained(name).iterdir():
        shutil.copy(file, source)
    config = json.loads((source / "tokenizer_config.json").read_text(encoding="utf-8"))
    (source / "tokenizer_config.json").write_text(json.dumps(config | {"model_max_length": 24}), encoding="utf-8")
    assert main(["convert", str(source), str(tmp_path / "there"), "--format", "kerashub"]) == 0
    assert main(["convert", str(tmp_path / "there"), str(tmp_path / "native")]) == 0
    shutil.rmtree(tmp_path / "there" / "carried", ignore_errors=True)
    for file in trained(name).iterdir():  # so that nothing is left but KerasHub's own files
        (tmp_path / "there" / file.name).unlink(missing_ok=True)
    assert main(["convert", str(tmp_path / "there"), str(tmp_path / "back"), "--format", "transformers"]) == 0
    texts = [" ".join(word for word in text.split() if word.isascii()) for text in training_texts(200)]
    ours = read(source)
    kerashub = tokenizer_peer("encode_kerashub", folder=str(tmp_path / "there"), texts=texts)
    assert different(texts, ours.tokenize(texts), kerashub) == []
    if name != "gpt2":  # whose preprocessor also makes labels
        kind = BACKBONES[name].replace("Backbone", "TextClassifierPreprocessor")
        rows = tokenizer_peer("preprocess_kerashub", folder=str(tmp_path / "there"), name=kind, texts=texts)
        assert rows == ours(texts, sequence_length=24)["token_ids"].tolist()
    transformers = tokenizer_peer("encode", folder=str(tmp_path / "back"), texts=texts)["input_ids"]
    assert different(texts, ids_of(ours, texts), transformers) == []
    assert read(tmp_path / "native").tokenize(texts) == ours.tokenize(texts)
