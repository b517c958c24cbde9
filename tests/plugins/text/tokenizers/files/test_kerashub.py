"""KerasHub's files: its configs, its assets and its preprocessor."""

import json

import pytest

from vertebra.errors import PresetConfigError


def test_a_bert_tokenizer_has_the_options_of_its_config(make_kerashub, make, read):
    plain = read(make_kerashub("BertTokenizer"))
    assert plain.tokenize("Fox") != plain.tokenize("fox")
    lower = read(make_kerashub("BertTokenizer", lowercase=True))
    assert lower.tokenize("Fox") == lower.tokenize("fox")
    assert lower.tokenize("naïve") != lower.tokenize("naive")  # KerasHub's default, unlike BERT's
    both = read(make_kerashub("BertTokenizer", lowercase=True, strip_accents=True, special_tokens_in_strings=True))
    ours = read(make("bert"))
    text = "The naïve [MASK] FOX"
    assert both.tokenize(text) == ours.tokenize(text)
    assert both(text).keys() == ours(text).keys()
    assert both(text, "b")["token_ids"].tolist() == ours(text, "b")["token_ids"].tolist()


def test_special_tokens_in_texts_are_plain_text_unless_the_config_says_otherwise(make_kerashub, read):
    assert len(read(make_kerashub("BertTokenizer")).tokenize("[MASK]")) > 1
    assert len(read(make_kerashub("BertTokenizer", special_tokens_in_strings=True)).tokenize("[MASK]")) == 1
    assert len(read(make_kerashub("RobertaTokenizer")).tokenize("<mask>")) == 1
    tokenizer = read(make_kerashub("XLMRobertaTokenizer"))
    assert not {tokenizer.mask_token_id, tokenizer.cls_token_id} & {*tokenizer.tokenize("a <mask> <s>")}


def test_xlm_roberta_has_fairseq_s_ids(make_kerashub, make, read):
    ours, theirs = read(make_kerashub("XLMRobertaTokenizer")), read(make("xlm-roberta"))
    text = "the quick brown fox"
    assert ours(text, text)["token_ids"].tolist() == theirs(text, text)["token_ids"].tolist()
    assert (ours.cls_token_id, ours.pad_token_id, ours.sep_token_id, ours.unk_token_id) == (0, 1, 2, 3)
    assert ours.mask_token_id == ours.vocabulary_size() - 1


def test_the_sequence_length_of_the_preprocessor_is_the_limit(make_kerashub, read):
    folder = make_kerashub("BertTokenizer")
    (folder / "preprocessor.json").write_text(json.dumps({"config": {"sequence_length": 12}}))
    tokenizer = read(folder)
    assert tokenizer.max_length == 12
    assert tokenizer(["a " * 40, "a"])["token_ids"].shape == (2, 12)
    assert tokenizer(["a"])["token_ids"].shape == (1, 3)  # padded to the longest, not to the limit


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"split": False}, "split is False"),
        ({"suffix_indicator": "@@"}, "suffix_indicator is '@@'"),
        ({"lowercase": "yes"}, "lowercase is 'yes'"),
        ({"oov_token": 3}, "oov_token is 3"),
        ({"special_tokens": "[A]"}, "expected a list"),
    ],
    ids=str,
)
def test_fields_that_are_not_supported_are_refused(config, message, make_kerashub, read):
    with pytest.raises(PresetConfigError, match=message):
        read(make_kerashub("BertTokenizer", **config))


def test_another_class_is_refused_with_those_that_are_read(make_kerashub, read):
    folder = make_kerashub("BertTokenizer")
    (folder / "tokenizer.json").write_text('{"registered_name": "mine>Tokenizer"}')
    with pytest.raises(PresetConfigError, match=r"registered_name is 'mine>Tokenizer'.*BertTokenizer"):
        read(folder)


def test_a_missing_asset_is_named(make_kerashub, read):
    from vertebra.errors import PresetNotFoundError

    folder = make_kerashub("BertTokenizer")
    (folder / "assets" / "tokenizer" / "vocabulary.txt").rename(folder / "assets" / "tokenizer" / "vocab.txt")
    with pytest.raises(PresetNotFoundError, match=r"assets/tokenizer/vocabulary\.txt"):
        read(folder)


def test_a_tokenizer_that_a_conversion_has_carried_is_found(make_kerashub, make, read):
    folder = make_kerashub("BertTokenizer", lowercase=True)
    plain = read(folder)
    (folder / "carried" / "kerashub").mkdir(parents=True)
    (folder / "tokenizer.json").rename(folder / "carried" / "kerashub" / "tokenizer.json")
    (folder / "config.json").write_text('{"model_type": "bert"}')
    assert read(folder).tokenize("The Fox") == plain.tokenize("the fox")

    other = make("roberta")
    (other / "carried" / "transformers").mkdir(parents=True)
    backend = read(other).backend.to_str()
    (other / "carried" / "transformers" / "tokenizer.json").write_text(backend)
    for name in ("vocab.json", "merges.txt"):
        (other / name).unlink()
    (other / "config.json").write_text('{"registered_name": "keras_hub>RobertaBackbone"}')
    assert read(other).parts.class_name == "RobertaTokenizer"
    assert read(other).tokenize("the fox") == read(make("roberta")).tokenize("the fox")


@pytest.mark.parametrize(
    "config", [{"registered_name": "keras_hub>XLMRobertaBackbone"}, {"backbone": "XLMRobertaBackbone"}]
)
def test_the_class_of_the_backbone_names_the_family(config, make, read):
    folder = make("xlm-roberta")
    (folder / "tokenizer_config.json").unlink()
    (folder / "config.json").write_text(json.dumps(config))
    assert read(folder).parts.class_name == "XLMRobertaTokenizer"
