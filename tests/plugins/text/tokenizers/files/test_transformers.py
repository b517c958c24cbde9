"""Files of transformers 4 and 5: which one decides, and what is refused."""

import contextlib
import json

import pytest

from vertebra.errors import PresetConfigError

MASK = {"content": "[MASK]", "lstrip": True, "normalized": False, "rstrip": False, "single_word": False}


def tokenizer_json(tokenizer, **changes):
    return json.loads(tokenizer.backend.to_str()) | changes


def of_model_type(folder, model_type):
    (folder / "config.json").write_text(json.dumps({"model_type": model_type}), "utf-8")
    return folder


# === Layouts ===


def test_a_vocabulary_alone_is_bert_s(make, read):
    tokenizer = read(make("bert"))
    assert repr(tokenizer) == f"<BertTokenizer of {tokenizer.vocabulary_size()} tokens>"
    assert tokenizer.tokenize("THE Fox") == tokenizer.tokenize("the fox")
    assert tokenizer.input_names == ("token_ids", "padding_mask", "segment_ids")


@pytest.mark.parametrize(
    ("config", "names"),
    [
        ({}, {"segment_ids"}),
        ({"tokenizer_class": "DistilBertTokenizer"}, set()),
        ({"tokenizer_class": "BertTokenizerFast", "model_input_names": ["input_ids", "attention_mask"]}, set()),
        (
            {"tokenizer_class": "DistilBertTokenizer", "model_input_names": ["input_ids", "token_type_ids"]},
            {"segment_ids"},
        ),
    ],
)
def test_segment_ids_are_returned_if_the_architecture_has_them(config, names, make, read):
    assert set(read(make("bert", config))(["a"])) == {"token_ids", "padding_mask"} | names


def test_the_model_type_names_the_family_where_no_class_is_named(make, read):
    tokenizer = read(of_model_type(make("bert"), "distilbert"))
    assert tokenizer.parts.class_name == "DistilBertTokenizer"
    assert read(make("roberta")).parts.class_name == "RobertaTokenizer"


@pytest.mark.parametrize("class_name", ["BertTokenizer", "BertTokenizerFast"])
def test_options_of_the_config_overrule_a_tokenizer_json_as_in_transformers(class_name, make, read):
    folder = make("bert")
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer_json(read(folder))), "utf-8")
    cased = make("bert", {"tokenizer_class": class_name, "do_lower_case": False})
    (cased / "tokenizer.json").write_bytes((folder / "tokenizer.json").read_bytes())
    assert read(cased).tokenize("Fox") != read(folder).tokenize("Fox")
    roberta = make("roberta")
    (roberta / "tokenizer.json").write_text(json.dumps(tokenizer_json(read(roberta))), "utf-8")
    (roberta / "tokenizer_config.json").write_text('{"tokenizer_class": "RobertaTokenizer", "add_prefix_space": true}')
    assert read(roberta).tokenize("fox") == read(make("roberta")).tokenize(" fox")


@pytest.mark.parametrize("class_name", ["PreTrainedTokenizerFast", "TokenizersBackend", "OfAnotherLibrary", None])
def test_a_tokenizer_json_of_another_class_is_taken_as_it_is(class_name, make, read):
    folder = make("bert", {"do_lower_case": False} | ({} if class_name is None else {"tokenizer_class": class_name}))
    uncased = read(make("bert"))
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer_json(uncased)), "utf-8")
    tokenizer = read(folder)
    assert tokenizer.tokenize("Fox") == uncased.tokenize("fox")
    assert tokenizer("a")["token_ids"].tolist() == uncased("a")["token_ids"].tolist()


@pytest.mark.parametrize("field", ["vocab", "added_tokens"])
def test_an_id_that_no_vocabulary_has_is_refused_before_the_library_reads_it(field, make, read):
    folder = make("bert")
    document = tokenizer_json(read(folder))
    document["truncation"] = {"direction": "Right", "max_length": 10**8, "strategy": "LongestFirst", "stride": 0}
    (folder / "tokenizer.json").write_text(json.dumps(document), "utf-8")
    assert read(folder).max_length is None
    if field == "vocab":
        document["model"]["vocab"]["fox"] = 2**24
    else:
        document["added_tokens"][0]["id"] = 2**24
    (folder / "tokenizer.json").write_text(json.dumps(document, indent=2), "utf-8")
    with pytest.raises(PresetConfigError, match="has the id 16777216, expected one below 16,777,216"):
        read(folder)


def test_truncation_and_padding_of_a_tokenizer_json_are_no_limits(make, read):
    folder = make("bert")
    tokenizer = read(folder)
    tokenizer.backend.enable_truncation(4, direction="left")
    tokenizer.backend.enable_padding(length=128, direction="left")
    (folder / "tokenizer.json").write_text(tokenizer.backend.to_str(), "utf-8")
    again = read(folder)
    assert again(["a b c d e", "a"])["token_ids"].shape == (2, 7)
    assert (again.padding_side, again.truncation_side) == ("left", "left")


# === Special and added tokens ===


def test_added_tokens_of_each_layout_are_found_in_texts(make, read):
    plain = read(make("bert"))
    size = plain.vocabulary_size()
    older = make("bert", {}, special_tokens_map={"mask_token": MASK}, added_tokens={"<new>": size, "<Next>": size + 1})
    decoder = {
        "4": MASK | {"special": True},
        str(size): {"content": "<new>", "special": False, "normalized": True},
        str(size + 1): {"content": "<Next>", "special": False, "normalized": True},
    }
    newer = make("bert", {"added_tokens_decoder": decoder, "mask_token": "[MASK]"})
    for folder in (older, newer):
        tokenizer = read(folder)
        assert tokenizer.vocabulary_size() == size + 2
        assert tokenizer.tokenize("the <new>fox <NEXT>")[1] == size
        found = tokenizer("a [MASK]", return_offsets_mapping=True)
        assert found["offset_mapping"][2].tolist() == [1, 8]  # with the space before it


@pytest.mark.parametrize("field", ["additional_special_tokens", "extra_special_tokens"])
def test_extra_special_tokens_are_added_at_the_end(field, make, read):
    tokenizer = read(make("bert", {field: ["<a>", {"content": "<b>", "__type": "AddedToken"}]}))
    size = tokenizer.vocabulary_size()
    assert [tokenizer.token_to_id(token) for token in ("<a>", "<b>")] == [size - 2, size - 1]
    assert tokenizer.decode(tokenizer.tokenize("the <a>fox"), skip_special_tokens=True) == "the fox"


def test_special_tokens_can_be_left_in_texts(make, read):
    tokenizer = read(make("bert", {"split_special_tokens": True}))
    assert len(tokenizer.tokenize("[MASK]")) > 1
    assert len(read(make("bert")).tokenize("[MASK]")) == 1


def test_a_token_without_a_role_has_no_attribute(make, read):
    tokenizer = read(make("bert", {"pad_token": None}))
    assert tokenizer.pad_token is None
    assert tokenizer(["a", "a a"])["token_ids"][0, -1] == 0  # the mask says that it does not count


# === What is refused ===

BAD = [
    ({"pad_token": 3.5, "added_tokens_decoder": {"x": {"content": "a"}}}, "expected an id and a token"),
    ({"added_tokens_decoder": []}, "no object of tokens by id"),
    ({"added_tokens_decoder": {"5": {"content": 7}}}, "expected a text"),
    ({"added_tokens_decoder": {"5": {"content": "a", "lstrip": "yes"}}}, "expected true or false"),
    ({"added_tokens_decoder": {"99999": {"content": "<new>"}}}, "has the id 99999, but would get"),
    ({"extra_special_tokens": "abc"}, "expected a list"),
    ({"extra_special_tokens": [3]}, "expected a text"),
    ({"cls_token": {"lstrip": True}}, "cls_token"),
    ({"do_lower_case": "yes"}, "do_lower_case is 'yes', expected a bool"),
    ({"model_max_length": "512"}, "model_max_length is '512'"),
    ({"model_max_length": -1}, "model_max_length is -1"),
    ({"padding_side": "top"}, "padding_side"),
    ({"tokenizer_class": 3}, "tokenizer_class is 3"),
    ({"tokenizer_class": "BertJapaneseTokenizer"}, "needs a tokenizer.json"),
    ({"tokenizer_class": "RobertaTokenizer"}, "RobertaTokenizer needs tokenizer.json or vocab.json and merges.txt"),
    ({"model_input_names": "input_ids"}, "model_input_names"),
]


@pytest.mark.parametrize(("config", "message"), BAD, ids=str)
def test_invalid_fields_are_refused_by_name(config, message, make, read):
    with pytest.raises(PresetConfigError, match=message):
        read(make("bert", config))


@pytest.mark.parametrize("value", [[], 3, {"content": []}, {"a": ["<b>"]}], ids=str)
@pytest.mark.parametrize("field", ["unk_token", "extra_special_tokens", "additional_special_tokens"])
def test_special_tokens_of_another_kind_are_refused_or_ignored(field, value, make, read):
    folder = make("bert", {field: value})
    with contextlib.suppress(PresetConfigError):
        assert read(folder).unk_token == "[UNK]"


def test_an_id_of_thousands_of_digits_is_refused(make, read):
    folder = make("bert", {"added_tokens_decoder": {"9" * 5_000: {"content": "<new>"}}})
    with pytest.raises(PresetConfigError, match="expected an id and a token"):
        read(folder)


def test_a_limit_of_31_digits_is_none(make, read):
    folder = make("bert", {})
    (folder / "tokenizer_config.json").write_text('{"model_max_length": 1000000000000000019884624838656}')
    assert read(folder).max_length is None


def test_a_key_with_two_values_is_refused_only_if_it_matters(make, read):
    folder = make("bert", {})
    (folder / "tokenizer_config.json").write_text('{"chat_template": "a", "chat_template": "b"}')
    read(folder)
    (folder / "tokenizer_config.json").write_text('{"do_lower_case": true, "do_lower_case": false}')
    with pytest.raises(PresetConfigError, match="do_lower_case has two values"):
        read(folder)


FILES = [
    (b"", "it is empty"),
    (b"version https://git-lfs.github.com/spec/v1\n", "git-lfs pointer"),
    (b"<!doctype html>", "web page"),
    (b"{}", "not a valid tokenizer"),
    (b'{"version": "1.0"', "not a valid tokenizer"),
    (b"\xff\xfe", "not a valid tokenizer"),
    (b'{"model": {"type": "Unigram", "unk_id": 9, "vocab": [["a", 0.0]]}}', "not a valid tokenizer"),
    (b'{"version": "\x1b[31m"}', "not a valid tokenizer"),
]


@pytest.mark.parametrize(("data", "message"), FILES, ids=ascii)
def test_files_that_are_no_tokenizer_are_refused(data, message, make, read):
    folder = make("bert")
    (folder / "tokenizer.json").write_bytes(data)
    with pytest.raises(PresetConfigError, match=message) as caught:
        read(folder)
    assert "\x1b" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("vocab.json", b'{"a": 0, "b": 0}', "two of its tokens have the same id"),
        ("vocab.json", b'{"a": "0"}', "expected an int"),
        ("vocab.json", b'{"a": 0, "a": 1}', "a has two values"),
        ("vocab.json", b"[]", "expected an object"),
        ("merges.txt", b"a b c\n", "line 1 is 'a b c', expected two tokens"),
        ("merges.txt", b"#version: 0.2\nab\n", "line 2 is 'ab'"),
        ("merges.txt", b"\xff\xff", "not UTF-8"),
        ("merges.txt", b"zzz yyy\n", "not a valid tokenizer"),
    ],
)
def test_vocabularies_are_checked(name, data, message, make, read):
    folder = make("roberta", {"tokenizer_class": "RobertaTokenizer"})
    (folder / name).write_bytes(data)
    with pytest.raises(PresetConfigError, match=message):
        read(folder)


def test_a_sentencepiece_model_must_be_of_the_family(make, read):
    folder = make("xlm-roberta", {"tokenizer_class": "LlamaTokenizer"})
    with pytest.raises(PresetConfigError, match="is Unigram, but LlamaTokenizer is SentencePiece BPE"):
        read(folder)
    (folder / "tokenizer_config.json").unlink()
    with pytest.raises(PresetConfigError, match="neither a model_type nor a tokenizer_class"):
        read(folder)
    (folder / "sentencepiece.bpe.model").write_bytes(b"not a model")
    (folder / "config.json").write_text('{"model_type": "xlm-roberta"}')
    with pytest.raises(PresetConfigError, match="not a valid tokenizer"):
        read(folder)


def test_code_that_a_config_names_is_not_run(make, read, tmp_path):
    proof = tmp_path / "ran"
    config = {"auto_map": {"AutoTokenizer": ["code.Tokenizer", None]}, "chat_template": "{{ ''.__class__ }}"}
    folder = make("bert", config)
    (folder / "code.py").write_text(f"open({str(proof)!r}, 'w')")
    read(folder)("a")
    assert not proof.exists()


def test_paths_in_a_config_are_not_followed(make, read, tmp_path):
    (tmp_path / "secret.txt").write_text("[UNK]\n")
    tokenizer = read(make("bert", {"vocab_file": str(tmp_path / "secret.txt"), "tokenizer_file": "/etc/passwd"}))
    assert tokenizer.vocabulary_size() > 100
